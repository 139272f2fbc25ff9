"""A face picture that moves: fields of muscles pull the skin, lids slide over the eyes, and lips part over a mouth.

Motion is asked for as levels: how far an AU's strongest point has moved, in face units, on each half of the face. The
skin follows smooth fields (`motion.py`). Lids and lips are edges instead: what lies behind them does not move along.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .faces import MIDDLE, Person
from .motion import FIELDS, PLANE, Bump, _landmarks

# What moves the skin. Lids and lips that part are edges: AU5, 25, 43 and 45 have no field of their own.
SKIN: dict[int, tuple[Bump, ...]] = {au: bumps for au, bumps in FIELDS.items() if au not in (5, 25, 43, 45)}
SKIN |= {7: FIELDS[7][:1], 26: FIELDS[26][:1]}
LID_OPENING = 1.8  # of the eye, in eye heights
UPPER_LIP = 0.35  # of what the lower lip goes down by as lips part, the upper one goes up


class Edges(NamedTuple):
    """How far lids and lips are from rest, in face units, on the left and the right half, (T, 2) each."""

    upper_lid: np.ndarray  # down
    lower_lid: np.ndarray  # up
    upper_lip: np.ndarray  # up
    lower_lip: np.ndarray  # down


class Places(NamedTuple):
    """Where the pixels of T frames look, (T, H, W) each."""

    x: np.ndarray  # on the resting skin
    y: np.ndarray
    unmoved_x: np.ndarray  # where eyeballs and teeth are
    unmoved_y: np.ndarray
    eye: np.ndarray  # 0..1: how far the eyeball shows
    mouth: np.ndarray  # and the inside of the mouth


def edges_of(levels: Mapping[int, np.ndarray], person: Person, frames: int) -> Edges:
    """What the levels (T, 2) of the AUs do to lids and lips."""
    none = np.zeros((frames, 2), np.float32)

    def level(au: int) -> np.ndarray:
        return levels.get(au, none)

    gap = LID_OPENING * person.eye_height
    lower = np.clip(level(7) + 0.3 * level(6), 0, 0.45 * gap)
    upper = level(45) + level(43) + 0.3 * level(7) - level(5)
    upper = np.clip(upper, -0.6 * gap, gap - lower)
    return Edges(upper, lower, UPPER_LIP * level(25), level(25))


def skin_fields(bumps: tuple[Bump, ...], person: Person, step: int = 1) -> np.ndarray:
    """(2, 2, n, n): displacements (x, y) on every `step`-th point of PLANE as the left and as the right half pulls.

    The strongest point of both together moves by one face unit.
    """
    points = np.arange(*PLANE, step, dtype=np.float32)
    places, fields = _landmarks(person), np.zeros((2, 2, len(points), len(points)), np.float32)
    for bump in bumps:
        out, level = places[bump.place]
        vertical = np.exp(-0.5 * ((points - np.float32(level + bump.down)) / np.float32(bump.high)) ** 2)
        for half, sign in enumerate((1, -1)):
            # The halves share the middle line: a side's own pull fades there, and the two add up to a whole one.
            own = 0.5 + 0.5 * np.tanh(sign * (points - MIDDLE) / 2.0)
            across = np.exp(
                -0.5 * ((points - np.float32(MIDDLE + sign * (out + bump.out))) / np.float32(bump.wide)) ** 2
            )
            shape = np.multiply.outer(vertical, across * own).astype(np.float32)
            fields[half, 0] += np.float32(sign * bump.pull_out) * shape
            fields[half, 1] += np.float32(bump.pull_down) * shape
    return fields / np.hypot(*fields.sum(axis=0)).max()


def widened(bumps: tuple[Bump, ...], level: float) -> tuple[Bump, ...]:
    """The bumps, as wide as a level needs: skin that is pulled further than it reaches would fold over."""
    strongest = max(np.hypot(bump.pull_out, bump.pull_down) for bump in bumps)
    changed = []
    for bump in bumps:
        least = 0.9 * abs(level) * np.hypot(bump.pull_out, bump.pull_down) / strongest
        changed.append(bump._replace(wide=max(bump.wide, least), high=max(bump.high, least)))
    return tuple(changed)


def skin_motion(levels: Mapping[int, np.ndarray], fields: Mapping[int, np.ndarray], frames: int) -> np.ndarray:
    """(2, T, n, n) displacements x and y of the skin: every AU's field (2, 2, n, n) times its level (T, 2)."""
    size = next(iter(fields.values())).shape[-1] if fields else 1
    total = np.zeros((2, frames, size, size), np.float32)
    for au, field in fields.items():
        for half in (0, 1):
            course = np.asarray(levels[au][:, half], np.float32)
            for frame in np.flatnonzero(course):
                total[:, frame] += course[frame] * field[half]
    return total


def places_of(
    person: Person, at_x: np.ndarray, at_y: np.ndarray, motion: np.ndarray, edges: Edges, *, rounds: int = 3
) -> Places:
    """Where pixels at face coordinates (T, H, W) look. `motion` (2, T, n, n) is forward: its inverse is iterated."""
    x, y = at_x, at_y
    if motion.shape[-1] > 1:
        for _ in range(rounds):
            x, y = at_x - on_plane(motion[0], x, y), at_y - on_plane(motion[1], x, y)
    skin_y, eye = _past_lids(person, x, y, edges)
    skin_y, mouth = _past_lips(person, x, skin_y, edges)
    return Places(x, skin_y, at_x, at_y, eye, mouth)


def resting_lids(person: Person, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far lids can move at x, from 1 in the middle of an eye to 0 beside it, and where their edges rest."""
    dome = np.maximum(1 - ((np.abs(x - np.float32(MIDDLE)) - np.float32(person.eye_x)) / person.eye_width) ** 2, 0)
    height, middle = np.float32(person.eye_height), np.float32(person.eye_y + 0.6)
    return dome, middle - 1.05 * height * dome, middle + 0.75 * height * dome


def _past_lids(person: Person, x: np.ndarray, y: np.ndarray, edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    """Heights on the resting skin, and how far the eyeball shows; lid skin is stretched from above and below."""
    dome, top, bottom = resting_lids(person, x)
    upper, lower = _by_side(edges.upper_lid, x) * dome, _by_side(edges.lower_lid, x) * dome
    top, bottom = top + upper, bottom - lower
    above = y < (top + bottom) / 2
    reach_up, reach_low = (np.maximum(6, 2.4 * np.abs(edge).max(axis=1)) for edge in edges[:2])
    from_up = upper * _fading(top - y, reach_up)
    from_low = lower * _fading(y - bottom, reach_low)
    shows = np.clip(y - top, 0, 1) * np.clip(bottom - y, 0, 1)
    return y + np.where(above, -from_up, from_low), shows


def _past_lips(person: Person, x: np.ndarray, y: np.ndarray, edges: Edges) -> tuple[np.ndarray, np.ndarray]:
    """The same for the lips, and how far the inside of the mouth shows."""
    width = np.abs(x - np.float32(MIDDLE)) / np.float32(person.mouth_width)
    dome = np.maximum(1 - width**2, 0)
    from_line = y - np.float32(person.mouth_y) - 0.8 * np.minimum(width, 1.3) ** 2
    up, low = _by_side(edges.upper_lip, x) * dome, _by_side(edges.lower_lip, x) * dome
    reach_up, reach_low = (np.maximum(8, 2.4 * edge.max(axis=1)) for edge in edges[2:])
    pulled = np.where(
        from_line < (low - up) / 2, up * _fading(-up - from_line, reach_up), -low * _fading(from_line - low, reach_low)
    )
    shows = np.clip(from_line + up, 0, 1) * np.clip(low - from_line, 0, 1)
    return y + pulled, shows


def _by_side(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(T, 2) values of the person's left and right, at x (T, H, W)."""
    left, right = (np.asarray(values[:, half, None, None], np.float32) for half in (0, 1))
    return np.where(x > MIDDLE, left, right)


def _fading(away: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """1 at an edge and before it, 0 at `reach` (T,) behind it."""
    part = np.clip(away / np.asarray(reach, np.float32)[:, None, None], 0, 1)
    return (1 - part) ** 2


def on_plane(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values known on evenly spaced points of PLANE, (n, n) or of each frame (T, n, n), at x and y (T, H, W)."""
    size = values.shape[-1]
    density = np.float32(size / (PLANE[1] - PLANE[0]))
    column, row = (np.clip((at - np.float32(PLANE[0])) * density, 0, size - np.float32(1.001)) for at in (x, y))
    j, i = column.astype(np.int32), row.astype(np.int32)
    column -= j
    row -= i
    at = i * np.int32(size) + j
    if values.ndim == 3:
        at += (np.arange(len(values), dtype=np.int32) * np.int32(size * size))[:, None, None]
    flat = values.ravel()
    top = flat.take(at)
    top += column * (flat.take(at + 1) - top)
    at += size
    low = flat.take(at)
    low += column * (flat.take(at + 1) - low)
    top += row * (low - top)
    return top
