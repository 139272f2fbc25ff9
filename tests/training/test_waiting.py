"""Between two logged steps our code asks the device for no value: on an accelerator each would cost the host its lead.

On the CPU a value is there at once, so what is counted is the asking.
"""

import copy
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import TrainerCallback

from aullm_hf.data import load_clips
from aullm_hf.model import AULLMVideoProcessor
from aullm_hf.model.arguments import check_within
from aullm_hf.training.batches import Batches
from aullm_hf.training.clips import clips_of
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.trainer import FoldTrainer
from support.tiny import tiny_model
from support.tiny_run import tiny_yaml

# Of an operation's name: those whose result the host has to know before it can go on.
ASKING = ("_local_scalar_dense", "item", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "bincount")
METHODS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__")
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}
# What each asks in a step. Where no text stands before the clips' slots, or no slot is there, the LLM gets no mask of
# ours, and transformers looks whether the positions are those of several texts in one.
ITS_MASK = {"__bool__": 1, "_local_scalar_dense": 1}
MODELS = {
    "AU-LLM": ({"lora": LORA}, {}),
    "AULLM++": ({"mge": True, "graph": True, "ccr_weight": 1.0, "ccr_fraction": 0.5}, {}),
    "the paper's layout": ({"prompt_template": "{visual} AUs:"}, ITS_MASK),
    "prompt learning": ({"projector": "prompt", "prompt_template": "AUs:{prompt}"}, ITS_MASK),
}


class Asked(TorchDispatchMode):
    """Counts what is asked of tensors, in Python and below it."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.seen = Counter()
        for name in METHODS:
            monkeypatch.setattr(torch.Tensor, name, self._counted(name, getattr(torch.Tensor, name)))

    def _counted(self, name, method):
        def counted(tensor, *args, **kwargs):
            self.seen[name] += 1
            return method(tensor, *args, **kwargs)

        return counted

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        chosen_by_mask = name in ("index", "index_put", "index_put_") and any(
            one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        if name.startswith(ASKING) or chosen_by_mask:
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


class EachStep(TrainerCallback):
    """What was asked from the first step's beginning on, step by step; the fetching of the next batch included."""

    def __init__(self, asked: Asked):
        self.asked, self.steps = asked, []

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step == 0:
            self.asked.seen.clear()

    def on_step_end(self, args, state, control, **kwargs):
        self.steps.append(Counter(self.asked.seen))
        self.asked.seen.clear()

    def on_log(self, args, state, control, logs, **kwargs):
        if "loss" in logs:  # of a step, not of the whole training
            self.steps[-1]["to log"] = sum(self.asked.seen.values())
        self.asked.seen.clear()


@pytest.fixture(scope="module")
def clips():
    return clips_of(load_clips("synthetic", subjects=2, clips_per_subject=4, size=16), [1, 4, 12])


def train(folder, clips, fields, *options, callbacks=()):
    settings = "--per_device_train_batch_size 2 --num_train_epochs 1 --save_strategy no --logging_steps 3".split()
    config = load_run_config(tiny_yaml(folder), [*settings, *options])
    args = copy.copy(config.training)
    args.output_dir, args.disable_tqdm, args.dataloader_pin_memory = str(folder / "work"), True, False
    model = tiny_model(image_size=16, aus=[1, 4, 12], vision_dropout=0.3, projector_dropout=0.3, **fields)
    trainer = FoldTrainer(model, args, Batches(clips, AULLMVideoProcessor(size=16)), range(8), "a", list(callbacks))
    trainer.train()
    return trainer


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(
    "options",
    [["--adam_with_l2", "true", "--max_grad_norm", "0"], ["--max_grad_norm", "1.0", "--bf16", "true"]],
    ids=["as published", "our own"],
)
def test_nothing_is_asked_between_logged_steps(tmp_path, clips, monkeypatch, kind, options):
    fields, expected = MODELS[kind]
    for module in ("arguments", "detector"):  # which look at values on CPUs alone
        monkeypatch.setattr(f"aullm_hf.model.{module}.check_within", lambda *_: None)
    with Asked(monkeypatch) as asked:
        each = EachStep(asked)
        train(tmp_path, clips, fields, *options, callbacks=[each])
    assert len(each.steps) == 4
    logged = [step.pop("to log", 0) for step in each.steps]
    assert [bool(count) for count in logged] == [False, False, True, False]
    assert each.steps == [Counter(expected)] * 4


def test_the_values_of_an_accelerators_batch_are_not_looked_at_in_training():
    elsewhere = torch.full((2,), 9.0, device="meta")  # which has no values: to look at them is an error
    check_within("labels", elsewhere, 0, 1, "0 or 1")
    with torch.no_grad(), pytest.raises((RuntimeError, NotImplementedError)):
        check_within("labels", elsewhere, 0, 1, "0 or 1")
    with pytest.raises(ValueError, match=r"labels holds 9\.0"):
        check_within("labels", torch.full((2,), 9.0), 0, 1, "0 or 1")


def test_the_optimizer_is_fused_and_has_what_is_trained_and_nothing_else(tmp_path, clips):
    for options in (["--adam_with_l2", "true"], []):
        trainer = train(tmp_path, clips, {}, *options, "--max_steps", "1")
        optimizer = trainer.optimizer.optimizer  # in accelerate's wrapper
        held = {id(one) for group in optimizer.param_groups for one in group["params"]}
        assert held == {id(one) for one in trainer.model.trained_parameters().values()}
        assert len(held) < len(list(trainer.model.parameters()))
        assert all(group["fused"] for group in optimizer.param_groups)
        assert all(one.dtype == torch.float32 for group in optimizer.param_groups for one in group["params"])
