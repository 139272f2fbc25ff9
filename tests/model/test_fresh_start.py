"""A fresh start is the same wherever the model lies: folds after a process's first begin on its accelerator."""

from collections import Counter

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from support.tiny import MODULES, tiny_model
from support.tiny_baselines import tiny_baseline


class Seen(TorchDispatchMode):
    """Where random numbers are drawn, and how many tensors are filled from another device."""

    def __init__(self):
        super().__init__()
        self.drawn, self.taken = Counter(), 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name in ("uniform_", "normal_"):
            self.drawn[args[0].device.type] += 1
        self.taken += name == "copy_" and args[0].device != args[1].device
        return function(*args, **(kwargs or {}))


MODELS = {
    "AU-LLM": tiny_model,
    "AULLM++": lambda: tiny_model(**{key: value for fields in MODULES.values() for key, value in fields.items()}),
    "resnet18": lambda: tiny_baseline("resnet18"),
}


@pytest.mark.parametrize("kind", MODELS)
def test_all_is_drawn_on_the_cpu_and_taken_to_where_the_model_is(kind):
    """The device without numbers stands for an accelerator."""
    model = MODELS[kind]().to("meta")
    before = dict(model.named_parameters())
    trained = [one for one in before.values() if one.requires_grad]
    with Seen() as seen:
        model.reset_trained(3)
    assert set(seen.drawn) == {"cpu"}
    assert seen.taken == len(trained) > 0
    after = dict(model.named_parameters())
    assert list(after) == list(before) and all(after[name] is before[name] for name in before)
    assert {one.device.type for one in after.values()} == {"meta"}


def test_an_error_leaves_every_parameter_in_its_place(monkeypatch):
    model = tiny_model().to("meta")
    before = dict(model.named_parameters())
    monkeypatch.setattr(type(model), "_init_weights", lambda self, module: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.reset_trained(3)
    assert all(one is before[name] for name, one in model.named_parameters())
