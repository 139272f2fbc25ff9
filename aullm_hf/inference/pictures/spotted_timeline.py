"""The expressions of a recording along time: micro and longer ones, and what could not be looked at."""

import math

import pandas as pd

from .drawing import ACTIVE, DEEP, FAINT, INK, PAPER, QUIET, SOFT, new_figure, plain_axes, set_title, wrapped

ROWS = 12  # of the picture, at most
SECONDS = 60.0  # of a row, unless the recording is longer than the rows


def spotted_timeline(table: pd.DataFrame, *, title: str = "", width: float = 6.5):
    """Rows of one recording as `spot_expressions` gives them; one lane per face.

    A bar is as high as its score; its apex is marked. Micro-expressions are dark, longer ones light with an outline;
    what could not be looked at is hatched, a cut a dashed line.
    """
    if not len(table) or table["end"].isna().all():
        raise ValueError("A timeline needs rows with a start and an end in seconds; this table has none.")
    table = table[table["end"].notna()]
    until = max(float(table["end"].max()), 1.0)
    rows = min(max(math.ceil(until / SECONDS), 1), ROWS)
    long = until / rows if rows == ROWS or rows == 1 else SECONDS
    faces = sorted(table["face_id"].dropna().unique().tolist()) or [0]
    figure = new_figure(width, 0.8 + rows * (0.35 + 0.3 * len(faces)))
    for number, axes in enumerate(figure.subplots(rows, 1, squeeze=False).ravel()):
        low, high = number * long, (number + 1) * long
        for row in table[(table["end"] >= low) & (table["start"] <= high)].to_dict("records"):
            lanes = [faces.index(row["face_id"])] if not pd.isna(row["face_id"]) else range(len(faces))
            for lane in lanes:
                _draw(axes, row, lane)
        axes.set(xlim=(low, high), ylim=(-0.1, len(faces)), yticks=[])
        if len(faces) > 1:
            axes.set_yticks([lane + 0.4 for lane in range(len(faces))], [f"face {face}" for face in faces])
        plain_axes(axes, hide=("top", "right", "left"))
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
    note = "seconds; dark: micro-expressions; light: longer ones; height: score; dot: apex"
    note += "; hatched or dashed: not looked at" if table["reason"].ne("").any() else ""
    axes.set_xlabel(wrapped(note, width, 8), fontsize=8, color=INK)
    set_title(figure, title)
    return figure


def _draw(axes, row: dict, lane: int) -> None:
    start, end = float(row["start"]), float(row["end"])
    if row["reason"]:
        if end > start:
            axes.fill_between(
                [start, end], lane, lane + 0.8, facecolor="none", edgecolor=SOFT, hatch="////", linewidth=0
            )
        else:
            axes.plot([start, start], [lane, lane + 0.8], color=SOFT, linewidth=1, linestyle=(0, (3, 2)))
        return
    micro = row["kind"] == "micro"
    top = lane + 0.8 * float(row["score"])
    colour = {"facecolor": DEEP if micro else QUIET, "edgecolor": DEEP if micro else ACTIVE}
    axes.fill_between([start, end], lane, top, linewidth=0.8, zorder=3, **colour)
    axes.plot([row["peak"]], [top], marker="o", markersize=3, color=INK, markerfacecolor=PAPER, zorder=4)


__all__ = ["spotted_timeline"]
