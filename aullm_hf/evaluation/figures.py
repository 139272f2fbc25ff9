"""Pictures of a run: bars per AU with their intervals, precision-recall curves, the learning curve.

Colours are from Okabe and Ito's colour-blind safe set, and differ in lightness and hatching too, so that a grey print
can be read. No face is ever drawn here. Needs the extra `viz`.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ..whole_files import replacing
from .counting import precision_recall
from .plotting import FAINT, INK, LINE, new_figure, plain_axes
from .run_folder import Run, read_json
from .scoring import Scores
from .tables import About

FIGURE_FILES = ("per_au.png", "precision_recall.png", "learning_curve.png")
_BARS = {  # rule -> legend, colour, hatch
    "at_0.5": ("at 0.5, not calibrated", "#E6C88C", ""),
    "calibrated": ("calibrated (chosen on inner clips)", "#56A0D3", ""),
    "oracle": ("oracle (UPPER BOUND, chosen on test labels)", "#FFFFFF", "////"),
}
_METRICS = {"f1": "f1 (binary)", "f1_macro": "f1_macro (both classes)"}


def write_figures(run: Run, scores: Scores, about: About, folder: str | Path) -> list[Path]:
    """All that can be drawn of the run, under `folder`."""
    folder = Path(folder)
    drawn = {"per_au.png": per_au(scores, about), "precision_recall.png": precision_recall_curves(run, scores, about)}
    if logs := read_logs(run.path):
        drawn["learning_curve.png"] = learning_curve(logs, about)
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        with replacing(folder / name) as partial:  # no version inside, so the same bytes each time
            figure.savefig(partial, format="png", dpi=150, metadata={"Software": None})
    return [folder / name for name in drawn]


def per_au(scores: Scores, about: About):
    """Both F1s of every AU and of the mean, one bar per rule, 95 % intervals, the floors as marks."""
    results = scores.results
    names = [*results["aus"], "mean"]
    blocks = [*(results["per_au"][au] for au in results["aus"]), results["mean"]]
    rules = [rule for rule in _BARS if rule in results["rules"]]
    figure = new_figure(max(6.5, 1.0 * len(names) + 1.5), 6.4)
    width = 0.8 / len(rules)
    for axes, (metric, label) in zip(figure.subplots(2, 1, sharex=True), _METRICS.items(), strict=True):
        for place, rule in enumerate(rules):
            legend, colour, hatch = _BARS[rule]
            x = np.arange(len(names)) + (place - (len(rules) - 1) / 2) * width
            value, low, high = (_column(blocks, rule, metric, key) for key in ("value", "low", "high"))
            axes.bar(x, value, width, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.6, label=legend)
            arms = np.clip([value - low, high - value], 0, None)
            axes.errorbar(x, value, yerr=arms, fmt="none", ecolor=INK, elinewidth=1, capsize=2)
            for i in np.flatnonzero(np.isnan(value)):
                axes.text(x[i], 0.02, "undefined", rotation=90, ha="center", va="bottom", fontsize=7, color=INK)
        for rule, mark, legend in (("always_present", "_", "always present"), ("always_absent", "x", "always absent")):
            floor = _column(blocks, rule, metric, "value")
            beside = np.arange(len(names)) - 0.46  # left of the bars, where it can be seen on white
            axes.scatter(beside, floor, marker=mark, s=60 if mark == "_" else 20, color=INK, linewidths=1.6,
                         clip_on=False, zorder=4, label=f"floor: {legend}")  # fmt: skip
        axes.set(ylabel=label, ylim=(0, 1.02), xlim=(-0.6, len(names) - 0.4))
        axes.axvline(len(names) - 1.5, color=FAINT, linewidth=0.8)
        plain_axes(axes)
    support = [f"\n{results['per_au'][au]['support']}" for au in results["aus"]]
    axes.set_xticks(range(len(names)), [name + s for name, s in zip(names, [*support, ""], strict=True)])
    axes.set_xlabel(f"positive clips of {results['n_clips']} under each AU", fontsize=8)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    _title(figure, about, "F1 per AU, 95 % intervals over subjects")
    return figure


def precision_recall_curves(run: Run, scores: Scores, about: About):
    """One panel per AU, one line per seed; the dotted line is the prevalence, where chance lies."""
    results, table = scores.results, run.predictions
    columns = min(4, len(results["aus"]))
    rows = -(-len(results["aus"]) // columns)
    figure = new_figure(2.3 * columns + 0.6, 2.4 * rows + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, au in zip(panels, results["aus"], strict=False):
        block = results["per_au"][au]
        axes.axhline(block["prevalence"], color=INK, linestyle=":", linewidth=1)
        if block["support"]:
            for _, part in table.groupby("seed"):
                precision, recall = precision_recall(part[f"z_{au}"].to_numpy(), part[f"y_{au}"].to_numpy())
                axes.step(np.append(0, recall), np.append(precision[0], precision), where="pre", color=LINE, lw=1.3)
            ap = block["ranking"]["ap"]
            axes.set_title(f"{au}  AP {ap['value']:.2f} [{ap['low']:.2f}, {ap['high']:.2f}]", fontsize=8)
        else:
            axes.set_title(f"{au}  no positive clip", fontsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        plain_axes(axes)
    for axes in panels[len(results["aus"]) :]:
        axes.set_visible(False)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    _title(figure, about, "Precision and recall before calibration (dotted: prevalence)")
    return figure


def learning_curve(logs: dict[str, pd.DataFrame], about: About):
    """Training loss of every fold, and their median where most of them have a value."""
    figure = new_figure(6.5, 3.8)
    axes = figure.subplots()
    for log in logs.values():
        axes.plot(log["step"], log["loss"], color=FAINT, linewidth=0.8)
    median = pd.concat([log.set_index("step")["loss"] for log in logs.values()], axis=1)
    median = median[median.notna().sum(axis=1) >= len(logs) / 2].median(axis=1).sort_index()
    axes.plot(median.index, median.to_numpy(), color=LINE, linewidth=2)
    axes.set(xlabel="training step", ylabel="training loss", ylim=(0, None))
    plain_axes(axes)
    _title(figure, about, f"Training loss: {len(logs)} folds (grey) and their median")
    return figure


def read_logs(run_dir: str | Path) -> dict[str, pd.DataFrame]:
    """Fold folder's name -> its training log (step, loss), for the folds that logged a loss."""
    logs = {}
    for path in sorted((Path(run_dir) / "folds").glob("*/log.json")):
        steps = {int(line["step"]): float(line["loss"]) for line in read_json(path) if "loss" in line}
        if steps:  # a resumed fold logs a step again: the last one counts
            logs[path.parent.name] = pd.DataFrame(sorted(steps.items()), columns=["step", "loss"])
    return logs


def _column(blocks: list[dict], rule: str, metric: str, key: str) -> np.ndarray:
    return np.array([block[rule][metric][key] for block in blocks], dtype=np.float64)  # None -> NaN


def _title(figure, about: About, what: str) -> None:
    words = about.line().split("; ")
    figure.suptitle("\n".join([f"{about.run}: {what}", *words]), fontsize=9)


__all__ = ["FIGURE_FILES", "learning_curve", "per_au", "precision_recall_curves", "read_logs", "write_figures"]
