"""One face's motion over time: stretches in which it could be followed, on an even grid of 50 steps a second.

Motion is chained from anchor to anchor. A frame that fits neither the anchor nor the frame before it ends a stretch:
the picture was cut, or there is nothing to follow.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from .region_motion import CHANNELS, LONGEST, RegionMotion

RATE = 50.0  # steps per second, whatever the frame rate
MIN_FIT = 0.7  # correlation with the anchor below which a frame is not the same face seen a little later
FAR = 10.0  # pixels that the head moves before it gets a new anchor
SHORTEST = 0.2  # seconds; of less, nothing can be said


@dataclass
class Stretch:
    """Frames that follow one another without a break, and the motion in them."""

    first: int  # index of its first frame
    times: list[float] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)  # (CHANNELS,) each

    @property
    def last(self) -> int:
        return self.first + len(self.times) - 1

    @property
    def seconds(self) -> float:
        return self.times[-1] - self.times[0]

    def since(self, before: float) -> "Stretch":
        """Without the frames before a time."""
        skipped = bisect_left(self.times, before)
        return Stretch(self.first + skipped, self.times[skipped:], self.values[skipped:]) if skipped else self

    def even(self) -> tuple[int, np.ndarray]:
        """(k, (n, CHANNELS)): the motion at the times k / 50, (k + 1) / 50, .. seconds; averages over a step each."""
        times, values = np.array(self.times), np.array(self.values, np.float64)
        first, last = int(np.ceil(times[0] * RATE - 1e-6)), int(np.floor(times[-1] * RATE + 1e-6))
        steps = np.arange(first, last + 1) / RATE
        areas = np.concatenate(
            [[np.zeros(CHANNELS)], np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(times)[:, None], 0)]
        )
        low, high = np.clip(steps - 0.5 / RATE, times[0], times[-1]), np.clip(steps + 0.5 / RATE, times[0], times[-1])
        wide = high - low
        return first, (_integral(times, values, areas, high) - _integral(times, values, areas, low)) / wide[:, None]


def _integral(times: np.ndarray, values: np.ndarray, areas: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The integral of the line through the values, from the first time to each end."""
    at = np.clip(np.searchsorted(times, ends, side="right") - 1, 0, len(times) - 2)
    share = ((ends - times[at]) / (times[at + 1] - times[at]))[:, None]
    return areas[at] + (ends - times[at])[:, None] * (values[at] + (values[at + 1] - values[at]) * share / 2)


class FaceSignal:
    """The stretches of one face. `add` takes frame after frame and says whether one broke the stretch."""

    def __init__(self) -> None:
        self.motion = RegionMotion()
        self.stretches: list[Stretch] = []
        self._previous: np.ndarray | None = None

    @property
    def wants_anchor(self) -> bool:
        """Whether the next thing to do is to look where the face is, and to give it a new anchor."""
        if not self.stretches:
            return True
        current = self.stretches[-1]
        return current.times[-1] - self._anchored >= LONGEST or self._moved > FAR

    def begin(self, index: int, time: float, crop: np.ndarray) -> None:
        """A new stretch, from this frame on."""
        self.stretches.append(Stretch(index, [time], [np.zeros(CHANNELS)]))
        self._set_anchor(time, crop, keep_pose=False)

    def anchor(self, crop: np.ndarray, *, keep_pose: bool) -> None:
        """A new anchor within the stretch, from the frame that was added last; perhaps cut out anew."""
        self._set_anchor(self.stretches[-1].times[-1], crop, keep_pose=keep_pose)

    def _set_anchor(self, time: float, crop: np.ndarray, *, keep_pose: bool) -> None:
        self.motion.anchor(crop, keep_pose=keep_pose)
        self._base, self._anchored, self._moved = self.stretches[-1].values[-1], time, 0.0
        self._previous = crop

    def add(self, index: int, time: float, crop: np.ndarray) -> bool:
        """False where the frame does not continue the stretch: it has to `begin` another."""
        stretch = self.stretches[-1]
        affine = self.motion.affine
        motion = self.motion.measure(crop)
        if motion.fit < MIN_FIT:  # much may have changed since the anchor, but not since the last frame
            self.motion.affine = affine
            self._set_anchor(stretch.times[-1], self._previous, keep_pose=True)
            motion = self.motion.measure(crop)
            if motion.fit < MIN_FIT:
                return False
        stretch.times.append(time)
        stretch.values.append(self._base + motion.values)
        self._moved, self._previous = motion.moved, crop
        return True


def cropped_signal(crops: Iterable[tuple[float, np.ndarray]]) -> FaceSignal:
    """The stretches of a face that is cropped already: (seconds, (128, 128)) frame after frame."""
    signal = FaceSignal()
    for index, (time, crop) in enumerate(crops):
        if not signal.stretches or not signal.add(index, time, crop):
            signal.begin(index, time, crop)
        elif signal.wants_anchor:
            signal.anchor(crop, keep_pose=True)
    return signal


__all__ = ["RATE", "SHORTEST", "FaceSignal", "Stretch", "cropped_signal"]
