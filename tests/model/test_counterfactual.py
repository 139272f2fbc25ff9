"""Counterfactuals: what is replaced and what is not, the same noise on both sides, nothing of them at inference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.counterfactual import evidence_loss, intervene, invariance_loss
from support.tiny import CHECKPOINTING, SUBSETS, clips, labels, tiny_model

WITH_CCR = {name: fields for name, fields in SUBSETS.items() if "ccr" in name}
DROPOUT = {
    "vision_dropout": 0.3,
    "projector_dropout": 0.3,
    "graph_dropout": 0.3,
    "lora": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.3, "target_modules": ["q_proj", "v_proj"]},
}
with_ccr = pytest.mark.parametrize("fields", WITH_CCR.values(), ids=WITH_CCR)


# -------------------------------------------------------------------- interventions


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 7),
    fraction=st.floats(0.05, 1),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_the_lowest_gates_get_another_clips_cells_and_the_highest_the_others_mean(batch, fraction, share, seed):
    torch.manual_seed(seed)
    f_mid, gate = torch.randn(batch, 3, 2, 4, 4), torch.rand(batch, 2, 4, 4)
    mean = torch.randn(3, 2, 4, 4)
    rows, owner = intervene(f_mid, gate, fraction, share, mean)
    count = math.ceil(fraction * batch)
    assert len(rows) == len(owner) == batch + 2 * count
    assert torch.equal(rows[:batch], f_mid) and torch.equal(owner[:batch], torch.arange(batch))
    assert torch.equal(owner[batch : batch + count], owner[batch + count :]), "the same clips, both ways"
    assert len(set(owner[batch:].tolist())) == count
    cells = max(round(share * 32), 1)
    for row in range(batch, batch + 2 * count):
        clip, is_background = int(owner[row]), row < batch + count
        changed = (rows[row] != f_mid[clip]).any(dim=0)
        assert changed.sum() == cells
        ranked = gate[clip].flatten().argsort(descending=not is_background)[:cells]
        assert set(changed.flatten().nonzero().flatten().tolist()) == set(ranked.tolist())
        others = [other for other in range(batch) if other != clip]
        if not others:
            expected = [mean]
        elif is_background:
            expected = [f_mid[other] for other in others]
        else:
            expected = [f_mid[others].mean(dim=0)]
        assert any(torch.allclose(rows[row][:, changed], one[:, changed], atol=1e-5) for one in expected)


def test_the_losses_are_what_their_formulas_say():
    factual, counterfactual = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    p, q = (torch.distributions.Bernoulli(logits=z) for z in (factual, counterfactual))
    expected = torch.distributions.kl_divergence(p, q) + torch.distributions.kl_divergence(q, p)
    torch.testing.assert_close(
        invariance_loss(factual, counterfactual), expected.sum(1).mean().float(), rtol=1e-5, atol=1e-6
    )
    y = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]])
    terms = [
        max(0.0, 0.3 * p.probs[i, k].item() - (p.probs[i, k] - q.probs[i, k]).item()) for i, k in y.nonzero().tolist()
    ]
    assert evidence_loss(factual, counterfactual, y, 0.3).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)
    assert evidence_loss(factual, counterfactual, torch.zeros(4, 3), 0.3) == 0
    factual.requires_grad_()
    counterfactual.requires_grad_()
    evidence_loss(factual, counterfactual, y, 0.3).backward()
    assert factual.grad is None, "the factual probability carries no gradient"


def test_the_losses_are_finite_for_any_logit():
    far = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    other = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    loss = invariance_loss(far, other) + evidence_loss(far, other, torch.ones(1, 3), 0.3)
    loss.backward()
    assert loss.isfinite() and far.grad.isfinite().all() and other.grad.isfinite().all()


# -------------------------------------------------------------------- in the model


@with_ccr
@pytest.mark.parametrize("packing", [1, 2, None], ids=["naive", "two a sequence", "by cost"])
def test_both_sides_share_their_noise(fields, packing, monkeypatch):
    """Where nothing is replaced, the counterfactual rows equal their factual ones although dropout is on."""

    def replace_nothing(f_mid, gate, fraction, share, mean):
        owner = torch.tensor([*range(len(f_mid)), 2, 0, 2, 0])
        return f_mid[owner], owner

    monkeypatch.setattr("aullm_hf.model.modeling_aullm.intervene", replace_nothing)
    model = tiny_model(**fields, **DROPOUT, clips_per_sequence=packing).train()
    seen = []
    model.classifier.register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    first, _ = (model(clips(3), labels=labels(3)) for _ in range(2))
    torch.testing.assert_close(seen[0][3:], seen[0][[2, 0, 2, 0]], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(seen[0][:3], seen[1][:3], atol=1e-4), "and yet every pass has its own"
    torch.testing.assert_close(first.loss_parts["invariance"], torch.zeros(()), atol=1e-6, rtol=0)
    assert seen[0].shape == (7, 3) and first.logits.shape == (3, 3)
    model.config.ccr_weight = 0.0
    assert not torch.equal(*(model(clips(3)).logits[:1] for _ in range(2))), "noise is not shared any more"
    assert not torch.equal(*model.train()(clips(1).expand(2, -1, -1, -1, -1)).logits)


@with_ccr
def test_inference_is_the_same_with_ccr_on_and_off(fields, tmp_path):
    model = tiny_model(**fields)
    model.save_pretrained(tmp_path)
    off = AULLMForAUDetection.from_pretrained(tmp_path, ccr_weight=0.0)
    assert off.config.ccr_weight == 0 and off.config.evidence_gate
    x, y = clips(), labels()
    with torch.no_grad():
        on_out, off_out = model(x, labels=y), off(x, labels=y)
    assert torch.equal(on_out.logits, off_out.logits) and torch.equal(on_out.loss, off_out.loss)
    assert {"invariance", "evidence"}.isdisjoint(on_out.loss_parts or {}), "counterfactuals are for training only"


def test_off_costs_nothing(monkeypatch):
    def never(*args):
        raise AssertionError("nothing is intervened on")

    monkeypatch.setattr("aullm_hf.model.modeling_aullm.intervene", never)
    rows = []
    model = tiny_model(projector="mge", graph=True, clips_per_sequence=5).train()
    model.model.llm.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(kwargs["inputs_embeds"].shape[:2].numel()), with_kwargs=True
    )
    model(clips(), labels=labels())
    assert rows == [len(model.model.prompt.text_ids) + 5 * 2], "the text once, two tokens a clip"


def test_what_a_training_pass_with_ccr_does_not_return_is_refused():
    model = tiny_model(ccr_weight=1.0).train()
    with pytest.raises(ValueError, match="loss, logits and loss_parts only"):
        model(clips(), labels=labels(), output_evidence=True)


def test_every_parameter_has_a_gradient_whatever_the_weights():
    model = tiny_model(projector="mge", graph=True, aux_weight=0.0).train()
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
    model = tiny_model(projector="mge", graph=True, ccr_weight=1.0, ccr_fraction=0.5).train()
    calls = []
    model.model.llm.register_forward_pre_hook(lambda *args: calls.append(1))
    model(clips(4), labels=labels(4)).loss.backward()
    assert len(calls) == 1
    model(clips(1).repeat(3, 1, 1, 1, 1), labels=labels(3))  # the running mean has seen something
    out = tiny_model(backbone_channels=[4, 8], ccr_weight=1.0).train()(clips(1), labels=labels(1))
    assert out.loss.isfinite() and out.logits.shape == (1, 3)


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
