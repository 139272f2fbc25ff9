"""A drawn face with the muscles of the AUs on it, filled by how likely each AU is.

The face is a diagram: x runs across it from -1 to 1, y upwards, the eyes at 0.22 and the mouth at -0.55. Muscles lie
where anatomy has them and are drawn with their fibres; both sides are shown, whichever side moved.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .drawing import INK, PAPER, SOFT, muscle_of, new_figure, on_shade, set_title, shade, spelled_out, title_height

SKIN, LINE = "#FBF7F2", "#6B6B6B"


@dataclass(frozen=True)
class Band:
    """A spindle of fibres along a line of points; `middle`: it lies on the midline, and is not mirrored."""

    points: tuple[tuple[float, float], ...]
    widths: tuple[float, ...]  # full width at each point
    middle: bool = False


@dataclass(frozen=True)
class Ring:
    """Fibres around an opening: between two ellipses."""

    centre: tuple[float, float]
    inner: tuple[float, float]
    outer: tuple[float, float]
    middle: bool = False


_LIDS = Ring((0.40, 0.22), (0.175, 0.075), (0.245, 0.145))
_LIPS = Ring((0, -0.55), (0.30, 0.085), (0.40, 0.19), middle=True)
_UPPER_LID = Band(((0.24, 0.30), (0.40, 0.345), (0.56, 0.30)), (0.02, 0.06, 0.02))
_MASSETER = Band(((0.74, -0.10), (0.70, -0.42), (0.60, -0.74)), (0.14, 0.22, 0.12))

# Where each AU's muscle is drawn. AUs that move no muscle of the face's front (head, gaze, tongue) have no patch.
MUSCLES: dict[int, Band | Ring] = {
    1: Band(((0.13, 1.02), (0.15, 0.78), (0.16, 0.53)), (0.16, 0.21, 0.15)),
    2: Band(((0.44, 0.98), (0.50, 0.76), (0.53, 0.54)), (0.20, 0.28, 0.22)),
    4: Band(((0.05, 0.36), (0.22, 0.47), (0.44, 0.53)), (0.07, 0.11, 0.04)),
    5: _UPPER_LID,
    6: Ring((0.40, 0.20), (0.255, 0.155), (0.35, 0.27)),
    7: _LIDS,
    8: _LIPS,
    9: Band(((0.10, 0.24), (0.13, 0.02), (0.17, -0.24)), (0.05, 0.08, 0.06)),
    10: Band(((0.36, -0.04), (0.28, -0.22), (0.20, -0.40)), (0.14, 0.11, 0.06)),
    11: Band(((0.55, -0.06), (0.42, -0.24), (0.27, -0.43)), (0.05, 0.08, 0.04)),
    12: Band(((0.72, -0.10), (0.54, -0.32), (0.37, -0.51)), (0.08, 0.12, 0.06)),
    13: Band(((0.38, -0.16), (0.37, -0.33), (0.36, -0.50)), (0.08, 0.09, 0.04)),
    14: Band(((0.72, -0.47), (0.56, -0.545), (0.40, -0.56)), (0.16, 0.12, 0.05)),
    15: Band(((0.37, -0.60), (0.41, -0.78), (0.42, -0.97)), (0.05, 0.13, 0.20)),
    16: Band(((0.16, -0.69), (0.20, -0.83), (0.25, -0.96)), (0.10, 0.13, 0.12)),
    17: Band(((0.05, -0.78), (0.075, -0.92), (0.09, -1.04)), (0.06, 0.11, 0.10)),
    18: _LIPS,
    20: Band(((0.72, -0.64), (0.56, -0.64), (0.40, -0.59)), (0.10, 0.10, 0.04)),
    21: Band(((0.36, -1.16), (0.40, -1.30), (0.46, -1.42)), (0.34, 0.36, 0.38)),
    22: _LIPS,
    23: _LIPS,
    24: _LIPS,
    25: _LIPS,
    26: _MASSETER,
    27: _MASSETER,
    28: _LIPS,
    29: _MASSETER,
    30: _MASSETER,
    31: _MASSETER,
    38: Band(((0.20, -0.14), (0.19, -0.21), (0.16, -0.27)), (0.05, 0.07, 0.04)),
    39: Band(((0.03, -0.02), (0.11, -0.08), (0.18, -0.17)), (0.07, 0.07, 0.04)),
    41: _UPPER_LID,
    42: _LIDS,
    43: _UPPER_LID,
    44: _LIDS,
    45: _LIDS,
    46: _LIDS,
}


def face_map(
    probabilities: Mapping[str, float], thresholds: Mapping[str, float], *, title: str = "", width: float = 5.0
):
    """The AUs' muscles on a face, darker the likelier; active AUs have a heavy outline and a filled tag.

    Below stands what each is called, muscles included, and which AUs no muscle of the drawing shows.
    """
    labels = list(probabilities)
    likely = {au: float(probabilities[au]) for au in labels}
    active = {au: likely[au] >= float(thresholds[au]) for au in labels}
    drawn = sorted((au for au in labels if _number(au) in MUSCLES), key=lambda au: (active[au], likely[au]))
    lines = [au for au in labels if active[au]] + [au for au in labels if not active[au]]
    listing = 0.19 * len(lines) + 0.3
    side = max(1.5, 1.13 / (1 - 1.3 / width))  # from the middle to a margin: tags take 0.65 inch at any width
    drawing = 2.73 * width / (2 * side)  # inches: the face is 2.73 high
    figure = new_figure(width, drawing + listing + title_height(title, width))
    axes, words = figure.subplots(2, 1, height_ratios=[drawing, listing])
    _face(axes)
    for au in drawn:
        _muscle(axes, MUSCLES[_number(au)], likely[au], active[au])
    _features(axes)
    _tags(axes, drawn, likely, active)
    axes.set(xlim=(-side, side), ylim=(-1.4, 1.33), aspect="equal")
    axes.axis("off")
    _words(words, lines, likely, active)
    set_title(figure, title)
    return figure


def _number(label: str) -> int:
    return int(label.removeprefix("AU"))


# ------------------------------------------------------------------- shapes


def smooth(points, closed: bool = False, steps: int = 12) -> np.ndarray:
    """A Catmull-Rom curve through the points, (n, 2)."""
    points = np.asarray(points, dtype=float)
    if closed:
        ring = np.concatenate([points[-1:], points, points[:2]])
    else:
        ring = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(ring[:-3], ring[1:-2], ring[2:-1], ring[3:], strict=True):
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    if not closed:
        pieces.append(points[-1:])
    return np.concatenate(pieces)


def band_shape(band: Band) -> tuple[np.ndarray, list[np.ndarray]]:
    """Outline and fibres of a band."""
    line = smooth(band.points)
    width = smooth([(0, width) for width in band.widths])[:, 1]
    along = np.gradient(line, axis=0)
    across = np.column_stack([-along[:, 1], along[:, 0]]) / np.linalg.norm(along, axis=1, keepdims=True)

    def offset(share: float) -> np.ndarray:
        return line + across * (share * width)[:, None]

    outline = np.concatenate([offset(0.5), offset(-0.5)[::-1]])
    return outline, [offset(share)[1:-1] for share in (-0.3, -0.1, 0.1, 0.3)]


def ring_shape(ring: Ring) -> tuple[np.ndarray, list[np.ndarray]]:
    """Outline (the outer and, the other way round, the inner ellipse) and fibres of a ring."""
    angle = np.linspace(0, 2 * np.pi, 73)

    def ellipse(share: float) -> np.ndarray:
        radii = np.array(ring.inner) + (np.array(ring.outer) - np.array(ring.inner)) * share
        return np.array(ring.centre) + np.column_stack([np.cos(angle), np.sin(angle)]) * radii

    return np.stack([ellipse(1), ellipse(0)[::-1]]), [ellipse(share) for share in (0.25, 0.5, 0.75)]


def _sides(muscle: Band | Ring) -> tuple[int, ...]:
    return (1,) if muscle.middle else (1, -1)


def _muscle(axes, muscle: Band | Ring, probability: float, active: bool) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    outline, fibres = band_shape(muscle) if isinstance(muscle, Band) else ring_shape(muscle)
    loops = outline[None] if outline.ndim == 2 else outline
    for side in _sides(muscle):
        flip = np.array([side, 1.0])
        path = Path.make_compound_path(*(Path(loop * flip, closed=True) for loop in loops))
        axes.add_patch(
            PathPatch(
                path,
                facecolor=shade(0.12 + 0.88 * probability),
                edgecolor=INK if active else SOFT,
                linewidth=1.8 if active else 0.6,
                alpha=0.92 if active else 0.75,
                zorder=4 if active else 3,
            )
        )
        for fibre in fibres:
            axes.plot(*(fibre * flip).T, color=PAPER if probability > 0.4 else SOFT, linewidth=0.5, alpha=0.8,
                      zorder=4.5 if active else 3.5)  # fmt: skip


# --------------------------------------------------------------------- face

_OUTLINE = ((0, 1.28), (0.42, 1.20), (0.74, 0.92), (0.88, 0.48), (0.90, 0.10), (0.86, -0.28), (0.74, -0.68),
            (0.52, -0.98), (0.26, -1.16), (0, -1.20))  # fmt: skip


def _face(axes) -> None:
    """Neck, ears and the outline of the head."""
    right = np.array(_OUTLINE)
    head = smooth(np.concatenate([right, right[-2:0:-1] * [-1, 1]]), closed=True)
    for side in (1, -1):
        neck = smooth([(0.50, -0.95), (0.50, -1.25), (0.62, -1.50)]) * [side, 1]
        axes.plot(*neck.T, color=LINE, linewidth=1.2, zorder=1)
        ear = smooth([(0.87, 0.25), (1.0, 0.32), (1.02, 0.08), (0.95, -0.16), (0.86, -0.2)]) * [side, 1]
        axes.fill(*ear.T, facecolor=SKIN, edgecolor=LINE, linewidth=1.2, zorder=1)
    axes.fill(*head.T, facecolor=SKIN, edgecolor=LINE, linewidth=1.4, zorder=2)


def _features(axes) -> None:
    """Brows, eyes, nose and mouth, over the muscles so that they stay readable."""
    over = {"color": INK, "solid_capstyle": "round", "zorder": 6}
    for side in (1, -1):
        flip = np.array([side, 1.0])
        brow = smooth([(0.17, 0.42), (0.38, 0.50), (0.62, 0.41)]) * flip
        axes.plot(*brow.T, linewidth=3.2, **over)
        eye = smooth([(0.23, 0.20), (0.40, 0.285), (0.57, 0.215), (0.40, 0.16)], closed=True) * flip
        axes.fill(*eye.T, facecolor=PAPER, edgecolor=INK, linewidth=1.3, zorder=6)
        angle = np.linspace(0, 2 * np.pi, 40)
        for size, colour in ((0.062, SOFT), (0.028, INK)):
            axes.fill(0.40 * side + size * np.cos(angle), 0.222 + size * np.sin(angle), color=colour, zorder=7)
        wing = smooth([(0.09, -0.20), (0.16, -0.20), (0.17, -0.28), (0.10, -0.30), (0.04, -0.29)]) * flip
        axes.plot(*wing.T, linewidth=1.1, **over)
    axes.plot(*smooth([(0.07, 0.24), (0.06, 0.0), (0.10, -0.18)]).T, color=LINE, linewidth=1, zorder=6)
    upper = smooth([(-0.31, -0.55), (-0.10, -0.485), (0, -0.50), (0.10, -0.485), (0.31, -0.55)])
    lower = smooth([(-0.31, -0.55), (-0.12, -0.635), (0.12, -0.635), (0.31, -0.55)])
    axes.fill(*np.concatenate([upper, lower[::-1]]).T, facecolor="#EAD9D3", edgecolor=INK, linewidth=1, zorder=6)
    axes.plot(
        *smooth([(-0.31, -0.55), (-0.1, -0.555), (0, -0.56), (0.1, -0.555), (0.31, -0.55)]).T, linewidth=1, **over
    )


def _anchor(muscle: Band | Ring, side: int) -> np.ndarray:
    """Where a tag's line ends: on the muscle, towards the tag."""
    if isinstance(muscle, Band):
        return smooth(muscle.points)[len(smooth(muscle.points)) // 2] * [side, 1]
    x, y = muscle.centre
    reach = (muscle.inner[0] + muscle.outer[0]) / 2
    return np.array([side * (abs(x) + reach * 0.94), y - 0.34 * (muscle.inner[1] + muscle.outer[1]) / 2])


def _tags(axes, drawn, likely, active) -> None:
    """The AUs' numbers at both margins, top to bottom as their muscles lie, each with a line to its muscle."""
    ordered = sorted(drawn, key=lambda au: -_anchor(MUSCLES[_number(au)], 1)[1])
    for side, column in ((1, ordered[::2]), (-1, ordered[1::2])):
        wanted = [_anchor(MUSCLES[_number(au)], side)[1] for au in column]
        for au, y in zip(column, spread(wanted, gap=0.2), strict=True):
            anchor = _anchor(MUSCLES[_number(au)], side)
            axes.plot([anchor[0], side * 1.12], [anchor[1], y], color=INK, linewidth=0.8, zorder=8)
            axes.plot(*anchor, marker="o", markersize=2.8, color=INK, zorder=8)
            fill = shade(likely[au]) if active[au] else PAPER
            axes.text(
                side * 1.13, y, f"{au}  {likely[au]:.2f}", ha="left" if side > 0 else "right", va="center", fontsize=8,
                fontweight="bold" if active[au] else "normal", zorder=9,
                color=on_shade(likely[au]) if active[au] else INK,
                bbox={"boxstyle": "round,pad=0.22", "facecolor": fill, "edgecolor": INK if active[au] else SOFT,
                      "linewidth": 1.4 if active[au] else 0.6},
            )  # fmt: skip


def spread(heights: list[float], gap: float) -> list[float]:
    """The heights, falling, moved as little as it takes to stay `gap` apart."""
    blocks: list[list[float]] = []  # (sum of where its first member would like to be, members)
    for at, height in enumerate(heights):
        blocks.append([height + at * gap, 1.0])
        while len(blocks) > 1 and blocks[-1][0] / blocks[-1][1] > blocks[-2][0] / blocks[-2][1]:
            total, members = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += members
    level = [total / members for total, members in blocks for _ in range(int(members))]
    return [value - at * gap for at, value in enumerate(level)]


def _words(axes, lines, likely, active) -> None:
    axes.set(xlim=(0, 1), ylim=(len(lines) + 0.6, -0.4))
    axes.axis("off")
    width = axes.figure.get_figwidth()
    for row, au in enumerate(lines):
        name = spelled_out(au) + ("" if _number(au) in MUSCLES else " (not drawn)")
        axes.text(0, row, name, fontsize=8, color=INK, va="center", fontweight="bold" if active[au] else "normal")
        axes.text(2.05 / width, row, muscle_of(au, width - 2.2), fontsize=8, color=SOFT, va="center", style="italic")
    axes.text(0, len(lines) + 0.1, "darker: likelier; heavy outline and bold: active", fontsize=8, color=INK,
              va="center")  # fmt: skip


__all__ = ["MUSCLES", "face_map"]
