"""Clips as film strips: the frames that a model gets, drawn for a person.

Each clip has two rows. Above, frames from onset to offset with the marks of the table; below, the change since the
onset (red brighter, blue darker), and in the first column, where there is no change yet, arrows that show how the skin
moves from onset to apex.
"""

import os
from collections.abc import Sequence

import numpy as np

from .facs import au_name

COLUMNS = 7  # frames of a clip that are drawn
MARKS = {"onset": "tab:green", "apex": "tab:red", "offset": "tab:blue"}


def plot_clips(
    dataset,
    path: str | os.PathLike,
    *,
    clips: int | Sequence[int | str] = 6,
    amplitude: float = 1.0,
    columns: int = COLUMNS,
) -> None:
    """Draw clips of a Dataset (or any list of its rows) into an image file.

    clips: how many, evenly chosen, or which: row numbers or clip ids. amplitude: multiplies what has changed since the
    onset. (For synthetic clips `synthetic_clips(amplitude=4)` moves the face itself, which looks better.)
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing a preview needs matplotlib; pip install aullm-hf[viz]") from error
    if columns < 3:
        raise ValueError(f"columns={columns} is too few; onset, apex and offset need 3")
    chosen = _chosen(dataset, clips)
    figure = Figure(figsize=(1.55 * columns, 3.7 * len(chosen)), dpi=110)
    FigureCanvasAgg(figure)
    for strip, row in zip(np.atleast_1d(figure.subfigures(len(chosen), 1)), chosen, strict=True):
        _draw_clip(strip, row, amplitude, columns)
    figure.savefig(path)


def strip_positions(onset: int, apex: int | None, offset: int, frames: int, columns: int) -> list[int]:
    """Positions (0 .. frames-1) to draw: onset and offset, the apex if there is one, and some between."""
    # A clip may lack frames, so positions are those in the array, not file numbers.
    span = max(offset - onset, 1)
    if apex is None or not onset < apex < offset:
        steps = np.linspace(0, 1, columns)
    else:
        top = (apex - onset) / span
        before = min(max(round(top * (columns - 1)), 1), columns - 2)
        steps = np.concatenate([np.linspace(0, top, before + 1), np.linspace(top, 1, columns - before)[1:]])
    return [round(step * (frames - 1)) for step in steps]


def estimate_flow(first: np.ndarray, second: np.ndarray, cells: int = 16) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the skin of `first` went in `second` (Lucas and Kanade): (cells,) places, (cells, cells) x and y."""
    a, b = (_smooth(frame.astype(np.float32), 2) for frame in (first, second))
    dy, dx = np.gradient((a + b) / 2)
    dt = b - a
    reach = max(len(a) // 12, 1)
    xx, yy, xy, xt, yt = (_smooth(product, reach) for product in (dx * dx, dy * dy, dx * dy, dx * dt, dy * dt))
    xx, yy = xx + 2.0, yy + 2.0  # where there is no texture nothing is said to move
    scale = xx * yy - xy * xy
    u, v = (xy * yt - yy * xt) / scale, (xy * xt - xx * yt) / scale
    places = np.linspace(0, len(a) - 1, cells + 2)[1:-1].round().astype(int)
    return places, u[np.ix_(places, places)], v[np.ix_(places, places)]


def _smooth(image: np.ndarray, reach: int) -> np.ndarray:
    """Three box averages of about `reach` pixels each, which is nearly a Gaussian."""
    for axis in (0, 1):
        for _ in range(3):
            margins = [(reach // 2 + 1, reach // 2) if a == axis else (0, 0) for a in (0, 1)]
            padded = np.pad(image, margins, mode="edge")
            sums = padded.cumsum(axis=axis)
            length = image.shape[axis]
            width = 2 * (reach // 2) + 1
            image = (sums.take(range(width, width + length), axis) - sums.take(range(length), axis)) / width
    return image


def _chosen(dataset, clips: int | Sequence[int | str]) -> list[dict]:
    total = len(dataset)
    if isinstance(clips, int):
        if clips < 1 or not total:
            raise ValueError(f"clips={clips} of a data set of {total}: there is nothing to draw")
        picks = np.linspace(0, total - 1, min(clips, total)).round().astype(int).tolist()
        return [dataset[index] for index in picks]
    plain = dataset.with_format(None) if hasattr(dataset, "with_format") else dataset
    ids = [row["clip_id"] for row in (plain.select_columns("clip_id") if hasattr(plain, "select_columns") else plain)]
    rows = []
    for clip in clips:
        index = ids.index(clip) if clip in ids else clip
        if not isinstance(index, int) or not -total <= index < total:
            raise ValueError(f"clip {clip!r} is not in the data set; its {total} clips are {', '.join(ids[:5])}, ...")
        rows.append(dataset[index])
    return rows


def _draw_clip(figure, row: dict, amplitude: float, columns: int) -> None:
    frames = np.asarray(row["frames"], dtype=np.float32)  # (T, H, W)
    onset, apex, offset = row["onset"], row["apex"], row["offset"]
    positions = strip_positions(onset, apex, offset, len(frames), columns)
    shown = frames[positions]
    if amplitude != 1:
        shown = np.clip(frames[0] + amplitude * (shown - frames[0]), 0, 255)
    change = shown - shown[0]
    limit = max(float(np.percentile(np.abs(change), 99.7)), 4.0)
    axes = figure.subplots(2, columns)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.845, bottom=0.01, wspace=0.03, hspace=0.03)
    figure.suptitle(_title(row), x=0.01, y=0.985, ha="left", va="top", fontsize=9)
    for column, position in enumerate(positions):
        number = onset + round(position / max(len(frames) - 1, 1) * (offset - onset))
        axes[0, column].imshow(shown[column], cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
        axes[1, column].imshow(change[column], cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="bicubic")
        mark = "onset" if column == 0 else "offset" if column == columns - 1 else ""
        if apex is not None and onset < apex < offset and number == apex:
            mark = "apex"
        axes[0, column].set_title(f"{mark} {number}".strip(), fontsize=8, color=MARKS.get(mark, "black"), pad=2)
        for axis in axes[:, column]:
            axis.set_xticks([])
            axis.set_yticks([])
            for spine in axis.spines.values():
                spine.set_color(MARKS.get(mark, "none"))
                spine.set_linewidth(2)
    top = int(np.abs(change).mean(axis=(1, 2)).argmax()) if apex is None else _nearest(positions, row, len(frames))
    places, right, down = estimate_flow(frames[0], frames[positions[top]])
    length = np.hypot(right, down)
    longest = max(float(length.max()), 0.02)
    right, down = (np.where(length > 0.2 * longest, part, np.nan) for part in (right, down))
    first = axes[1, 0]
    first.clear()
    first.imshow(shown[0], cmap="gray", vmin=-150, vmax=255)
    first.quiver(
        places, places, right, down, color="tab:red", angles="xy", scale_units="xy",
        scale=longest / (len(shown[0]) / 9), width=0.012, headwidth=4,
    )  # fmt: skip
    first.set_xticks([])
    first.set_yticks([])


def _nearest(positions: list[int], row: dict, frames: int) -> int:
    """Which of the drawn frames is closest to the apex."""
    wanted = (row["apex"] - row["onset"]) / max(row["offset"] - row["onset"], 1) * (frames - 1)
    return int(np.argmin([abs(position - wanted) for position in positions]))


def _title(row: dict) -> str:
    aus = row["aus"]
    names = "no AUs annotated" if aus is None else ", ".join(au_name(au) for au in aus) or "no AU active"
    length = row["offset"] - row["onset"] + 1
    seconds = f", {length / row['fps']:.2f} s at {row['fps']:g} frames per second" if row.get("fps") else ""
    return f"{names}\n{row['clip_id']}   [{row['au_text']}]   {row['emotion'] or ''}   {length} frames{seconds}"
