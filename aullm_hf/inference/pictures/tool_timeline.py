"""A recording as time, twice: the probabilities of a model's windows, and what another tool says of each frame."""

import numpy as np
import pandas as pd

from ..results import au_labels
from .drawing import EVIDENCE, INK, new_figure, set_title, title_height, wrapped
from .timeline import draw_au, merged, window_spans

SCALES = {"intensity": 5.0, "p": 1.0, "score": 1.0}  # kind of number -> its largest value


def tool_timeline(rows: pd.DataFrame, frames: pd.DataFrame, *, title: str = "", width: float = 6.5):
    """One panel for each AU that both have.

    Args:
        rows: of one source and one face, a row per window, as `AUDetector.rows` gives them.
        frames: another tool's frames of the same video and face, as `aullm_hf.data.read_tool_table` gives them.
    """
    kinds = {label: [kind for kind in (*SCALES, "active") if f"{kind}_{label}" in frames] for label in au_labels(rows)}
    kinds = {label: found for label, found in kinds.items() if found}
    if not kinds or not len(rows) or not len(frames):
        raise ValueError(
            f"{len(rows)} windows and {len(frames)} frames with {len(kinds)} AUs in common: nothing to draw"
        )
    rows, frames = rows.sort_values("start", kind="stable"), frames.sort_values("start", kind="stable")
    spans = window_spans(rows["start"].to_numpy(float), rows["end"].to_numpy(float))  # (windows, 2)
    missing = rows["reason"].fillna("").ne("").to_numpy()
    figure = new_figure(width, 0.72 * len(kinds) + 0.9 + title_height(title, width))
    panels = figure.subplots(len(kinds), 1, sharex=True, squeeze=False).ravel()
    for axes, (label, found) in zip(panels, kinds.items(), strict=True):
        draw_au(axes, rows, label, spans, missing)
        for kind in found:
            _draw_tool(axes, frames["start"].to_numpy(float), frames[f"{kind}_{label}"], kind)
    tool = frames["tool"].iloc[0]
    note = (
        f"seconds; blue: the model's probability, dashed: its threshold, shaded: active; orange: {tool}, numbers by "
        "their own largest value, a bar above where the AU occurs"
    )
    panels[-1].set_xlabel(wrapped(note, width, 8), fontsize=8, color=INK)
    set_title(figure, title)
    return figure


def _draw_tool(axes, times: np.ndarray, values: pd.Series, kind: str) -> None:
    if kind != "active":
        axes.plot(times, values.to_numpy(float) / SCALES[kind], color=EVIDENCE, linewidth=1.2, zorder=2)
        return
    half = float(np.median(np.diff(times))) / 2 if len(times) > 1 else 0.0
    occurs = values.fillna(False).to_numpy(bool)
    for start, end in merged(np.column_stack([times - half, times + half + 1e-9])[occurs]):
        axes.plot([start, end], [0.96, 0.96], color=EVIDENCE, linewidth=3.5, solid_capstyle="butt", clip_on=False)


__all__ = ["tool_timeline"]
