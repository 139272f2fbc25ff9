import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.evaluation import Calibration, fit_calibration
from aullm_hf.evaluation.thresholds import best_threshold, platt, sigmoid


def clips(n=40, seed=0, gap=2.0):
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.4
    return rng.normal(size=n) * 1.5 + gap * y + 1, y


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(10, 80), st.floats(0, 4))
def test_platt_agrees_with_scikit_learn(seed, n, gap):
    calibration = pytest.importorskip("sklearn.calibration")
    z, y = clips(n, seed, gap)
    theirs = calibration._SigmoidCalibration().fit(z, y)
    assert platt(z, y) == pytest.approx((-theirs.a_, -theirs.b_), abs=1e-4, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_separable_clips_stay_finite(scale):
    z = np.linspace(-1, 1, 20) * scale
    a, b = platt(z, z > 0)
    assert np.isfinite([a, b]).all() and a > 0
    p = sigmoid(a * z + b)
    assert (p[z > 0] > p[z < 0].max()).all() and 0 < p.min() and p.max() < 1
    assert platt(np.full(10, 3.0), np.arange(10) < 4)[0] == 0  # a constant says nothing


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(4, 40))
def test_no_threshold_beats_the_one_chosen(seed, n):
    z, y = clips(n, seed)
    y[0], p = True, sigmoid(z)

    def f1(threshold):
        active = p >= threshold
        return 2 * (active & y).sum() / (active.sum() + y.sum())

    chosen = best_threshold(p, y)
    assert 0 < chosen < 1
    assert f1(chosen) == max(f1(t) for t in [*p, 1e-9, *np.linspace(0.01, 0.99, 99)])


def test_few_positives_keep_the_identity_and_are_flagged():
    z, y = clips()
    rare = np.zeros_like(y)
    rare[:2] = True
    everywhere = np.ones_like(y)
    labels = np.stack([y, rare, everywhere, ~y], axis=1)
    names = ["AU1", "AU2", "AU4", "AU5"]
    fitted = fit_calibration(np.stack([z] * 4, axis=1), labels, names, subjects=["d:a"] * 40, seen_subjects=["d:b"])
    assert list(fitted.flagged) == ["AU2", "AU4", "AU5"]
    assert fitted.flagged["AU2"] == "2 positive inner clips, 3 are needed"
    assert fitted.flagged["AU5"] == "ranked no better than chance on the inner clips"
    for au in fitted.flagged:
        assert (fitted.scale[au], fitted.shift[au], fitted.thresholds[au]) == (1, 0, 0.5)
    assert fitted.scale["AU1"] != 1
    assert fitted.seen_subjects == {"d:a", "d:b"}


def test_whoever_shaped_it_cannot_be_tested_with_it():
    z, y = clips()
    fitted = fit_calibration(z[:, None], y[:, None], ["AU1"], subjects=["d:a"] * 40, seen_subjects=["d:b"])
    for known in ("d:a", "d:b"):
        with pytest.raises(ValueError, match=f"{known} shaped this calibration or its model and cannot be tested"):
            fitted.test_probabilities(z[:1, None], [known])
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again == fitted
    assert (again.test_probabilities(z[:, None], ["d:new"]) == fitted.probabilities(z[:, None])).all()
    with pytest.raises(ValueError, match="cannot be tested"):
        again.refuse_seen(["d:a"])


def test_calibration_lowers_what_the_asymmetric_loss_has_raised():
    z, y = clips(400, gap=3.0)
    fitted = fit_calibration(z[:200, None] + 2, y[:200, None], ["AU1"], subjects=["d:a"] * 200)
    raw, calibrated = sigmoid(z[200:] + 2), fitted.probabilities(z[200:, None] + 2)[:, 0]
    assert abs(calibrated.mean() - y[200:].mean()) < 0.05 < abs(raw.mean() - y[200:].mean())


def test_wrong_shapes_and_diverged_logits_are_named():
    with pytest.raises(ValueError, match=r"logits \(3, 2\), labels \(3, 1\), 3 subjects and 2 AUs"):
        fit_calibration(np.zeros((3, 2)), np.zeros((3, 1)), ["AU1", "AU2"], subjects=["a"] * 3)
    with pytest.raises(ValueError, match="NaN or an infinity"):
        fit_calibration(np.full((3, 1), np.nan), np.zeros((3, 1)), ["AU1"], subjects=["a"] * 3)
    with pytest.raises(ValueError, match=r"logits have shape \(3, 2\); this calibration is for \(N, 1\)"):
        Calibration.identity(["AU1"], []).probabilities(np.zeros((3, 2)))
    assert sigmoid(np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


@given(seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.1, 0.5]))
def test_false_alarms_keep_to_their_share_and_thresholds_only_rise(seed, share):
    rng = np.random.default_rng(seed)
    labels = (rng.random((120, 4)) < 0.15).astype(float)
    logits = rng.normal(size=(120, 4)) + labels
    given_to = {"aus": ["AU1", "AU4", "AU12", "AU25"], "subjects": ["a:1"] * 120}
    free, limited = (fit_calibration(logits, labels, **given_to, false_alarms=limit) for limit in (None, share))
    idle = limited.probabilities(logits)[~labels.any(axis=1)]
    assert (idle >= list(limited.thresholds.values())).any(axis=1).mean() <= share
    assert all(limited.thresholds[au] >= free.thresholds[au] for au in free.aus)
    assert limited.scale == free.scale and limited.shift == free.shift
    if (free.probabilities(logits)[~labels.any(axis=1)] >= list(free.thresholds.values())).any(axis=1).mean() <= share:
        assert limited.thresholds == free.thresholds


def test_false_alarms_need_clips_without_any_au():
    with pytest.raises(ValueError, match="clips without any AU"):
        fit_calibration(np.zeros((4, 1)), np.ones((4, 1)), ["AU1"], subjects=["a:1"] * 4, false_alarms=0.02)
