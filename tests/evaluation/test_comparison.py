"""Differences between runs agree with an independent computation, and only what is alike is compared."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from aullm_hf.evaluation import read_run, score_predictions, write_table
from aullm_hf.evaluation.comparison.benchmarks import Benchmark, Method, group_by_benchmark
from aullm_hf.evaluation.comparison.differences import holm, paired_differences, two_sided_p
from aullm_hf.evaluation.comparison.tables import (
    ablation_table,
    comparison_table,
    table_notes,
    table_title,
    tidy_comparison,
)
from aullm_hf.evaluation.counting import resample_subjects
from support.fake_run import fake_run

AUS = ["AU1", "AU4", "AU12"]
RESAMPLES = 25


def noisier(run, path, noise, kind="aullm", seed=5):
    """The same run with worse logits: the same clips, labels and folds."""
    shutil.copytree(run, path)
    rng = np.random.default_rng(seed)
    table = pd.read_parquet(path / "predictions.parquet")
    methods = {(one["fold"], one["seed"]): one for one in json.loads((path / "folds.json").read_text())}
    for au in AUS:
        table[f"z_{au}"] += rng.normal(scale=noise, size=len(table)).astype("float32")
        pairs = [methods[key]["calibration"][au] for key in zip(table["fold"], table["seed"], strict=True)]
        a, b = np.array(pairs).T
        table[f"p_{au}"] = 1 / (1 + np.exp(-(a * table[f"z_{au}"].astype("float64") + b)))
    write_table(table, path / "predictions.parquet")
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(info | {"name": path.name, "model_kind": kind}))
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("comparing")
    good = fake_run(home / "good", subjects=4, seeds=(0, 1))
    return good, noisier(good, home / "fair", 1.0), noisier(good, home / "poor", 3.0, kind="sp")


@pytest.fixture(scope="module")
def benchmark(runs):
    (group,) = group_by_benchmark([Method(run.name, read_run(run), resamples=RESAMPLES, seed=3) for run in runs])
    return group


def decisions_by_hand(method, rule):
    """Row by row: the rule's decision for every AU, from the table and folds.json."""
    folds = {(one["fold"], one["seed"]): one for one in method.run.folds}
    decided = []
    for row in method.run.predictions.to_dict("records"):
        fold = folds[row["fold"], row["seed"]]
        if rule == "at_0.5":
            decided.append([row[f"z_{au}"] >= 0 for au in AUS])
        else:
            decided.append([row[f"p_{au}"] >= fold["thresholds"][au] for au in AUS])
    return np.array(decided)


def mean_f1_by_hand(method, rule, metric, drawn):
    """The figure of one resample: the drawn subjects' rows written out again and again, scored by scikit-learn."""
    table, decided = method.run.predictions, decisions_by_hand(method, rule)
    subjects = sorted(set(table["dataset"] + ":" + table["subject"]))
    keys = (table["dataset"] + ":" + table["subject"]).to_numpy()
    per_seed = []
    for seed in sorted(set(table["seed"])):
        rows = [
            row for subject, times in zip(subjects, drawn, strict=True) for _ in range(int(times))
            for row in np.flatnonzero((keys == subject) & (table["seed"] == seed))
        ]  # fmt: skip
        average = {"f1": "binary", "f1_macro": "macro"}[metric]
        per_seed.append([f1_score(table[f"y_{au}"].iloc[rows], decided[rows, i], average=average)
                         for i, au in enumerate(AUS)])  # fmt: skip
    return np.mean(per_seed)


@pytest.mark.parametrize(("rule", "metric"), [("at_0.5", "f1"), ("calibrated", "f1_macro")])
def test_differences_agree_with_a_bootstrap_written_out_by_hand(benchmark, rule, metric):
    reference = benchmark.methods[0]
    draws = resample_subjects(4, RESAMPLES, 3)
    base = [mean_f1_by_hand(reference, rule, metric, drawn) for drawn in draws]
    found = paired_differences(benchmark, reference, rule, metric)
    assert set(found) == {"fair", "poor"}
    p = {}
    for method in benchmark.methods[1:]:
        paired = np.array([mean_f1_by_hand(method, rule, metric, drawn) for drawn in draws]) - base
        whole = [mean_f1_by_hand(one, rule, metric, np.ones(4)) for one in (method, reference)]
        ours = found[method.name]
        assert ours.value == pytest.approx(whole[0] - whole[1], abs=1e-9)
        assert (ours.low, ours.high) == pytest.approx(tuple(np.percentile(paired, [2.5, 97.5])), abs=1e-9)
        below, above = (paired <= 1e-12).sum(), (paired >= -1e-12).sum()
        p[method.name] = min(1.0, 2 * (min(below, above) + 1) / (RESAMPLES + 1))
        assert ours.p == pytest.approx(p[method.name])
    small, large = sorted(p, key=p.get)
    assert found[small].p_holm == pytest.approx(min(1, 2 * p[small]))
    assert found[large].p_holm == pytest.approx(min(1, max(2 * p[small], p[large])))


def test_the_figures_are_those_of_the_runs_own_report(benchmark):
    for method in benchmark.methods:
        scores = score_predictions(method.run.predictions, method.run.folds, inner="holdout", resamples=10)
        for rule in ("at_0.5", "calibrated", "oracle"):
            for metric in ("f1", "f1_macro"):
                assert method.mean(rule, metric)[0] == pytest.approx(scores.mean(rule, metric), abs=1e-6)
                for au, value in zip(method.aus, method.per_au(rule, metric), strict=True):
                    assert value == pytest.approx(scores.au(au, rule, metric), abs=1e-6)


def test_a_run_does_not_differ_from_itself(runs):
    (group,) = group_by_benchmark([Method(name, read_run(runs[0]), resamples=RESAMPLES) for name in ("one", "other")])
    found = paired_differences(group, group.methods[0], "calibrated", "f1")["other"]
    assert (found.value, found.low, found.high, found.p, found.p_holm) == (0, 0, 0, 1, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_step_down_rule(p):
    """Rejected at level t exactly where Holm's procedure, written as a loop, rejects."""
    corrected = holm(p)
    for level in (0.01, 0.05, 0.2, 0.9):
        rejected, left = set(), sorted(range(len(p)), key=lambda i: p[i])
        while left and p[left[0]] * len(left) <= level:
            rejected.add(left.pop(0))
        assert {i for i in range(len(p)) if corrected[i] <= level} == rejected
    assert all(c >= one for c, one in zip(corrected, p, strict=True))


def test_p_is_small_only_where_hardly_a_resample_disagrees():
    assert two_sided_p(np.linspace(1, 2, 99)) == pytest.approx(0.02)  # none beyond zero: one is added
    assert two_sided_p(np.linspace(-1, 1, 101)) == 1.0
    assert two_sided_p(np.array([np.nan, 1.0, 1.0, -1.0])) == 1.0


# -------------------------------------------------------------------- what is compared


def test_only_runs_of_the_same_clips_and_labels_stand_together(runs, tmp_path):
    other = fake_run(tmp_path / "others", subjects=3)
    relabelled = shutil.copytree(runs[0], tmp_path / "relabelled")
    table = pd.read_parquet(relabelled / "predictions.parquet")
    clip = table["clip_id"] == table["clip_id"].iloc[0]
    table.loc[clip, "y_AU1"] = 1 - table.loc[clip, "y_AU1"]
    write_table(table, relabelled / "predictions.parquet")
    methods = [Method(run.name, read_run(run), resamples=10) for run in (*runs, other, relabelled)]
    assert [[one.name for one in group.methods] for group in group_by_benchmark(methods)] == [
        ["good", "fair", "poor"], ["others"], ["relabelled"]
    ]  # fmt: skip


def test_a_control_without_motion_stands_apart_and_says_so(runs, tmp_path):
    """It was tested on the same clips with the same labels, but shown other frames of them."""
    control = shutil.copytree(runs[0], tmp_path / "control")
    info = json.loads((control / "run.json").read_text())
    info["config"]["data"]["frames"] = "onset"
    (control / "run.json").write_text(json.dumps(info))
    normal, apart = group_by_benchmark([Method(run.name, read_run(run), resamples=10) for run in (*runs, control)])
    assert [one.name for one in apart.methods] == ["control"]
    assert "CONTROL: every clip shows its onset frame only" in table_title(apart, "at_0.5", "f1")
    assert "CONTROL" not in table_title(normal, "at_0.5", "f1")


def test_two_rows_of_a_name_are_refused(runs):
    with pytest.raises(ValueError, match=r"two rows would be called 'x': .*good and .*fair\. Name one .* NAME=.*fair"):
        group_by_benchmark([Method("x", read_run(run)) for run in runs[:2]])


def test_the_table_says_what_each_number_is(benchmark):
    reference = benchmark.methods[0]
    table = comparison_table(benchmark, reference, "calibrated", "f1")
    assert table.columns[:6].tolist() == ["method", *AUS, "avg", "95 %"] and "minus good" in table.columns
    assert table["method"].tolist() == ["good", "fair", "poor"] and table["minus good"][0] == "reference"
    best = table[AUS + ["avg"]].map(lambda cell: cell.startswith("**")).sum()
    assert (best >= 1).all()
    heading = table_title(benchmark, "oracle", "f1_macro")
    assert "SYNTHETIC" in heading and "UPPER BOUND" in heading and "macro F1" in heading and "48 clips" in heading
    assert table_notes(benchmark, reference)[0].startswith("SYNTHETIC")


def test_published_figures_stand_beside_real_runs_scored_alike_and_beside_no_others(tmp_path, benchmark):
    casme2 = (1, 2, 4, 7, 12, 14, 15, 17)
    real = fake_run(tmp_path / "real", aus=casme2, dataset="casme2", licensed=True, inner="none")
    (group,) = group_by_benchmark([Method("ours", read_run(real), resamples=10)])
    rows = comparison_table(group, group.methods[0], "oracle", "f1_macro").set_index("method")
    led = rows.loc["LED-SSSNet (published, real data, arXiv 2507.21778)"]
    assert led["AU1"] == "92.6" and led["avg"] == "78.4" and led["95 %"] == "-" and led["p"] == "-"
    assert "SYNTHETIC" not in table_title(group, "oracle", "f1_macro")
    for rule, metric in (("at_0.5", "f1_macro"), ("oracle", "f1")):
        assert comparison_table(group, group.methods[0], rule, metric)["method"].tolist() == ["ours"]
    for rule in ("at_0.5", "calibrated", "oracle"):
        assert not benchmark.published("f1_macro", rule)
    tidy = tidy_comparison([group, benchmark], [group.methods[0], benchmark.methods[0]])
    published = tidy[tidy["source"].str.startswith("published")]
    assert len(published) and not published["synthetic"].any() and published["upper_bound"].all()


def test_variants_of_aullm_have_a_table_across_benchmarks(benchmark):
    table = ablation_table([benchmark], "calibrated", "f1")
    assert table["variant"].tolist() == ["good", "fair"]  # `poor` is another method
    assert ablation_table([Benchmark(benchmark.methods[2:])], "calibrated", "f1") is None
