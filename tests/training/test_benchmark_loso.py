"""Whole runs against each other: both sides train every fold, and neither pays for what both use."""

import json
import os

import benchmark
import datasets
import pytest
from benchmarks.loso import draw_clips, training_span

SMALL = "--subjects 3 --clips_per_subject 4 --epochs 1".split()


def _cores() -> list[str]:
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    return ["--cores", str(allowed[0]), str(allowed[-1])]


def test_the_span_is_from_the_first_start_to_the_last_end(tmp_path):
    folds = []
    for name, seconds, ended in (("a", 3.0, 1010.0), ("b", 4.0, 1012.0), ("c", 1.0, 1030.0)):
        folds.append(tmp_path / f"{name}.json")
        folds[-1].write_text(json.dumps({"seconds": seconds}))
        os.utime(folds[-1], (ended, ended))
    assert training_span(folds) == 1030.0 - 1007.0


@pytest.mark.slow
def test_the_clips_are_drawn_before_any_way_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    draw_clips(benchmark.parse(["loso", *SMALL, *_cores()]))
    (drawn,) = tmp_path.glob("aullm_clips/synthetic/*/checksums.json")
    assert len(datasets.load_from_disk(str(drawn.parent))) == 12


@pytest.mark.slow
def test_both_sides_train_every_fold_and_leave_a_row(tmp_path):
    ways = ["reference", "package"]
    assert benchmark.main(["loso", "--threads", "1", *SMALL, *_cores(), "--ways", *ways, "--out", str(tmp_path)]) == 0
    (rows,) = json.loads((tmp_path / "loso.json").read_text()).values()
    rows = {row["way"]: row for row in rows}
    assert list(rows) == ways
    for row in rows.values():
        assert 0 < row["training, s"] < row["whole, s"]
        assert row["whole / package"] == pytest.approx(row["whole, s"] / rows["package"]["whole, s"])
        assert row["training / package"] == pytest.approx(row["training, s"] / rows["package"]["training, s"])
