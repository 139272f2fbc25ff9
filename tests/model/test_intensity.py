"""The ordinal output of intensities: its loss by hand, its order by construction, nothing of it where it is off."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.model.intensity import IntensityHead, expected_level, intensity_loss
from support.tiny import SUBSETS, clips, labels, tiny_config, tiny_model

LEVELS = torch.tensor([[0, 1.5, 5], [np.nan, 0, 3], [2, np.nan, np.nan], [0, 0, 0], [1, 4.5, 0]])
EVERY = [{}, {"head_reads": "both"}, {"head_reads": "token", "lora": None}, {"projector": "prompt"}, *SUBSETS.values()]
every_model = pytest.mark.parametrize("fields", EVERY, ids=[str(fields)[1:40] for fields in EVERY])


def numbers(shape, low=-30, high=30):
    return st.lists(st.floats(low, high), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda values: torch.tensor(values, dtype=torch.float64).reshape(shape)
    )


@settings(max_examples=150, deadline=None)
@given(
    z=numbers((4, 2, 5)),
    levels=st.lists(st.sampled_from([0, 1, 1.5, 2, 3, 4, 4.5, 5, np.nan]), min_size=8, max_size=8),
)
def test_the_loss_is_the_cross_entropy_written_out(z, levels):
    levels = np.array(levels).reshape(4, 2)
    found = intensity_loss(z, torch.tensor(levels))
    terms = []
    for clip, au in np.argwhere(~np.isnan(levels)):
        for k in range(1, 6):
            target = min(max(levels[clip, au] - (k - 1), 0.0), 1.0)
            x = np.longdouble(z[clip, au, k - 1].item())
            terms.append(
                target * np.logaddexp(np.longdouble(0), -x) + (1 - target) * np.logaddexp(np.longdouble(0), x)
            )
    assert found.item() == pytest.approx(float(np.mean(terms)) if terms else 0.0, rel=1e-12, abs=1e-15)


@settings(max_examples=100, deadline=None)
@given(gaps=numbers((3, 4)), features=numbers((2, 64), -3, 3))
def test_cut_points_are_in_order_whatever_was_learned(gaps, features):
    head = IntensityHead(tiny_config(prompt_segments=[[1], "visual"]))
    head = _filled(head, gaps)
    cumulative = head(features[:, :1].expand(2, head.score.in_features))
    assert cumulative.shape == (2, 3, 5) and bool((cumulative.diff(dim=2) < 0).all())
    level = expected_level(cumulative)
    assert bool(((level >= 0) & (level <= 5)).all())


def _filled(head, gaps):
    with torch.no_grad():
        torch.manual_seed(0)
        head.score.reset_parameters()
        head.gaps.copy_(gaps)
    return head.double()


def test_the_expected_level_of_sure_answers_is_the_level():
    sure = torch.where(torch.arange(5) < torch.arange(6)[:, None], 40.0, -40.0)[:, None]  # (6, 1, 5)
    torch.testing.assert_close(expected_level(sure), torch.arange(6.0)[:, None])
    assert intensity_loss(sure, torch.arange(6.0)[:, None]).item() < 1e-12


@every_model
def test_the_logits_are_those_of_a_model_without(fields):
    """Bit for bit, from the same seed; the output reads what the head reads, and adds nothing to the random draws."""
    plain, marked = (tiny_model(randomized=False, seed=5, intensity=on, **fields) for on in (False, True))
    extra = set(marked.state_dict()) - set(plain.state_dict())
    assert extra == {"intensity.score.weight", "intensity.score.bias", "intensity.gaps"}
    assert all(torch.equal(marked.state_dict()[name], tensor) for name, tensor in plain.state_dict().items())
    x = clips()
    with torch.no_grad():
        without, given_ = plain(x), marked(x)
    assert torch.equal(without.logits, given_.logits)
    assert without.intensity is None and given_.intensity.shape == (5, 3)
    for one in (plain, marked):
        one.train()
    torch.manual_seed(3)
    loss = plain(x, labels=labels()).loss
    torch.manual_seed(3)
    out = marked(x, labels=labels(), intensities=LEVELS)
    torch.testing.assert_close(out.loss - out.loss_parts["intensity"], loss)


def test_the_whole_output_by_hand():
    model = tiny_model(intensity=True, intensity_weight=0.3)
    with torch.no_grad():
        model.intensity.gaps.copy_(torch.linspace(-2, 2, 12).view(3, 4))
        out = model(clips(), labels=labels(), intensities=LEVELS)
        features = model.model(clips()).last_hidden_state.double()
    head = {name: tensor.double() for name, tensor in model.intensity.state_dict().items()}
    score = features @ head["score.weight"].T + head["score.bias"]
    cuts = torch.cat([torch.zeros(3, 1), (1 + head["gaps"].exp()).log().cumsum(1)], dim=1)
    chance = 1 / (1 + (cuts - score[..., None]).exp())  # of level >= k
    torch.testing.assert_close(out.intensity.double(), chance.sum(2), atol=1e-5, rtol=1e-5)
    known = ~LEVELS.isnan()
    target = (LEVELS.nan_to_num()[..., None] - torch.arange(5)).clamp(0, 1)
    entropy = -(target * chance.log() + (1 - target) * (1 - chance).log())[known].mean()
    torch.testing.assert_close(out.loss_parts["intensity"].double(), 0.3 * entropy, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out.loss, sum(out.loss_parts.values()))


@every_model
def test_where_nothing_is_known_the_gradient_is_that_of_the_occurrence_alone(fields):
    plain, marked = (tiny_model(seed=5, intensity=on, **fields).train() for on in (False, True))
    y, unknown = labels(), torch.full((5, 3), torch.nan)
    torch.manual_seed(3)
    plain(clips(), labels=y).loss.backward()
    torch.manual_seed(3)
    marked(clips(), labels=y, intensities=unknown).loss.backward()
    expected = {name: parameter.grad for name, parameter in plain.trained_parameters().items()}
    for name, parameter in marked.trained_parameters().items():
        torch.testing.assert_close(
            parameter.grad, expected.get(name, torch.zeros_like(parameter)), atol=1e-6, rtol=1e-4
        )
        if name.startswith("intensity."):
            assert not parameter.grad.any()


def test_it_can_be_learned():
    model = tiny_model(intensity=True, randomized=False).train()
    optimizer = torch.optim.Adam(model.trained_parameters().values(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        model(clips(), labels=(LEVELS.nan_to_num(nan=1) > 0).float(), intensities=LEVELS).loss.backward()
        optimizer.step()
    with torch.no_grad():
        off = (model.eval()(clips()).intensity - LEVELS).abs()
    assert off[~LEVELS.isnan()].max() < 0.7


def test_a_checkpoint_keeps_the_output_and_an_old_one_has_none(tmp_path):
    model = tiny_model(intensity=True)
    model.save_pretrained(tmp_path / "new")
    tiny_model().save_pretrained(tmp_path / "old")
    text = (tmp_path / "old" / "config.json").read_text()
    kept = [line for line in text.splitlines() if '"intensity' not in line]  # as it was written before the field
    assert len(kept) == len(text.splitlines()) - 2
    (tmp_path / "old" / "config.json").write_text("\n".join(kept))
    new, old = (AULLMForAUDetection.from_pretrained(tmp_path / name) for name in ("new", "old"))
    with torch.no_grad():
        assert torch.equal(new(clips()).intensity, model(clips()).intensity)
        assert old(clips()).intensity is None and torch.equal(old(clips()).logits, tiny_model()(clips()).logits)


@pytest.mark.parametrize(
    ("intensities", "named"),
    [
        (torch.zeros(5, 2), r"intensities has shape \(5, 2\), labels \(5, 3\)"),
        (torch.full((5, 3), 6.0), "intensities holds 6.0; expected 0 .* to 5 .*, or NaN"),
        (torch.full((5, 3), torch.inf), "intensities holds .*; expected 0"),
        ([[0, 1, 2]], r"intensities is list; expected a tensor \(clips, AUs\)"),
        (None, r"intensities is None, but the model has an output .* give \(clips, AUs\)"),
    ],
)
def test_wrong_intensities_are_named(intensities, named):
    with pytest.raises(ValueError, match=named):
        tiny_model(intensity=True).train()(clips(), labels=labels(), intensities=intensities)


def test_intensities_without_a_place_are_refused():
    with pytest.raises(ValueError, match="no output for them"):
        tiny_model()(clips(), labels=labels(), intensities=LEVELS)
    with pytest.raises(ValueError, match="no labels beside them"):
        tiny_model(intensity=True)(clips(), intensities=LEVELS)
    with pytest.raises(ValueError, match=r"AULLMConfig.intensity_weight is 0; allowed: a number above 0"):
        AULLMConfig(intensity=True, intensity_weight=0)
