"""A long recording as windows: parts of a fixed length in seconds, a stride apart, that together cover all of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...arguments import shown

MAX_CLIP_SECONDS = 5.0  # seconds; no micro-expression or its surroundings are longer: this is a recording
DEFAULT_WINDOW = (
    0.5  # seconds; the longest micro-expression, and the window of recordings unless the caller says otherwise
)
_TOLERANCE = 1e-6  # seconds; times are fractions, and their floating point sums are compared


@dataclass(frozen=True)
class Window:
    """Frames first..last (indices; none where last < first) and the seconds they span, where those are known."""

    number: int
    first: int
    last: int
    start: float | None
    end: float | None

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def check_window(window: float | None, stride: float | None) -> None:
    for name, value in (("window", window), ("stride", stride)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{name}={shown(value)} is not allowed; give seconds, or None")
    if window is not None and not 0 <= window < float("inf"):
        raise ValueError(f"window={window} is not allowed; give seconds, 0 for whole clips always, or None")
    longest = window or DEFAULT_WINDOW
    if stride is not None and not 0 < stride <= longest:
        raise ValueError(
            f"stride={stride} is not allowed; give seconds above 0 and at most the window's {longest}, so that no "
            "moment is left out"
        )
    if stride is not None and window == 0:
        raise ValueError("a stride needs a window; window=0 takes every clip whole")


def split_into_windows(
    times: np.ndarray | None, count: int, window: float | None, stride: float | None
) -> tuple[Iterator[Window], str]:
    """The windows of `count` frames at `times` (seconds, rising), and a note where they were cut without being asked.

    Without a window, what lasts over 5 s is cut into windows of 0.5 s, half of that apart; 0 cuts nothing.
    """
    lasts = float(times[-1] - times[0]) if times is not None and count else 0.0
    note = ""
    if window is None and lasts > MAX_CLIP_SECONDS:
        window, note = DEFAULT_WINDOW, f"lasts {lasts:.1f} s and was read in windows of {DEFAULT_WINDOW} s"
    if times is None and window:
        note = "was not cut into windows: nothing says how fast its frames come; give fps"
    if not window or times is None or lasts < window:
        start, end = (float(times[0]), float(times[-1])) if times is not None and count else (None, None)
        return iter([Window(0, 0, count - 1, start, end)]), note
    return _sliding(times, window, stride or window / 2), note


def _sliding(times: np.ndarray, window: float, stride: float) -> Iterator[Window]:
    """Every window holds the frames of start <= t < start + window; the last one ends with the last frame.

    A gap without frames is one window, however long it is.
    """
    begin, finish = float(times[0]), float(times[-1])
    number, step = 0, 0
    while True:
        start = begin + step * stride
        final = start + window > finish + _TOLERANCE
        if final:
            start = max(min(start, finish - window + 2 * _TOLERANCE), begin)
        first = int(np.searchsorted(times, start - _TOLERANCE))
        last = int(np.searchsorted(times, start + window - _TOLERANCE)) - 1
        if last >= first:
            yield Window(number, first, last, float(times[first]), float(times[last]))
            step += 1
        else:
            following = float(times[first])
            yield Window(number, first, last, start, following)
            step = max(int((following - begin) / stride + _TOLERANCE), step + 1)
        if final:
            return
        number += 1
