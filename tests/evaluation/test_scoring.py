import copy
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.evaluation import ORACLE_GRID, read_run, score_predictions
from aullm_hf.evaluation.counting import average_precision, expected_calibration_error, roc_auc
from aullm_hf.evaluation.thresholds import sigmoid
from support.fake_run import fake_run

AUS = ("AU1", "AU2", "AU4")
ROUNDED = 1e-6  # figures are kept to six decimals


@st.composite
def tables(draw):
    """Random tables with ties, subjects of any size, and AUs that are absent from, or in, every clip."""
    n, seed = draw(st.integers(2, 40)), draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, draw(st.integers(1, 6)), n)
    frame = {"clip_id": [f"c{i}" for i in range(n)], "dataset": ["d"] * n, "subject": [f"s{s}" for s in subjects]}
    frame |= {"fold": frame["subject"], "seed": [0] * n}
    for au in AUS:
        z = rng.normal(size=n)
        frame[f"z_{au}"] = np.round(z, 1) if draw(st.booleans()) else z
        frame[f"y_{au}"] = (rng.random(n) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))).astype(int)
    return pd.DataFrame(frame)


def brute_force(active, labels):
    tp = fp = fn = tn = 0
    for a, y in zip(active, labels, strict=True):
        tp, fp, fn, tn = tp + (a and y), fp + (a and not y), fn + (not a and y), tn + (not a and not y)
    f1 = 2 * tp / (2 * tp + fp + fn) if tp + fn else None
    absent = 2 * tn / (2 * tn + fp + fn) if tn + fp else None
    return {"f1": f1, "f1_macro": (f1 + absent) / 2 if None not in (f1, absent) else None}


def same(value, expected):
    return (value is None and expected is None) or value == pytest.approx(expected, abs=ROUNDED)


@settings(max_examples=30)
@given(tables(), st.randoms(use_true_random=False))
def test_agrees_with_scikit_learn_and_a_brute_force_count_in_any_order(table, random):
    metrics = pytest.importorskip("sklearn.metrics")
    figures = score_predictions(table, resamples=10).results
    order = list(range(len(table)))
    random.shuffle(order)
    assert score_predictions(table.iloc[order], resamples=10).results == figures
    for au in AUS:
        y, p, block = table[f"y_{au}"].to_numpy(), sigmoid(table[f"z_{au}"]), figures["per_au"][au]
        both = 0 < y.sum() < len(y)
        decisions = {"at_0.5": p >= 0.5, "always_absent": p < 0, "always_present": p >= 0}
        for rule, active in decisions.items():
            expected = brute_force(active.tolist(), y.tolist())
            for metric in ("f1", "f1_macro"):
                assert same(block[rule][metric]["value"], expected[metric])
            if both:
                sklearn_f1 = metrics.f1_score(y, active, average="macro", zero_division=0)
                assert same(block[rule]["f1_macro"]["value"], sklearn_f1)
        for metric in ("f1", "f1_macro"):
            grid = [brute_force((p >= t).tolist(), y.tolist())[metric] for t in ORACLE_GRID]
            assert same(block["oracle"][metric]["value"], None if None in grid else max(grid))
        ranking = block["ranking"]
        assert same(ranking["ap"]["value"], metrics.average_precision_score(y, p) if y.any() else None)
        assert same(ranking["roc_auc"]["value"], metrics.roc_auc_score(y, p) if both else None)
        assert block["support"] == y.sum()
        assert block["prevalence"] == pytest.approx(y.mean(), abs=ROUNDED)
    for rule, metric in (("at_0.5", "f1"), ("at_0.5", "f1_macro"), ("oracle", "f1"), ("ranking", "ap")):
        values = [figures["per_au"][au][rule][metric]["value"] for au in AUS if table[f"y_{au}"].any()]
        values = [value for value in values if value is not None]
        assert same(figures["mean"][rule][metric]["value"], np.mean(values) if values else None)


def test_an_au_without_positives_is_neither_a_zero_nor_a_one():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"clip_id": range(20), "dataset": "d", "subject": [f"s{i % 4}" for i in range(20)], "seed": 0}
    )
    table["fold"] = table["subject"]
    table["z_AU1"], table["y_AU1"] = rng.normal(size=20), [0, 1] * 10
    table["z_AU9"], table["y_AU9"] = rng.normal(size=20), 0
    scores = score_predictions(table)
    assert scores.results["mean"]["over"] == ["AU1"]
    assert scores.results["mean"]["excluded"] == {"AU9": "no positive clip in the test table"}
    assert np.isnan(scores.au("AU9", "at_0.5", "f1")) and np.isnan(scores.au("AU9", "at_0.5", "f1_macro"))
    assert scores.mean("at_0.5", "f1") == scores.au("AU1", "at_0.5", "f1")
    json.dumps(scores.results, allow_nan=False)


def test_counts_pool_over_folds_before_any_f1():
    """Two subjects, one without a positive: an average of per-fold F1s would be 0.5 or 1, pooled it is 0.8."""
    table = pd.DataFrame(
        {
            "clip_id": ["a", "b", "c", "d"],
            "dataset": "d",
            "subject": ["s1", "s1", "s2", "s2"],
            "fold": ["s1", "s1", "s2", "s2"],
            "seed": 0,
            "z_AU1": [1.0, 1.0, 1.0, -1.0],
            "y_AU1": [1, 1, 0, 0],
        }
    )
    assert score_predictions(table).mean("at_0.5", "f1") == pytest.approx(0.8)


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_a_weighted_resample_is_the_repeated_table(seed):
    rng = np.random.default_rng(seed)
    z, y, weights = np.round(rng.normal(size=15), 1), rng.integers(0, 2, 15), rng.integers(0, 4, (3, 15))
    for function in (average_precision, roc_auc):
        for row, value in zip(weights, function(z, y, weights.astype(float)), strict=True):
            again = function(np.repeat(z, row), np.repeat(y, row))[0] if row.any() else np.nan
            assert value == pytest.approx(again, nan_ok=True)


def test_intervals_come_from_resampled_subjects(tmp_path):
    run = read_run(fake_run(tmp_path / "run", subjects=5, clips=8))
    scores = score_predictions(run.predictions, run.folds, resamples=300, seed=1)
    keys = run.predictions["subject"].to_numpy()
    names = sorted(set(keys))
    drawn = np.random.default_rng(1).multinomial(5, np.full(5, 0.2), size=300)
    values = []
    for counts in drawn:  # the slow way: build every resampled table
        rows = np.concatenate(
            [np.flatnonzero(keys == n) for n, c in zip(names, counts, strict=True) for _ in range(c)]
        )
        y, active = run.predictions["y_AU4"].to_numpy()[rows], run.predictions["z_AU4"].to_numpy()[rows] >= 0
        values.append(brute_force(active.tolist(), y.tolist())["f1"])
    low, high = np.percentile([v for v in values if v is not None], [2.5, 97.5])
    figure = scores.results["per_au"]["AU4"]["at_0.5"]["f1"]
    assert (figure["low"], figure["high"]) == pytest.approx((low, high), abs=ROUNDED)
    again = score_predictions(run.predictions, run.folds, resamples=300, seed=1)
    assert again.results == scores.results
    assert score_predictions(run.predictions, run.folds, resamples=300, seed=2).results != scores.results


def test_calibration_error_in_one_bin_and_in_two():
    assert expected_calibration_error([0.25, 0.25], [0, 1]) == pytest.approx(0.25)
    assert expected_calibration_error([0.1, 0.9, 1.0], [0, 1, 1]) == pytest.approx((0.1 + 0.1) / 3)


def test_several_seeds_give_mean_and_spread(tmp_path):
    run = read_run(fake_run(tmp_path / "run", seeds=(1, 2, 3)))
    scores = score_predictions(run.predictions, run.folds, resamples=50)
    single = []
    for seed in (1, 2, 3):
        rows = run.predictions[run.predictions["seed"] == seed]
        single.append(score_predictions(rows, run.folds, resamples=0).mean("calibrated", "f1"))
    figure = scores.results["mean"]["calibrated"]["f1"]
    assert figure["value"] == pytest.approx(np.mean(single), abs=ROUNDED)
    assert figure["sd"] == pytest.approx(np.std(single, ddof=1), abs=ROUNDED)
    assert [scores.results["by_seed"][str(s)]["calibrated"]["f1"] for s in (1, 2, 3)] == pytest.approx(
        single, abs=ROUNDED
    )
    assert scores.results["per_au"]["AU1"]["calibrated"]["counts"]["tp"] > 0


def test_several_data_sets_are_also_told_apart():
    rng = np.random.default_rng(0)
    n = 24
    table = pd.DataFrame({"clip_id": range(n), "dataset": ["a", "b"] * 12, "subject": "01", "fold": ["a", "b"] * 12})
    table = table.assign(seed=0, z_AU4=rng.normal(size=n), y_AU4=rng.integers(0, 2, n))
    figures = score_predictions(table, resamples=10).results
    assert figures["n_subjects"] == 2  # 01 of a and 01 of b
    alone = score_predictions(table[table["dataset"] == "a"], resamples=0).mean("at_0.5", "f1")
    assert figures["by_dataset"]["a"]["mean"]["at_0.5"]["f1"]["value"] == pytest.approx(alone)


def test_calibrated_decisions_are_each_fold_s_own(tmp_path):
    run = read_run(fake_run(tmp_path / "run", subjects=4))
    scores = score_predictions(run.predictions, run.folds, resamples=0)
    for au in scores.results["aus"]:
        active, labels = [], []
        for entry in run.folds:
            for _, row in run.predictions[run.predictions["fold"] == entry["fold"]].iterrows():
                a, b = entry["calibration"][au]
                active.append(1 / (1 + np.exp(-(a * row[f"z_{au}"] + b))) >= entry["thresholds"][au])
                labels.append(row[f"y_{au}"])
        assert scores.au(au, "calibrated", "f1") == pytest.approx(brute_force(active, labels)["f1"], abs=ROUNDED)
    assert scores.results["flagged_folds"]["AU1"] == sum("AU1" in entry["flagged"] for entry in run.folds)


# Leaks


def honest(scores):
    rules = ("at_0.5", "calibrated")
    return {rule: [scores.results["per_au"][au][rule] for au in scores.results["aus"]] for rule in rules}


def test_a_threshold_that_would_only_win_on_the_test_labels_changes_no_honest_figure(tmp_path):
    """Every test clip's score is moved to a level that one threshold of the grid, and only that, separates."""
    run = read_run(fake_run(tmp_path / "run", subjects=4))
    planted = run.predictions.copy()
    truth = planted["y_AU4"] == 1
    level = np.log(0.8 / 0.2)  # raw 0.8: between 0.75 and 0.85 of the grid, far from any honest threshold
    planted["z_AU4"] = np.where(truth, level + 0.05, level - 0.05)
    for entry in run.folds:
        rows = planted["fold"] == entry["fold"]
        a, b = entry["calibration"]["AU4"]
        planted.loc[rows, "p_AU4"] = sigmoid(a * planted.loc[rows, "z_AU4"] + b)
    relabelled = planted.copy()
    flipped = 1 - relabelled["y_AU4"]
    relabelled["y_AU4"] = flipped
    one, other = (score_predictions(table, run.folds, resamples=0) for table in (planted, relabelled))
    assert one.au("AU4", "oracle", "f1_macro") == 1.0  # the oracle takes what was planted
    assert one.au("AU4", "at_0.5", "f1") == pytest.approx(
        2 * truth.mean() / (1 + truth.mean()), abs=ROUNDED
    )  # still all active
    before = {entry["fold"]: entry["thresholds"] for entry in run.folds}
    assert before == {entry["fold"]: entry["thresholds"] for entry in read_run(run.path).folds}
    # and which decisions the honest rules take does not depend on any test label
    for rule in ("at_0.5", "calibrated"):
        counts, swapped = (s.results["per_au"]["AU4"][rule]["counts"] for s in (one, other))
        assert counts["tp"] + counts["fp"] == swapped["tp"] + swapped["fp"]


def test_other_thresholds_on_the_grid_change_only_the_oracle(tmp_path, monkeypatch):
    run = read_run(fake_run(tmp_path / "run"))
    before = score_predictions(run.predictions, run.folds, resamples=20)
    monkeypatch.setattr("aullm_hf.evaluation.scoring.ORACLE_GRID", (0.99,))
    after = score_predictions(run.predictions, run.folds, resamples=20)
    assert honest(before) == honest(after)
    assert before.mean("oracle", "f1") > after.mean("oracle", "f1")


def test_a_fold_that_has_seen_its_test_subject_is_refused(tmp_path):
    run = read_run(fake_run(tmp_path / "run"))
    folds = copy.deepcopy(run.folds)
    folds[1]["seen_subjects"].append("synthetic:sub02")
    with pytest.raises(
        ValueError, match="fold 'sub02' tests synthetic:sub02, whom it has seen in training: this is a"
    ):
        score_predictions(run.predictions, folds)
    folds = copy.deepcopy(run.folds)
    folds[1]["test_subjects"] = ["synthetic:sub09"]
    with pytest.raises(ValueError, match="fold 'sub02' tests synthetic:sub02, who are not among its test_subjects"):
        score_predictions(run.predictions, folds)
    folds = copy.deepcopy(run.folds)
    folds[2]["calibration"]["AU1"] = [2.5, 1.0]
    with pytest.raises(ValueError, match="fold 'sub03', seed 0: the p_ columns differ by up to"):
        score_predictions(run.predictions, folds)
    with pytest.raises(ValueError, match=r"folds.json has no entry for fold 'sub03', seed 0"):
        score_predictions(run.predictions, run.folds[:2])


def test_bad_tables_are_named(tmp_path):
    table = read_run(fake_run(tmp_path / "run")).predictions
    unlabelled = table.drop(columns=["y_AU1", "y_AU4", "y_AU12"])
    with pytest.raises(ValueError, match=r"has no y_AU1, y_AU4, y_AU12: labels of licensed data are not published"):
        score_predictions(unlabelled)
    with pytest.raises(ValueError, match="clip 'sub01/EP00' was tested twice with one seed"):
        score_predictions(pd.concat([table, table[:1]]))
    with pytest.raises(ValueError, match="clip 'sub01/EP00' has a logit that is NaN or infinite"):
        score_predictions(table.assign(z_AU4=np.where(table.index == 0, np.nan, table["z_AU4"])))
    with pytest.raises(ValueError, match=r"clip 'sub01/EP00' has the labels \[2.0"):
        score_predictions(table.assign(y_AU1=np.where(table.index == 0, 2, table["y_AU1"])))
    with pytest.raises(ValueError, match="has no column subject; it needs clip_id, dataset, subject, fold, seed"):
        score_predictions(table.drop(columns="subject"))
    with pytest.raises(ValueError, match="has no rows"):
        score_predictions(table[:0])
    with pytest.raises(ValueError, match=r"has subject 'a\\x85b'; expected printable text"):
        score_predictions(table.assign(subject="a\x85b"))
    score_predictions(table.assign(clip_id="名\u3000前\u00a0\u200c" + table["clip_id"]), resamples=0)
    fewer = table[1:].assign(seed=1)
    with pytest.raises(ValueError, match="seed 1 has tested 35 clips, seed 0 36"):
        score_predictions(pd.concat([table, fewer]))
    with pytest.raises(ValueError, match="no scores for 'calibrated'"):
        score_predictions(table).mean("calibrated", "f1")


def test_no_warning_and_no_torch(tmp_path):
    run = read_run(fake_run(tmp_path / "run", inner="none"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_predictions(run.predictions, run.folds, inner="none")
    assert "calibrated" not in scores.results["rules"]
