"""One step of k folds through the shared LLM is k separate steps: losses, every gradient, buffers, draws."""

import copy

import joint_llm
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from joint_llm import JointLLM
from run_config import ConfigError

from support.deadline import within
from support.tiny import LAYOUTS, MODULES, clips, labels, tiny_model

CPU = torch.device("cpu")
LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.3, "target_modules": ["q_proj", "v_proj"]}
DROPOUT = {"vision_dropout": 0.3, "projector_dropout": 0.3, "graph_dropout": 0.3, "lora": LORA}
EVERYTHING = {key: value for fields in MODULES.values() for key, value in fields.items()}
KINDS = {
    "text before": {"prompt_template": LAYOUTS[0]},
    "text after": {"prompt_template": LAYOUTS[1]},
    "text around": {"prompt_template": LAYOUTS[2]},
    "no text": {"prompt_template": "{visual}"},
    "learned prompt": {"projector": "prompt", "prompt_template": "Which units?{prompt}"},
    "AULLM++": {**EVERYTHING, "ccr_weight": 0.0},
    "AULLM++ with CCR": EVERYTHING,
    "two clips a sequence": {"clips_per_sequence": 2},
    "one clip a sequence": {"clips_per_sequence": 1},
    "every linear layer": {"lora": {**LORA, "target_modules": "all-linear"}},
    "ranks that differ": {"lora": {**LORA, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 3}}},
    "no noise": {"lora": {**LORA, "lora_dropout": 0.0}},
    "no adapters": {"lora": None},
    "eager attention": {"attn_implementation": "eager"},
    "llama": {"family": "llama"},
    "gemma3": {"family": "gemma3", "prompt_template": LAYOUTS[2]},
}


def _model(**fields):
    return tiny_model(**{"image_size": 16, **DROPOUT, **fields})


def _joint(model, count):
    """Models as different as folds come to be, and the same again, alone."""
    joint = JointLLM(model, count, CPU)
    alone = [copy.deepcopy(model) for _ in range(count)]
    for seed, (one, other) in enumerate(zip(joint.models, alone, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter, twin in zip(one.parameters(), other.parameters(), strict=True):
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn(parameter.shape, generator=generator) * parameter.abs().mean()
                    twin.copy_(parameter)
    return joint, alone


def _step(model, seed, sizes, autocast):
    """Losses of so many micro-batches, whose gradients add up; what the next draw would be."""
    torch.manual_seed(seed)
    model.train()
    losses = []
    for turn, size in enumerate(sizes):
        pixels, wanted = clips(size, model.config, seed=10 * seed + turn), labels(size, seed=10 * seed + turn)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = model(pixel_values=pixels, labels=wanted).loss
        (loss / len(sizes)).backward()
        losses.append(loss.item())
    return losses, float(torch.rand(()))


def _assert_the_same(joint, alone, sizes, tolerance=1e-5, autocast=False):
    """`sizes`: clips of each fold's micro-batches."""
    together = {}

    def work(me):
        together[me] = _step(joint.models[me], me, sizes[me], autocast)

    within(60, lambda: joint.run(work))
    for me, model in enumerate(alone):
        losses, draw = _step(model, me, sizes[me], autocast)
        assert together[me][0] == pytest.approx(losses, abs=tolerance), "the losses"
        assert together[me][1] == draw, "the random stream stands where it would alone"
        for (name, one), other in zip(joint.models[me].named_parameters(), model.parameters(), strict=True):
            assert (one.grad is None) == (other.grad is None), name
            if other.grad is not None:
                scale = max(float(other.grad.abs().max()), 0.1)  # some are sums that cancel
                assert float((one.grad - other.grad).abs().max()) / scale < tolerance, name
        for (name, one), other in zip(joint.models[me].named_buffers(), model.buffers(), strict=True):
            assert torch.equal(one, other), name


AGAIN = {"text after", "one clip a sequence", "no noise", "eager attention", "llama"}  # in other words


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind in AGAIN else kind for kind in KINDS]
)
def test_one_step_is_separate_steps(kind):
    joint, alone = _joint(_model(**KINDS[kind]), 3)
    _assert_the_same(joint, alone, [[5], [4], [1]])


@settings(max_examples=6, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), min_size=1, max_size=3),
    packing=st.one_of(st.none(), st.integers(1, 4)),
    layout=st.sampled_from(LAYOUTS),
)
def test_batches_of_any_size_and_any_number_of_micro_batches(sizes, packing, layout):
    """Accumulation; folds that end while others go on."""
    joint, alone = _joint(_model(clips_per_sequence=packing, prompt_template=layout), len(sizes))
    _assert_the_same(joint, alone, sizes)


def test_half_precision_agrees_to_its_rounding():
    joint, alone = _joint(_model(), 3)
    _assert_the_same(joint, alone, [[5], [4], [1]], tolerance=0.1, autocast=True)


def test_an_llm_kept_in_half_precision():
    model = _model()
    model.model.llm.to(torch.bfloat16)
    for parameter in model.trained_parameters().values():
        parameter.data = parameter.data.float()
    joint, alone = _joint(model, 3)
    _assert_the_same(joint, alone, [[5], [4], [1]], tolerance=0.1)


def test_the_scale_of_a_scaled_loss_reaches_every_gradient():
    """As float16 has it: what is behind the LLM is scaled as what is before it."""
    joint, alone = _joint(_model(), 2)

    def work(me):
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        joint.places[me].scaler = scaler
        torch.manual_seed(me)
        model = joint.models[me].train()
        scaler.scale(model(pixel_values=clips(4, model.config), labels=labels(4)).loss).backward()

    within(60, lambda: joint.run(work))
    for me, model in enumerate(alone):
        torch.manual_seed(me)
        model.train()(pixel_values=clips(4, model.config), labels=labels(4)).loss.backward()
        for (name, one), other in zip(joint.models[me].named_parameters(), model.parameters(), strict=True):
            if other.grad is not None:
                scale = max(float(other.grad.abs().max()), 0.1)  # some are sums that cancel
                assert float((one.grad / 2**10 - other.grad).abs().max()) / scale < 1e-5, name


def test_the_llm_reads_all_folds_at_once_and_is_held_once(monkeypatch):
    model = _model()
    joint = JointLLM(model, 3, CPU)
    frozen = {id(p) for p in model.model.llm.parameters() if not p.requires_grad}
    for one in joint.models:
        assert {id(p) for p in one.parameters() if not p.requires_grad} == frozen
        assert not {id(p) for p in one.trained_parameters().values()} & {id(p) for p in model.parameters()}
    assert {id(p) for p in joint.llm.parameters()} == frozen
    seen = []
    joint.llm.register_forward_pre_hook(lambda m, a, k: seen.append(k["inputs_embeds"].shape[0]), with_kwargs=True)
    _assert_the_same(joint, [copy.deepcopy(one) for one in [model] * 3], [[2, 2], [2, 2], [2]])
    assert seen == [3, 2]


def test_a_fold_is_read_alone_when_it_predicts():
    joint, alone = _joint(_model(), 2)
    with torch.no_grad():
        for one, other in zip(joint.models, alone, strict=True):
            pixels = clips(4, one.config)
            assert torch.equal(one.eval()(pixels).logits, other.eval()(pixels).logits)


def test_a_fold_that_fails_between_the_passes_takes_nobody_with_it():
    joint, alone = _joint(_model(), 3)
    broken = joint.models[1].classifier
    broken.register_forward_hook(lambda *_: (_ for _ in ()).throw(ArithmeticError("the head broke")))
    del alone[1]

    def work(me):
        _step(joint.models[me], me, [3, 3], False)

    with pytest.raises(ArithmeticError, match="the head broke"):
        within(60, lambda: joint.run(work))
    for me, model in zip((0, 2), alone, strict=True):
        _step(model, me, [3, 3], False)
        for one, other in zip(joint.models[me].parameters(), model.parameters(), strict=True):
            assert other.grad is None or torch.allclose(one.grad, other.grad, atol=1e-5)


def test_dropout_inside_the_llm_is_refused():
    model = _model()
    model.model.llm.layers[0].self_attn.attention_dropout = 0.1
    with pytest.raises(ConfigError, match=r"dropout inside the LLM \(layers.0.self_attn\)"):
        JointLLM(model, 2, CPU)


def test_adapters_on_what_is_no_linear_layer_are_refused():
    model = _model(lora={**LORA, "target_modules": ["q_proj", "embed_tokens"]})
    with pytest.raises(ConfigError, match="embed_tokens has it on a Embedding"):
        JointLLM(model, 2, CPU)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 5)), min_size=1, max_size=4))
def test_every_row_is_found_again_among_the_padding(shapes):
    """Where the cost rule packs one fold into more sequences, and shorter ones, than another."""
    crowd = joint_llm._Crowd(None)
    crowd.gather(dict(enumerate(shapes)))
    folds = {member: torch.rand(*shape, 2) for member, shape in enumerate(shapes)}
    together = torch.cat([crowd.pad(fold) for fold in folds.values()])
    assert together.shape == (len(shapes) * crowd.sequences, crowd.length, 2)
    for member, fold in folds.items():
        assert torch.equal(crowd.split(together)[member], fold)
        rows = torch.arange(fold[..., 0].numel())
        assert torch.equal(together.flatten(0, 1)[crowd.rows(member, rows)], fold.flatten(0, 1))


def test_a_layer_that_does_not_see_every_token_is_refused():
    joint, _ = _joint(_model(), 2)
    layer = next(module for module in joint.llm.modules() if isinstance(module, joint_llm._JointLora))
    joint.crowd.gather({0: (1, 7), 1: (1, 7)})
    with pytest.raises(ConfigError, match="cannot be told apart by fold"):
        layer(torch.zeros(5, 64))
