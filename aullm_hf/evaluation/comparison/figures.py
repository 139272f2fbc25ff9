"""Pictures of a comparison: bars with intervals, the ablation's radar, precision and recall, co-occurrence, learning.

Colours are from Okabe and Ito's colour-blind safe set; hatches, markers, line styles and printed numbers carry the
same, so that a grey print can be read. PNG and PDF. Needs the extra `viz`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..counting import interval, precision_recall
from ..figures import read_logs
from ..plotting import INK, new_figure, plain_axes
from .benchmarks import METRICS, Benchmark, Method
from .tables import benchmark_title, table_title

# Dark to light and back, so that neighbours differ in grey too; the set's yellow is too light for a line.
COLOURS = ("#0072B2", "#E69F00", "#000000", "#CC79A7", "#009E73", "#56B4E9", "#D55E00")
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MAX_LINES = len(COLOURS)  # lines that can be told apart in one panel


def write_comparison_figures(
    benchmark: Benchmark, reference: Method, rule: str, metric: str, folder: str | Path
) -> list[Path]:
    """All that can be drawn of the benchmark's runs, under `folder`; the names of the PNG files."""
    methods = methods_to_draw(benchmark, reference)
    drawn = {
        f"bars-{metric}-{rule}": bars(benchmark, reference, rule, metric),
        "precision-recall": precision_recall_panels(benchmark, methods),
        "co-occurrence": co_occurrence(benchmark, methods),
    }
    variants = [method for method in benchmark.methods if method.is_aullm and rule in method.metrics][:MAX_LINES]
    if len(variants) > 1 and len(benchmark.aus) > 2:
        drawn[f"ablation-radar-{metric}-{rule}"] = radar(benchmark, variants, rule, metric)
    logs = {method.name: read_logs(method.run.path) for method in methods}
    if any(logs.values()):  # fitted machines have none
        drawn["learning-curves"] = learning_curves(benchmark, logs)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():  # no version and no date, so the same bytes each time
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
        figure.set_layout_engine("none")  # it is laid out
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})
    return [folder / f"{name}.png" for name in drawn]


def methods_to_draw(benchmark: Benchmark, reference: Method) -> list[Method]:
    """As many runs as lines can be told apart: the reference, and the others with the best mean AP, in table order."""
    others = sorted(
        (method for method in benchmark.methods if method is not reference),
        key=lambda method: -method.mean_ap,
    )
    kept = [reference, *others[: MAX_LINES - 1]]
    return [method for method in benchmark.methods if method in kept]


def bars(benchmark: Benchmark, reference: Method, rule: str, metric: str):
    """One bar per method: mean F1 and its interval; the reference is hatched, the floor is "always active"."""
    methods = [method for method in benchmark.methods if rule in method.metrics]
    figure = new_figure(7.2, 0.34 * len(methods) + 1.5)
    axes = figure.subplots()
    for place, method in enumerate(methods):
        value, resampled = method.mean(rule, metric)
        low, high = interval(resampled)
        is_reference = method is reference
        axes.barh(place, 100 * value, height=0.68, color="#56B4E9" if is_reference else "#DDDDDD", edgecolor=INK,
                  hatch="///" if is_reference else "", linewidth=0.7)  # fmt: skip
        arms = [[max(100 * (value - low), 0)], [max(100 * (high - value), 0)]]
        axes.errorbar(100 * value, place, xerr=arms, color=INK, capsize=3, linewidth=1.1)
        axes.text(100 * high + 1.2, place, f"{100 * value:.1f}", va="center", fontsize=8, color=INK)
    floor = 100 * methods[0].mean("always_present", metric)[0]
    axes.axvline(floor, color=INK, linestyle=":", linewidth=1)
    axes.annotate("always active", (floor, -0.75), fontsize=7, ha="center", va="bottom", annotation_clip=False)
    axes.set(xlim=(0, 105), ylim=(len(methods) - 0.4, -0.6), xlabel=f"{METRICS[metric]}, mean over AUs, %")
    axes.xaxis.label.set_size(9)
    axes.set_yticks(range(len(methods)), [method.name for method in methods])
    plain_axes(axes)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", color="#EEEEEE", linewidth=0.8)
    _heading(figure, table_title(benchmark, rule, metric), f"95 % intervals over subjects; hatched: {reference.name}")
    return figure


def radar(benchmark: Benchmark, methods: list[Method], rule: str, metric: str):
    """One line per variant of AU-LLM, one spoke per AU, as Figure 2 of the paper."""
    figure = new_figure(6.4, 5.6)
    axes = figure.add_subplot(projection="polar")
    spokes = [*benchmark.aus, "avg"]
    angles = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    lowest = 100.0
    for place, method in enumerate(methods):
        values = 100 * np.array([*method.per_au(rule, metric), method.mean(rule, metric)[0]])
        lowest = min(lowest, np.nanmin(values))
        axes.plot(
            np.append(angles, angles[0]), np.append(values, values[0]), color=COLOURS[place], linestyle=LINES[place],
            marker=MARKERS[place], markersize=5, linewidth=1.6, label=f"{method.name} ({values[-1]:.1f})",
        )  # fmt: skip
    centre = max(10 * np.floor(lowest / 10) - 10, 0)
    axes.set(theta_offset=np.pi / 2, theta_direction=-1, ylim=(centre, 100))
    axes.set_xticks(angles, spokes, fontsize=9)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(color="#DDDDDD")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8, handlelength=4)
    _heading(
        figure,
        table_title(benchmark, rule, metric),
        f"the variants of AU-LLM, per AU; the centre is {centre:.0f}, avg in brackets",
    )
    return figure


def precision_recall_panels(benchmark: Benchmark, methods: list[Method]):
    """One panel per AU, one line per run (its seeds together); dotted: the prevalence, where chance lies."""
    columns = min(4, len(benchmark.aus))
    rows = -(-len(benchmark.aus) // columns)
    figure = new_figure(2.5 * columns + 0.4, 2.4 * rows + 1.5)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, au in zip(panels, benchmark.aus, strict=False):
        axes.axhline(methods[0].run.predictions[f"y_{au}"].mean(), color=INK, linestyle=":", linewidth=0.8)
        for place, method in enumerate(methods):
            table = method.run.predictions
            score = f"p_{au}" if method.is_calibrated else f"z_{au}"  # folds differ in scale before calibration
            precision, recall = precision_recall(table[score].to_numpy(), table[f"y_{au}"].to_numpy())
            axes.plot(
                np.append(0, recall), np.append(precision[0], precision), drawstyle="steps-pre", color=COLOURS[place],
                linestyle=LINES[place], linewidth=1.3, label=method.name,
            )  # fmt: skip
        axes.set_title(au, fontsize=9)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03))
        plain_axes(axes)
    for axes in panels[len(benchmark.aus) :]:
        axes.set_visible(False)
    for place, axes in enumerate(panels[: len(benchmark.aus)]):
        if place % columns == 0:
            axes.set_ylabel("precision", fontsize=8)
        if place + columns >= len(benchmark.aus):
            axes.set_xlabel("recall", fontsize=8)
            axes.tick_params(labelbottom=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=8, handlelength=4)
    _heading(figure, benchmark_title(benchmark), "precision and recall of the calibrated scores; dotted: prevalence")
    return figure


def co_occurrence(benchmark: Benchmark, methods: list[Method]):
    """How often the AU of a column is active where the AU of a row is: as annotated, and as each run decides."""
    aus = benchmark.aus
    truth = _share_together(methods[0].run.predictions[[f"y_{au}" for au in aus]].to_numpy(dtype=bool))
    panels = {"annotated": truth}
    for method in methods:
        share = _share_together(method.decisions())
        off = f"off by {np.nanmean(np.abs(share - truth)):.0f}{'' if method.is_calibrated else ', at 0.5'}"
        panels[f"{method.name} ({off})"] = share
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(2.7 * columns, 2.75 * rows + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, share) in zip(grid, panels.items(), strict=False):
        axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.ndindex(*share.shape):
            if np.isfinite(share[row, column]):
                ink = "white" if share[row, column] > 55 else INK
                axes.text(column, row, f"{share[row, column]:.0f}", ha="center", va="center", fontsize=6, color=ink)
        names = [au.removeprefix("AU") for au in aus]
        axes.set_xticks(range(len(aus)), names, fontsize=7)
        axes.set_yticks(range(len(aus)), names, fontsize=7)
        axes.set_title(name, fontsize=8, fontweight="bold" if name == "annotated" else "normal")
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    _heading(
        figure,
        benchmark_title(benchmark),
        "% of the clips with the row's AU that have the column's too, at the fold's own thresholds; in brackets how "
        "many points that is off the annotation, on average",
    )
    return figure


def _share_together(active: np.ndarray) -> np.ndarray:
    """(rows, n_AU) decisions -> (n_AU, n_AU) in %, NaN on the diagonal and for an AU that is never active."""
    together = active.T.astype(float) @ active
    alone = np.diag(together)[:, None]
    share = 100 * np.divide(together, alone, out=np.full_like(together, np.nan), where=alone > 0)
    np.fill_diagonal(share, np.nan)
    return share


def learning_curves(benchmark: Benchmark, logs: dict[str, dict[str, pd.DataFrame]]):
    """Median over folds of each run's training loss, over the share of its training that is done."""
    figure = new_figure(6.8, 4.4)
    axes = figure.subplots()
    for place, (name, folds) in enumerate(logs.items()):  # places as elsewhere, so that a run keeps its colour
        if not folds:
            continue
        median = pd.concat([log.set_index("step")["loss"] for log in folds.values()], axis=1).median(axis=1)
        done = 100 * median.index.to_numpy() / median.index.max()
        axes.plot(
            done, median.to_numpy(), color=COLOURS[place], linestyle=LINES[place], marker=MARKERS[place], markersize=4,
            markevery=max(len(median) // 8, 1), linewidth=1.5, label=name,
        )  # fmt: skip
    axes.set(xlabel="training done, %", ylabel="training loss (median over folds)", yscale="log", xlim=(0, 101))
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)
    plain_axes(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8, handlelength=4)
    _heading(
        figure, benchmark_title(benchmark), "a student's loss holds its imitation term: compare shapes, not heights"
    )
    return figure


def _heading(figure, *lines: str) -> None:
    """What is shown, then how to read it; broken where the figure ends."""
    import textwrap

    width = int(figure.get_figwidth() * 15)
    figure.suptitle("\n".join(part for line in lines for part in textwrap.wrap(line, width)), fontsize=8.5)


__all__ = [
    "bars",
    "co_occurrence",
    "learning_curves",
    "methods_to_draw",
    "precision_recall_panels",
    "radar",
    "write_comparison_figures",
]
