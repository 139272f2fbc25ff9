"""The AU relation graph: who listens to whom, how much, and whether the two go together or exclude each other."""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from .drawing import (
    AGAINST,
    INK,
    PAPER,
    SOFT,
    TOGETHER,
    au_info,
    au_number,
    new_figure,
    on_shade,
    set_title,
    shade,
    title_height,
    wrapped,
)

STYLES = {  # kind -> colour, dashes
    "co-occurring": (TOGETHER, "solid"),
    "opposing": (AGAINST, (0, (4, 2))),
    "both": (SOFT, (0, (5, 1.5, 1, 1.5))),
}
MEANING = {"co-occurring": "go together", "opposing": "exclude each other", "both": "either, learning decides"}
NUMBERED = 6  # the strongest edges have their strength written on them
FAINTEST = 0.02  # weaker edges are hairlines


def relation_graph(
    labels: Sequence[str],
    relations: Sequence[tuple[str, str, str]],
    strengths: np.ndarray | None = None,
    *,
    probabilities: Mapping[str, float] | None = None,
    thresholds: Mapping[str, float] | None = None,
    title: str = "",
    width: float = 5.5,
):
    """labels: the AUs, as nodes on a circle. relations: (au, au, "co-occurring" or "opposing"), the prior's edges.

    strengths (n, n): row the AU that listens, column the one it hears; an arrow points at the listener and is as wide
    as its strength. Without strengths the prior alone is drawn. Nodes are filled by probability, active ones ringed.
    """
    if not relations:
        raise ValueError("A relation graph needs at least one relation; this model has none between its AUs.")
    figure = new_figure(width, 0.93 * width + 0.5 + title_height(title, width))
    axes = figure.subplots()
    turn = 2 * math.pi / len(labels)
    place = {au: np.array([math.sin(i * turn), math.cos(i * turn)]) for i, au in enumerate(labels)}
    radius = max(min(0.17, 0.42 * math.sin(math.pi / max(len(labels), 4))), 0.19 * 3.24 / width)  # at least 0.19 inch
    index = {au: i for i, au in enumerate(labels)}
    kinds: dict[tuple[str, str], set[str]] = {}
    for first, second, kind in relations:
        kinds.setdefault(tuple(sorted((first, second), key=index.get)), set()).add(kind)

    arrows = []  # (strength, speaker, listener, kinds)
    for (first, second), which in kinds.items():
        for listener, speaker in ((first, second), (second, first)):
            strength = None if strengths is None else float(strengths[index[listener], index[speaker]])
            arrows.append((strength, speaker, listener, which))
    arrows.sort(key=lambda arrow: arrow[0] or 0.0)  # the strongest on top
    largest = max((arrow[0] or 0.0 for arrow in arrows), default=0.0) or 1.0
    for rank, (strength, speaker, listener, which) in enumerate(arrows):
        if strength is None and index[speaker] > index[listener]:
            continue  # the prior is symmetric: one line a pair
        _arrow(axes, place[speaker], place[listener], radius, strength, largest, which)
        if strength is not None and strength >= FAINTEST and rank >= len(arrows) - NUMBERED:
            _number(axes, place[speaker], place[listener], strength)
    for au in labels:
        _node(axes, au, place[au], radius, probabilities, thresholds)
    axes.set(xlim=(-1.62, 1.62), ylim=(-1.42, 1.42), aspect="equal")
    axes.axis("off")
    _legend(
        figure, {kind for which in kinds.values() for kind in ([*which] if len(which) == 1 else ["both"])}, strengths
    )
    set_title(figure, title)
    return figure


def _style(which: set[str]) -> tuple[str, object]:
    return STYLES[next(iter(which)) if len(which) == 1 else "both"]


def _arrow(axes, start, end, radius, strength, largest, which) -> None:
    from matplotlib.patches import FancyArrowPatch

    colour, dashes = _style(which)
    share = 0.4 if strength is None else strength / largest
    weak = strength is not None and strength < FAINTEST
    way = (end - start) / np.linalg.norm(end - start)
    head = f"-|>,head_length={3.5 + 4 * share},head_width={1.8 + 2.2 * share}"
    axes.add_patch(
        FancyArrowPatch(
            start + way * radius,
            end - way * (radius + 0.02),
            connectionstyle="arc3,rad=0.13" if strength is not None else "arc3,rad=0",
            arrowstyle="-" if strength is None else head,
            linestyle=dashes,
            linewidth=0.4 if weak else 0.6 + 3.4 * share,
            color=colour,
            alpha=0.3 if weak else 0.4 + 0.6 * share,
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )


def _number(axes, start, end, strength) -> None:
    """Its strength beside the arrow's middle, on the side to which it bends."""
    way = end - start
    middle = (start + end) / 2 + 0.065 * np.array([way[1], -way[0]])
    axes.text(*middle, f"{strength:.2f}", fontsize=8, color=INK, ha="center", va="center", zorder=6,
              bbox={"boxstyle": "round,pad=0.12", "facecolor": PAPER, "edgecolor": "none", "alpha": 0.85})  # fmt: skip


def _node(axes, au, place, radius, probabilities, thresholds) -> None:
    from matplotlib.patches import Circle

    likely = None if probabilities is None else float(probabilities[au])
    active = likely is not None and thresholds is not None and likely >= float(thresholds[au])
    fill = 0.0 if likely is None else likely
    axes.add_patch(
        Circle(place, radius, facecolor=shade(fill), edgecolor=INK, linewidth=2.6 if active else 0.9, zorder=4)
    )
    axes.text(*place, au, ha="center", va="center", fontsize=8, color=on_shade(fill),
              fontweight="bold" if active else "normal", zorder=5)  # fmt: skip
    x, y = place * (1 + radius + 0.07)
    side = "center" if abs(x) < 0.25 else "left" if x > 0 else "right"
    height = "center" if abs(y) < 0.7 else "bottom" if y > 0 else "top"
    name = "\n".join(textwrap.wrap(au_info(au_number(au)).name, 12)) + ("" if likely is None else f"\n{likely:.2f}")
    axes.text(x, y, name, ha=side, va=height, fontsize=8, color=INK, fontweight="bold" if active else "normal")


def _legend(figure, kinds: set[str], strengths) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=STYLES[kind][0], linestyle=STYLES[kind][1], linewidth=2, label=MEANING[kind])
        for kind in STYLES
        if kind in kinds
    ]
    width = figure.get_figwidth()
    note = "" if strengths is None else "width: how much the AU at the arrow's head hears the other"
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles) if width > 5 else 1, frameon=False, fontsize=8,
        title=wrapped(note, width, 8), title_fontsize=8, handlelength=2.8, columnspacing=1.2,
    )  # fmt: skip


__all__ = ["relation_graph"]
