"""Counterfactuals: an AU is flipped in the graph, the instruction token alone changes, nothing of it at inference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.counterfactual import Flips, consistency_loss, draw_flips, flip_loss
from support.tiny import CHECKPOINTING, SUBSETS, clips, labels, tiny_config, tiny_model

WITH_CCR = {name: fields for name, fields in SUBSETS.items() if "ccr" in name}
DROPOUT = {
    "vision_dropout": 0.3,
    "projector_dropout": 0.3,
    "graph_dropout": 0.3,
    "lora": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.3, "target_modules": ["q_proj", "v_proj"]},
}
with_ccr = pytest.mark.parametrize("fields", WITH_CCR.values(), ids=WITH_CCR)


def test_six_combinations_of_modules_remain():
    assert set(SUBSETS) == {"mge", "graph", "mge+graph", "graph+ccr", "mge+graph+ccr"}  # and AU-LLM
    with pytest.raises(ValueError, match=r"ccr_weight is 0.1; allowed: 0 where there is no graph.*graph=True"):
        tiny_config(mge=True, ccr_weight=0.1)


# -------------------------------------------------------------------- which AUs are flipped


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.floats(0.05, 1), st.integers(0, 1000))
def test_a_donor_shows_the_flipped_au_the_other_way(batch, aus, fraction, seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 2, (batch, aus)).float()
    flips = draw_flips(y, fraction)
    possible = any(0 < y[:, k].sum() < batch for k in range(aus))
    assert len(flips.owner) == len(flips.au) == len(flips.donor) == math.ceil(fraction * batch)
    assert len(set(flips.owner.tolist())) == len(flips.owner), "one AU per clip"
    assert flips.counts.tolist() == [possible] * len(flips.owner)
    if possible:
        assert (y[flips.owner, flips.au] != y[flips.donor, flips.au]).all()
    assert flips.rows(batch).tolist() == [*range(batch), *flips.owner.tolist()]


def test_every_flip_that_a_batch_allows_is_drawn():
    torch.manual_seed(0)
    y, drawn = torch.tensor([[1.0, 0, 1], [0, 0, 1], [0, 0, 0]]), set()
    for _ in range(200):
        flips = draw_flips(y, 1.0)
        drawn |= set(zip(flips.owner.tolist(), flips.au.tolist(), flips.donor.tolist(), strict=True))
    assert drawn == {(a, k, b) for k in range(3) for a in range(3) for b in range(3) if y[a, k] != y[b, k]}


def test_the_losses_are_what_their_formulas_say():
    factual, flipped = torch.randn(4, 3, dtype=torch.float64), torch.randn(3, 3, dtype=torch.float64)
    y = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    flips = Flips(torch.tensor([2, 3, 1]), torch.tensor([1, 0, 2]), torch.tensor([0, 0, 0]), torch.tensor([1, 1, 0]))
    joined = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    falls, rises = (factual[2, 1] - flipped[0, 1]).item(), (flipped[1, 0] - factual[3, 0]).item()
    expected = (max(0.0, 1.5 - falls) + max(0.0, 1.5 - rises)) / 2  # 2 shows its AU, 3 does not, 1 does not count
    assert flip_loss(factual, flipped, y, flips, 1.5).item() == pytest.approx(expected, rel=1e-5)
    total = 0.0
    for row, clip in enumerate((2, 3)):  # the third AU alone is joined to neither
        p, q = (torch.distributions.Bernoulli(logits=z) for z in (factual[clip, 2], flipped[row, 2]))
        total += (torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)).item()
    assert consistency_loss(factual, flipped, flips, joined).item() == pytest.approx(total / 2, rel=1e-5)
    factual.requires_grad_(), flipped.requires_grad_()
    consistency_loss(factual, flipped, flips, joined).backward()
    assert factual.grad is None and flipped.grad is not None, "what must stay is measured at the factual prediction"


def test_what_a_flip_does_not_show_teaches_nothing():
    """Both logits moved alike: the shared weights get no gradient of a label that is wrong for the clip."""
    logits, shift = torch.randn(6, 3), torch.zeros(3, requires_grad=True)
    y = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])
    flips = draw_flips(y, 0.5)
    factual = logits + shift
    loss = flip_loss(factual, factual[flips.owner], y, flips, 1.0)
    (slope,) = torch.autograd.grad(loss, shift)
    assert loss == 1 and slope.abs().max() == 0


def test_the_losses_are_finite_for_any_logit_and_for_no_flip():
    far, other = torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    flips, alone = Flips(*torch.zeros(3, 1, dtype=torch.long), torch.ones(1)), torch.eye(3, dtype=torch.bool)
    loss = consistency_loss(far, other, flips, alone) + flip_loss(far, other, torch.ones(1, 3), flips, 1.0)
    loss.backward()
    assert loss.isfinite() and other.grad.isfinite().all()
    none = draw_flips(torch.ones(1, 3), 1.0)
    assert consistency_loss(far, other, none, alone) == flip_loss(far, other, torch.ones(1, 3), none, 1.0) == 0


# -------------------------------------------------------------------- in the model


@with_ccr
@pytest.mark.parametrize("packing", [1, 2, None], ids=["naive", "two a sequence", "by cost"])
def test_both_sides_share_their_noise(fields, packing, monkeypatch):
    """Where a clip is its own donor, the flipped rows equal their factual ones although dropout is on."""
    own = Flips(torch.tensor([2, 0]), torch.tensor([1, 0]), torch.tensor([2, 0]), torch.ones(2))
    monkeypatch.setattr("aullm_hf.model.modeling_aullm.draw_flips", lambda *args: own)
    model = tiny_model(**fields, **DROPOUT, clips_per_sequence=packing).train()
    seen = []
    model.classifier.register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    first, _ = (model(clips(3), labels=labels(3)) for _ in range(2))
    torch.testing.assert_close(seen[0][3:], seen[0][[2, 0]], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(seen[0][:3], seen[1][:3], atol=1e-4), "and yet every pass has its own"
    torch.testing.assert_close(first.loss_parts["consistency"], torch.zeros(()), atol=1e-6, rtol=0)
    assert seen[0].shape == (5, 3) and first.logits.shape == (3, 3)
    model.config.ccr_weight = 0.0
    assert not torch.equal(*(model(clips(3)).logits[:1] for _ in range(2))), "noise is not shared any more"
    assert not torch.equal(*model.train()(clips(1).expand(2, -1, -1, -1, -1)).logits)


@with_ccr
def test_flipping_changes_the_instruction_token_alone_and_no_gradient_of_it_reaches_the_content(fields):
    body = tiny_model(**fields).model
    flips = Flips(torch.tensor([1]), torch.tensor([0]), torch.tensor([2]), torch.ones(1))
    seen = []
    body.projector.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    evidence = body(clips(3), output_evidence=True, flips=flips).evidence
    content, instruction = evidence.tokens.unbind(dim=1)
    assert torch.equal(content[3], content[1]) and seen == [3], "T_v is taken from its clip, not computed again"
    assert not torch.allclose(instruction[3], instruction[1], atol=1e-4)
    (slope,) = torch.autograd.grad(evidence.tokens[3].sum(), body.projector.layers[0].weight, allow_unused=True)
    assert slope is None or slope.abs().max() == 0


@with_ccr
def test_inference_is_the_same_with_ccr_on_and_off(fields, tmp_path):
    model = tiny_model(**fields)
    model.save_pretrained(tmp_path)
    off = AULLMForAUDetection.from_pretrained(tmp_path, ccr_weight=0.0)
    assert off.config.ccr_weight == 0
    x, y = clips(), labels()
    with torch.no_grad():
        on_out, off_out = model(x, labels=y), off(x, labels=y)
    assert torch.equal(on_out.logits, off_out.logits) and torch.equal(on_out.loss, off_out.loss)
    assert {"flip", "consistency"}.isdisjoint(on_out.loss_parts or {}), "counterfactuals are for training only"


def test_off_costs_nothing(monkeypatch):
    def never(*args):
        raise AssertionError("nothing is flipped")

    monkeypatch.setattr("aullm_hf.model.modeling_aullm.draw_flips", never)
    rows = []
    model = tiny_model(mge=True, graph=True, clips_per_sequence=5).train()
    model.model.llm.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    model(clips(), labels=labels())
    assert rows == [len(model.model.prompt.text_ids) + 5 * 2], "the text once, two tokens a clip"


def test_what_a_training_pass_with_ccr_does_not_return_is_refused():
    model = tiny_model(graph=True, ccr_weight=1.0).train()
    with pytest.raises(ValueError, match="loss, logits and loss_parts only"):
        model(clips(), labels=labels(), output_evidence=True)


def test_every_parameter_has_a_gradient_whatever_the_weights():
    model = tiny_model(mge=True, graph=True, aux_weight=0.0).train()
    model(clips(), labels=labels()).loss.backward()
    assert all(parameter.grad is not None for parameter in model.trained_parameters().values())


@with_ccr
def test_batch_norm_and_the_factual_loss_see_factual_clips_only(fields):
    model = tiny_model(**fields).train()
    x, y = clips(), labels()
    torch.manual_seed(0)
    with_counterfactuals = model(x, labels=y)
    statistics = model.model.backbone.norm2.running_var.clone()
    model.reset_trained(0)
    fresh = tiny_model(**fields).train()
    fresh.config.ccr_weight = 0.0
    without = fresh(x, labels=y)
    assert torch.equal(fresh.model.backbone.norm2.running_var, statistics)
    torch.testing.assert_close(with_counterfactuals.logits, without.logits, atol=1e-5, rtol=1e-5)
    parts, plain = with_counterfactuals.loss_parts, without.loss_parts or {"detection": without.loss}
    torch.testing.assert_close(parts["detection"], plain["detection"].detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sum(parts.values()), with_counterfactuals.loss.detach())


def test_one_llm_pass_holds_both_sides_and_a_batch_of_one_works():
    model = tiny_model(mge=True, graph=True, ccr_weight=1.0, ccr_fraction=0.5).train()
    rows = []
    model.model.prompt.register_forward_pre_hook(lambda module, args: rows.append(args[2]))
    model(clips(4), labels=labels(4)).loss.backward()
    assert rows == [6]
    out = model(clips(1), labels=labels(1))
    assert out.loss.isfinite() and out.logits.shape == (1, 3)
    assert out.loss_parts["flip"] == out.loss_parts["consistency"] == 0, "no other clip to take a node from"


def test_activation_checkpointing_sees_the_same_noise_again():
    plain, spared = (tiny_model(graph=True, ccr_weight=1.0, **DROPOUT).train() for _ in range(2))
    getattr(spared.model.llm, f"{CHECKPOINTING}_enable")()
    for model in (plain, spared):
        torch.manual_seed(3)
        model(clips(), labels=labels()).loss.backward()
    for (name, one), other in zip(
        plain.trained_parameters().items(), spared.trained_parameters().values(), strict=True
    ):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4, msg=name)
