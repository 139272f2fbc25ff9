"""How the face moves: a displacement field per Action Unit, at its place and in its direction, and its time course.

A field is a sum of bumps. Each bump pulls the skin around a landmark one way, and dies out like a Gaussian. The
strongest point of every AU's field moves by one face unit (one pixel of a 128 x 128 crop), so an amplitude is a number
of pixels. Where skin folds it also darkens.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .faces import MIDDLE, Person

AMPLITUDE = {"A": 0.5, "B": 0.8, "C": 1.1, "D": 1.4, "E": 1.8}  # peak motion in pixels at 128 x 128


class Bump(NamedTuple):
    place: str  # a landmark of `_landmarks`
    out: float  # the centre's shift from it, outwards and down, in face units
    down: float
    wide: float  # how far the pull reaches, horizontally and vertically
    high: float
    pull_out: float  # the pull: away from the face's middle, and down
    pull_down: float


# Every bump stands for both halves of the face; those on the middle line have no side.
FIELDS: dict[int, tuple[Bump, ...]] = {
    1: (Bump("brow inner", 0, -1, 6, 7, 0.1, -1.0), Bump("brow inner", -3, -11, 6, 6, 0, -0.45)),
    2: (Bump("brow outer", 0, -1, 6, 7, 0.1, -1.0), Bump("brow outer", 1, -10, 7, 6, 0, -0.4)),
    4: (
        Bump("brow inner", 1, 1, 8, 6, -0.55, 0.85),
        Bump("brow middle", 2, 0, 7, 5, -0.25, 0.5),
        Bump("nose root", 3, -2, 4, 6, -0.35, 0.2),
    ),
    5: (Bump("lid upper", 0, -0.5, 8, 2.4, 0, -1.0),),
    6: (
        Bump("cheek", 0, 0, 10, 7, -0.1, -1.0),
        Bump("eye outer", 5, 1, 5, 5, -0.75, 0.05),
        Bump("lid lower", 2, 4, 8, 3.5, 0, -0.5),
    ),
    7: (Bump("lid lower", -1, 0, 8, 2.6, -0.1, -1.0), Bump("lid upper", 0, 0, 8, 2.2, 0, 0.45)),
    9: (
        Bump("nose root", 5, 8, 5, 8, -0.15, -1.0),
        Bump("nose wing", 0, -2, 4.5, 4.5, 0.15, -0.8),
        Bump("nose root", 4, 0, 5, 4, -0.35, 0.45),
    ),
    10: (
        Bump("lip upper", 5, -1.5, 6.5, 4.5, 0, -1.0),
        Bump("nose wing", 4, 4, 4.5, 5.5, 0.1, -0.7),
    ),
    11: (Bump("nose wing", 5, 3, 4, 5, 0.4, -0.8),),
    12: (
        Bump("mouth corner", 0, 0, 6, 6, 0.75, -0.85),
        Bump("mouth corner", 8, -9, 7, 7, 0.35, -0.6),
    ),
    13: (Bump("mouth corner", 0, -1, 4.5, 6, 0.1, -1.0), Bump("cheek", -3, 6, 7, 6, 0, -0.6)),
    14: (
        Bump("mouth corner", 0, 0, 5, 6, -1.0, -0.1),
        Bump("mouth corner", 9, -1, 5, 8, -0.7, 0.0),
    ),
    15: (
        Bump("mouth corner", 0, 0.5, 5.5, 5.5, 0.1, 1.0),
        Bump("mouth corner", 1, 9, 5, 6, -0.05, 0.5),
    ),
    16: (Bump("lip lower", 4, 1, 7, 4, 0.1, 1.0), Bump("chin", 5, -9, 6, 4, 0, 0.4)),
    17: (Bump("chin", 0, -4, 10, 7, 0, -1.0), Bump("lip lower", 0, 1.5, 9, 3.6, 0, -0.75)),
    18: (Bump("mouth corner", -1, 0, 6, 5, -1.0, 0.0), Bump("lip lower", 0, 0, 7, 4, 0, -0.2)),
    20: (
        Bump("mouth corner", -1, 0, 7, 6, 1.0, 0.15),
        Bump("mouth corner", 10, 2, 8, 9, 0.8, 0.2),
        Bump("mouth corner", 3, 11, 8, 6, 0.5, 0.3),
    ),
    22: (Bump("lip upper", 0, 0, 9, 3.5, 0, -0.7), Bump("lip lower", 0, 0, 9, 3.5, 0, 1.0)),
    23: (Bump("lip upper", 0, 0.5, 9, 2.5, 0, 0.8), Bump("lip lower", 0, -0.5, 9, 2.5, 0, -0.8)),
    24: (Bump("lip upper", 0, -0.5, 10, 3.2, 0, 1.0), Bump("lip lower", 0, 0.5, 10, 3.2, 0, -1.0)),
    25: (Bump("lip lower", 0, 0.5, 11, 3.2, 0, 1.0), Bump("lip upper", 0, 0, 9, 2.6, 0, -0.45)),
    26: (Bump("chin", 0, -6, 17, 11, 0, 1.0), Bump("lip lower", 0, 1, 11, 4, 0, 0.6)),
    28: (Bump("lip lower", 0, 0, 10, 4, 0, -1.0), Bump("lip upper", 0, 0, 10, 3.5, 0, 0.7)),
    38: (Bump("nose wing", 0, 1, 3.5, 3.5, 1.0, 0.0),),
    43: (Bump("lid upper", 0, 2, 10, 3.0, 0, 1.0),),
    45: (Bump("lid upper", 0, 2, 10, 3.0, 0, 1.0),),
}


class Fold(NamedTuple):
    place: str
    out: float
    down: float
    wide: float
    high: float


# Where the skin folds, and so darkens, as the AU pulls.
FOLDS: dict[int, Fold] = {
    1: Fold("brow inner", -4, -12, 8, 3.5),
    2: Fold("brow outer", 0, -11, 8, 3.5),
    4: Fold("brow inner", -6, 1, 4, 5),
    5: Fold("lid upper", 0, -4, 8, 2),
    6: Fold("eye outer", 6, 3, 4, 4),
    7: Fold("lid lower", 0, 4, 8, 2.2),
    9: Fold("nose root", 5, 9, 3.5, 5),
    10: Fold("nose wing", 5, 3, 3.5, 5),
    12: Fold("mouth corner", 3, -10, 4, 6),
    14: Fold("mouth corner", 7, 0, 4.5, 6),
    15: Fold("mouth corner", 2, 8, 4.5, 4),
    17: Fold("chin", 0, -4, 10, 5),
    20: Fold("mouth corner", 11, 6, 4, 7),
}
FOLD_DEPTH = 0.045  # share of the light that a fold loses per pixel of motion

UNSIDED = frozenset({16, 17, 18, 22, 23, 24, 25, 26, 28, 38, 43, 45})  # move both halves, always
GAZE = (Bump("eye", 0, 0, 4.5, 3.2, 1.0, 0.0),)  # both eyes turn the same way: not an AU of the face, a nuisance


def _landmarks(person: Person) -> dict[str, tuple[float, float]]:
    """(distance from the middle, y) of the places that bumps hang on."""
    return {
        "brow inner": (person.eye_x - 11, person.brow_y),
        "brow middle": (person.eye_x - 1, person.brow_y - person.brow_arch),
        "brow outer": (person.eye_x + 10, person.brow_y),
        "eye": (person.eye_x, person.eye_y),
        "eye outer": (person.eye_x + person.eye_width, person.eye_y),
        "lid upper": (person.eye_x, person.eye_y - person.eye_height + 0.6),
        "lid lower": (person.eye_x, person.eye_y + person.eye_height * 0.75 + 0.6),
        "cheek": (person.eye_x + 5, person.eye_y + 17),
        "nose root": (0.0, person.eye_y - 4),
        "nose wing": (person.nose_width, person.nose_y - 2),
        "lip upper": (0.0, person.mouth_y - person.lip_upper * 0.6),
        "lip lower": (0.0, person.mouth_y + person.lip_lower * 0.6),
        "mouth corner": (person.mouth_width, person.mouth_y + 0.5),
        "chin": (0.0, person.chin_y - 9),
    }


def field(bumps: Sequence[Bump], person: Person, x: np.ndarray, y: np.ndarray, *, left=1.0, right=1.0) -> np.ndarray:
    """(2, H, W) displacement (x, y) at coordinates x, y; `left` and `right` are the person's own sides.

    The strongest point has length max(left, right), whatever the bumps.
    """
    places = _landmarks(person)
    total = np.zeros((2, *np.broadcast_shapes(x.shape, y.shape)), np.float32)
    for bump in bumps:
        out, level = places[bump.place]
        out, level = out + bump.out, level + bump.down
        vertical = np.exp(-0.5 * ((y - level) / bump.high) ** 2)  # apart from x, so that a plain grid is cheap
        for sign, gain in ((1, left), (-1, right)):
            # The halves share the middle line: a side's own pull fades there, and the two add up to a whole one.
            own = 0.5 + 0.5 * np.tanh(sign * (x - MIDDLE) / 2.0)
            if gain:
                shape = np.exp(-0.5 * ((x - MIDDLE - sign * out) / bump.wide) ** 2) * own * gain * vertical
                total[0] += (sign * bump.pull_out) * shape
                total[1] += bump.pull_down * shape
    return total / _peak(tuple(bumps), person)


@lru_cache(maxsize=2048)
def _peak(bumps: tuple[Bump, ...], person: Person) -> float:
    """The longest displacement of the unscaled bilateral field, sought on one half of the face."""
    places = _landmarks(person)
    x, y = np.arange(0, 64, 1.0, dtype=np.float32)[None, :], np.arange(0, 132, 1.0, dtype=np.float32)[:, None]
    total = np.zeros((2, len(y), x.shape[1]), np.float32)
    for bump in bumps:
        out, level = places[bump.place]
        shape = np.exp(-0.5 * (((x - out - bump.out) / bump.wide) ** 2 + ((y - level - bump.down) / bump.high) ** 2))
        total += np.array([bump.pull_out, bump.pull_down], np.float32)[:, None, None] * shape
    return float(np.hypot(*total).max())


def au_field(au: int, person: Person, x: np.ndarray, y: np.ndarray, side: str = "") -> np.ndarray:
    """(2, H, W) displacement of an AU whose strongest point moves by one face unit. `side`: "" (both), "L" or "R"."""
    if au not in FIELDS:
        raise ValueError(f"AU{au} has no synthetic motion; there is one for {', '.join(map(str, FIELDS))}")
    if side not in ("", "L", "R"):
        raise ValueError(f"side {side!r} of AU{au} is not known; allowed are '' (both), 'L' and 'R'")
    return field(FIELDS[au], person, x, y, left=float(side != "R"), right=float(side != "L"))


def fold(au: int, person: Person, x: np.ndarray, y: np.ndarray, side: str = "") -> np.ndarray | None:
    """(H, W) of 0..1: where the AU's fold lies; None for an AU without one."""
    if au not in FOLDS:
        return None
    mark = FOLDS[au]
    out, level = _landmarks(person)[mark.place]
    out, level = out + mark.out, level + mark.down
    total = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    for sign, skipped in ((1, "R"), (-1, "L")):
        if side != skipped:
            own = 0.5 + 0.5 * np.tanh(sign * (x - MIDDLE) / 2.0)
            across = np.exp(-0.5 * ((x - MIDDLE - sign * out) / mark.wide) ** 2) * own
            total += across * np.exp(-0.5 * ((y - level) / mark.high) ** 2)
    return total


POSTURES = (1, 2, 4, 5, 7, 10, 12, 14, 15, 17, 20, 25)  # the directions in which faces rest differently
PLANE = (-16, 144)  # the part of the face plane, in both axes, where faces rest differently


@lru_cache(maxsize=8)
def resting(person: Person) -> tuple[np.ndarray, np.ndarray]:
    """A person's displacements (postures * 2 sides, 2, 160, 160) and folds (folds, 160, 160) on PLANE's points."""
    points = np.arange(*PLANE, dtype=np.float32)
    x, y = points[None, :], points[:, None]
    sides = ((1.0, 0.0), (0.0, 1.0))
    fields = [field(FIELDS[au], person, x, y, left=left, right=right) for au in POSTURES for left, right in sides]
    return np.stack(fields), np.stack([fold(au, person, x, y) for au in FOLDS])


def time_course(frames: int, apex: int, *, hold: float, rest: float, rise: float = 1.0) -> np.ndarray:
    """(frames,) of 0..1: zero at the first frame, one at `apex`, `rest` at the last.

    `hold` is the share of the clip spent at the top around the apex; `rise` bends the slopes (1 is a half cosine).
    """
    t = np.arange(frames, dtype=np.float64)
    half = hold * (frames - 1) / 2
    start, stop = max(apex - half, min(apex, 1)), min(apex + half, frames - 1)
    up = np.clip(t / max(start, 1e-9), 0, 1) if start > 0 else np.ones(frames)
    down = np.clip((frames - 1 - t) / max(frames - 1 - stop, 1e-9), 0, 1) if stop < frames - 1 else np.ones(frames)
    smooth = (0.5 - 0.5 * np.cos(np.pi * up)) ** rise
    fall = rest + (1 - rest) * (0.5 - 0.5 * np.cos(np.pi * down)) ** rise
    course = np.minimum(smooth, fall)
    if frames > 1:
        course[0] = 0.0
    return course.astype(np.float32)
