"""Figures of a comparison: all there, as PNG and PDF, and told apart without colour."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from aullm_hf.evaluation import read_run
from aullm_hf.evaluation.comparison.benchmarks import Method, group_by_benchmark
from aullm_hf.evaluation.comparison.figures import (
    COLOURS,
    LINES,
    MARKERS,
    MAX_LINES,
    bars,
    co_occurrence,
    methods_to_draw,
    radar,
    write_comparison_figures,
)
from support.fake_run import fake_run

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    home = tmp_path_factory.mktemp("figures")
    names = ["AU-LLM", "high only", "mid only"]
    runs = [fake_run(home / name) for name in names]
    (group,) = group_by_benchmark([Method(run.name, read_run(run), resamples=20) for run in runs])
    return group


@pytest.mark.slow
def test_every_figure_is_the_same_bytes_again(benchmark, tmp_path):
    one, other = (
        write_comparison_figures(benchmark, benchmark.methods[0], "calibrated", "f1", tmp_path / name)
        for name in ("one", "other")
    )
    for here, there in zip(one, other, strict=True):
        for suffix in (".png", ".pdf"):
            assert here.with_suffix(suffix).read_bytes() == there.with_suffix(suffix).read_bytes()


def test_every_figure_is_there_as_png_and_pdf(benchmark, tmp_path):
    reference = benchmark.methods[0]
    drawn = write_comparison_figures(benchmark, reference, "calibrated", "f1", tmp_path / "one")
    names = ["bars-f1-calibrated", "precision-recall", "co-occurrence", "ablation-radar-f1-calibrated"]
    assert [path.stem for path in drawn] == [*names, "learning-curves"]
    assert all(path.is_file() and path.with_suffix(".pdf").is_file() for path in drawn)


def test_lines_are_told_apart_without_colour():
    assert set(COLOURS) <= OKABE_ITO and len(set(LINES)) == len(set(MARKERS)) == len(set(COLOURS)) == MAX_LINES
    grey = [np.dot((0.299, 0.587, 0.114), to_rgb(colour)) for colour in COLOURS]
    assert max(grey) < 0.75  # none vanishes on white
    assert min(abs(a - b) for a, b in itertools.pairwise(grey)) > 0.05


def test_bars_show_the_means_and_their_intervals(benchmark):
    reference = benchmark.methods[1]
    axes = bars(benchmark, reference, "calibrated", "f1").axes[0]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == pytest.approx([100 * method.mean("calibrated", "f1")[0] for method in benchmark.methods])
    assert [bool(patch.get_hatch()) for patch in axes.patches] == [False, True, False]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["AU-LLM", "high only", "mid only"]


def test_the_radar_has_a_spoke_an_au_and_one_for_the_mean(benchmark):
    axes = radar(benchmark, list(benchmark.methods), "calibrated", "f1").axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["AU1", "AU4", "AU12", "avg"]
    values = axes.lines[0].get_ydata()
    expected = [*benchmark.methods[0].per_au("calibrated", "f1"), benchmark.methods[0].mean("calibrated", "f1")[0]]
    assert values[:-1] == pytest.approx(100 * np.array(expected)) and values[-1] == values[0]


def test_co_occurrence_counts_what_is_active_together(benchmark):
    method = benchmark.methods[0]
    panels = co_occurrence(benchmark, [method]).axes
    truth = method.run.predictions[["y_AU1", "y_AU4"]].to_numpy()
    expected = 100 * (truth[:, 0] & truth[:, 1]).sum() / truth[:, 0].sum()
    assert panels[0].images[0].get_array()[0, 1] == pytest.approx(expected)
    both = method.decisions()
    expected = 100 * (both[:, 0] & both[:, 1]).sum() / both[:, 0].sum()
    assert panels[1].images[0].get_array()[0, 1] == pytest.approx(expected)


def test_with_many_runs_the_reference_and_the_best_are_drawn(benchmark, monkeypatch):
    from aullm_hf.evaluation.comparison import figures as comparison_figures

    monkeypatch.setattr(comparison_figures, "MAX_LINES", 2)
    worst = min(benchmark.methods, key=lambda method: method.mean_ap)
    kept = methods_to_draw(benchmark, worst)
    assert worst in kept and len(kept) == 2
