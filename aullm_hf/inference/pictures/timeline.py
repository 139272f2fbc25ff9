"""A long video as time: how likely each AU is in every window, and where it is active."""

import numpy as np
import pandas as pd

from ..results import au_labels
from .drawing import (
    ACTIVE,
    FAINT,
    INK,
    QUIET,
    SOFT,
    THRESHOLD,
    new_figure,
    plain_axes,
    set_title,
    spelled_out,
    title_height,
    wrapped,
)


def timeline(table: pd.DataFrame, *, title: str = "", width: float = 6.5):
    """Rows of one source and one face, one row per window, as `AUDetector.rows` gives them.

    Each window stands for the time around its middle, as far as the next window's share. Active spans are shaded and
    underlined; where a window has a reason instead of probabilities (no face, say), the band is hatched.
    """
    if table["start"].isna().any() or table["end"].isna().any() or not len(table):
        raise ValueError(
            f"A timeline needs the start and end of each of its {len(table)} windows in seconds; "
            f"{int(table['start'].isna().sum())} have none. Give frames with their rate (fps)."
        )
    table = table.sort_values("start", kind="stable").reset_index(drop=True)
    labels = au_labels(table)
    spans = window_spans(table["start"].to_numpy(float), table["end"].to_numpy(float))  # (windows, 2)
    missing = table["reason"].fillna("").ne("").to_numpy()
    figure = new_figure(width, 0.72 * len(labels) + 0.7 + title_height(title, width))
    panels = figure.subplots(len(labels), 1, sharex=True, squeeze=False).ravel()
    for axes, label in zip(panels, labels, strict=True):
        draw_au(axes, table, label, spans, missing)
    note = "seconds; dashed: threshold; shaded and underlined: active"
    note += "; hatched: nothing read" if missing.any() else ""
    panels[-1].set_xlabel(wrapped(note, width, 8), fontsize=8, color=INK)
    set_title(figure, title)
    return figure


def draw_au(axes, table: pd.DataFrame, label: str, spans: np.ndarray, missing: np.ndarray) -> None:
    """One AU of sorted rows: its probability and threshold, where it is active, and where nothing was read."""
    probability = table[f"p_{label}"].to_numpy(float)
    active = table[f"active_{label}"].fillna(False).to_numpy(bool)
    threshold = float(table[f"threshold_{label}"].iloc[0])
    for start, end in merged(spans[active]):
        axes.axvspan(start, end, color=QUIET, linewidth=0, zorder=0)
        axes.plot([start, end], [-0.09, -0.09], color=INK, linewidth=3.5, solid_capstyle="butt", clip_on=False)
    for start, end in merged(spans[missing]):
        axes.axvspan(start, end, facecolor="none", edgecolor=SOFT, hatch="////", linewidth=0, zorder=0)
    axes.axhline(threshold, color=THRESHOLD, linewidth=1, linestyle=(0, (4, 2)), zorder=2)
    x = np.column_stack([spans, spans[:, 1]]).ravel()  # left, right, and a break where the next is not adjacent
    apart = np.append(spans[1:, 0] - spans[:-1, 1] > 1e-9, False)
    y = np.column_stack([probability, probability, np.where(apart, np.nan, probability)]).ravel()
    axes.plot(x, y, color=ACTIVE, linewidth=1.4, zorder=3)
    axes.set(ylim=(0, 1), yticks=[0, 1], xlim=(spans[0, 0], spans[-1, 1]))
    times = len(merged(spans[active]))
    activity = f"active {times} time{'s' * (times != 1)}" if times else "not active"
    axes.set_title(spelled_out(label), loc="left", fontsize=8.5, color=INK, pad=2,
                   fontweight="bold" if times else "normal")  # fmt: skip
    axes.set_title(activity, loc="right", fontsize=8, color=SOFT, pad=2)
    plain_axes(axes)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def window_spans(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(windows, 2): the time each window speaks for. Windows that overlap or nearly touch meet halfway.

    A window ends with its last frame, so that neighbours without overlap leave a frame's time between them.
    """
    middle = (start + end) / 2
    between = (middle[:-1] + middle[1:]) / 2
    left, right = start.copy(), end.copy()
    overlap = start[1:] - end[:-1] < np.median(end - start) / 2
    left[1:] = np.where(overlap, between, left[1:])
    right[:-1] = np.where(overlap, between, right[:-1])
    return np.column_stack([left, right])


def merged(spans: np.ndarray) -> list[tuple[float, float]]:
    """Neighbouring spans as one."""
    joined: list[list[float]] = []
    for start, end in spans:
        if joined and start - joined[-1][1] <= 1e-9:
            joined[-1][1] = float(end)
        else:
            joined.append([float(start), float(end)])
    return [(start, end) for start, end in joined]


__all__ = ["draw_au", "merged", "timeline", "window_spans"]
