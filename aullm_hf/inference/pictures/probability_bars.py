"""How likely each AU is, beside its threshold, with its name and muscle spelled out."""

from collections.abc import Mapping

from .drawing import (
    ACTIVE,
    FAINT,
    INK,
    QUIET,
    SOFT,
    THRESHOLD,
    muscle_of,
    new_figure,
    plain_axes,
    set_title,
    spelled_out,
    title_height,
)


def probability_bars(
    probabilities: Mapping[str, float], thresholds: Mapping[str, float], *, title: str = "", width: float = 6.0
):
    """One bar an AU, in the model's order; filled dark where it reaches its threshold (the upright mark)."""
    labels = list(probabilities)
    figure = new_figure(width, 0.62 * len(labels) + 0.55 + title_height(title, width))
    axes = figure.subplots()
    for row, label in enumerate(labels):
        probability, threshold = float(probabilities[label]), float(thresholds[label])
        active = probability >= threshold
        axes.barh(row, 1, height=0.24, color="#F4F4F4", edgecolor="none")
        axes.barh(
            row,
            probability,
            height=0.24,
            color=ACTIVE if active else QUIET,
            edgecolor=INK if active else SOFT,
            linewidth=0.8,
        )
        axes.plot([threshold, threshold], [row - 0.17, row + 0.17], color=THRESHOLD, linewidth=2.2, zorder=3)
        weight = "bold" if active else "normal"
        axes.text(0, row - 0.5, spelled_out(label), fontsize=9, color=INK, fontweight=weight, va="center")
        state = "active" if active else "not active"
        axes.text(
            1,
            row - 0.5,
            f"{probability:.2f}  {state}",
            fontsize=9,
            color=INK,
            fontweight=weight,
            va="center",
            ha="right",
        )
        axes.text(0, row - 0.28, muscle_of(label, width - 0.2), fontsize=8, color=SOFT, va="center", style="italic")
    axes.set(xlim=(0, 1), ylim=(len(labels) - 0.78, -0.7), yticks=[])
    axes.set_xlabel("probability; the upright mark is the AU's threshold", fontsize=8, color=INK)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    plain_axes(axes, hide=("top", "right", "left"))
    set_title(figure, title)
    return figure


__all__ = ["probability_bars"]
