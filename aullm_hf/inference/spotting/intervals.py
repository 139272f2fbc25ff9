"""From what the network says at every moment to intervals: onset, apex and offset in seconds, with a score."""

from dataclasses import dataclass

import numpy as np
import torch

from .network import STRIDE, Spotter
from .signals import RATE

APART = 3  # steps of what the network says; of peaks nearer to each other the higher counts
SHARED = 0.3  # intersection over union from which two intervals are one expression


@dataclass(frozen=True)
class Interval:
    """One expression, in seconds."""

    onset: float
    apex: float
    offset: float
    score: float


def spot_in_signal(network: Spotter, motion: np.ndarray, first: int, threshold: float) -> list[Interval]:
    """The expressions in an even signal (n, CHANNELS) whose first step is `first`, in order."""
    skipped = first % STRIDE  # what is said of a moment does not depend on where the signal begins
    motion = motion[skipped:] - motion[skipped : skipped + 1]
    if len(motion) < 4 * STRIDE:
        return []
    with torch.inference_mode():
        said = network(torch.from_numpy(motion.astype(np.float32))[None])[0].double().numpy()  # (steps, 4)
    return decode(said, (first + skipped) / RATE, threshold)


def decode(said: np.ndarray, start: float, threshold: float) -> list[Interval]:
    """Peaks of what the network says (steps, 4) as intervals; of several on one expression the best is kept."""
    scores = 1 / (1 + np.exp(-said[:, 0]))
    padded = np.pad(scores, APART, constant_values=-1)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * APART + 1).max(axis=1)
    peaks = np.flatnonzero((scores >= threshold) & (scores == highest))
    chosen: list[Interval] = []
    for at in sorted(peaks, key=lambda at: (-scores[at], at)):
        time = start + at * STRIDE / RATE
        onset, offset = time - np.exp(said[at, 1]), time + np.exp(said[at, 2])
        apex = onset + (offset - onset) / (1 + np.exp(-said[at, 3]))
        if all(_shared((onset, offset), (other.onset, other.offset)) < SHARED for other in chosen):
            chosen.append(Interval(float(onset), float(apex), float(offset), float(scores[at])))
    return sorted(chosen, key=lambda interval: interval.onset)


def _shared(one: tuple[float, float], other: tuple[float, float]) -> float:
    both = max(min(one[1], other[1]) - max(one[0], other[0]), 0.0)
    return both / (one[1] - one[0] + other[1] - other[0] - both)


__all__ = ["Interval", "decode", "spot_in_signal"]
