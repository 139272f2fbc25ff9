"""Training clips out of single frames: each a face crop that shows some of a run's AUs, with labels that are known.

From a crop's own pixels: nothing lies beyond its edges but what they repeat.
"""

from collections.abc import Sequence

import numpy as np

from .animation import AMONG, DENSITY, move_picture, person_of
from .faces import CROP
from .motion import PLANE, UNSIDED
from .wild_plans import THRESHOLD, WEAKEST, pulse, rise_of

STRONGEST = 3.5  # face units: 1.75 pixels of 64, as far as micro-expressions go
SHARE = 0.22  # of the clips that show an AU; a quarter of them on one side
SHIFT, NOISE = 0.5, 1.2  # of the head during a clip, in face units; of the camera, in grey levels


def animated_clips(
    onsets: np.ndarray, aus: Sequence[int], *, frames: int = 6, seed: Sequence[int] = (0,)
) -> tuple[np.ndarray, np.ndarray]:
    """Face crops at rest (n, S, S) uint8 -> clips (n, frames, S, S) uint8 and labels (n, n_AU) float32.

    aus: of the labels; those that no muscle of a drawing moves stay 0. seed: of the random stream; the n-th clip
    depends on it, on n and on its onset only.
    """
    clips = np.empty((len(onsets), frames, *onsets.shape[1:]), np.uint8)
    labels = np.zeros((len(onsets), len(aus)), np.float32)
    for index, onset in enumerate(onsets):
        rng = np.random.default_rng([*seed, index])
        levels = _levels(rng, aus, frames)
        labels[index] = [au in levels and rise_of(levels[au]) >= THRESHOLD for au in aus]
        clips[index] = _clip(rng, onset, levels, frames)
    return clips, labels


def _levels(rng: np.random.Generator, aus: Sequence[int], frames: int) -> dict[int, np.ndarray]:
    """AU -> (frames, 2) face units; all of them begin with the clip, as coded clips do, each at a pace of its own."""
    levels, time = {}, np.linspace(0, 1, frames)
    for au in aus:
        shown, apex, left = rng.random() < SHARE, rng.uniform(0.35, 0.75), rng.uniform(0, 0.4)
        size = np.exp(rng.uniform(np.log(WEAKEST), np.log(STRONGEST)))
        sides = np.exp(rng.normal(0, 0.1, 2))
        if rng.random() < 0.25 and au not in UNSIDED:
            sides[rng.integers(2)] = 0.0
        if shown and au in AMONG:
            levels[au] = np.outer(size * pulse(time, apex, 0, 1 - apex, left), sides / sides.max())
    return levels


def _clip(rng: np.random.Generator, onset: np.ndarray, levels: dict[int, np.ndarray], frames: int) -> np.ndarray:
    size = len(onset)
    picture = _on_plane_of(onset)
    drift = rng.normal(0, SHIFT, 2) * np.linspace(0, 1, frames)[:, None]
    drawn = move_picture(picture, person_of(picture), levels, frames, pixels=size, shift=drift, rounds=4)
    drawn *= 1 + 0.02 * rng.standard_normal() * np.linspace(0, 1, frames, dtype=np.float32)[:, None, None]
    drawn += np.float32(NOISE) * rng.standard_normal(drawn.shape, dtype=np.float32)
    return np.clip(drawn + 0.5, 0, 255).astype(np.uint8)


def _on_plane_of(crop: np.ndarray) -> np.ndarray:
    """A crop (S, S) as a picture on PLANE, by cubic interpolation (Catmull and Rom), its edges repeated."""
    size = len(crop)
    at = (np.arange((PLANE[1] - PLANE[0]) * DENSITY) / DENSITY + PLANE[0]) * size / CROP - 0.5
    base = np.floor(at).astype(int)
    f = (at - base).astype(np.float32)
    weights = ((-f + 2 * f**2 - f**3) / 2, (2 - 5 * f**2 + 3 * f**3) / 2,
               (f + 4 * f**2 - 3 * f**3) / 2, (f**3 - f**2) / 2)  # fmt: skip
    rows = [np.clip(base + k, 0, size - 1) for k in (-1, 0, 1, 2)]
    picture = sum(weight[:, None] * crop[row] for weight, row in zip(weights, rows, strict=True))
    return sum(weight * picture[:, column] for weight, column in zip(weights, rows, strict=True))


__all__ = ["animated_clips"]
