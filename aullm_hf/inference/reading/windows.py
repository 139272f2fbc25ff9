"""A long recording as windows: spans of a fixed length in seconds, a stride apart, that together cover all of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ...arguments import shown

LONGEST_CLIP = 5.0  # seconds; no micro-expression or its surroundings are longer: this is a recording
MICRO = 0.5  # seconds; the longest micro-expression, and the window of recordings unless the caller says otherwise
_INSTANT = 1e-6  # seconds; times are fractions, and their floating point sums are compared


@dataclass(frozen=True)
class Span:
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
    if stride is not None and not (0 < stride <= (window or MICRO)):
        raise ValueError(
            f"stride={stride} is not allowed; give seconds above 0 and at most the window's {window or MICRO}, so "
            "that no moment is left out"
        )
    if stride is not None and window == 0:
        raise ValueError("a stride needs a window; window=0 takes every clip whole")


def spans(
    times: np.ndarray | None, count: int, window: float | None, stride: float | None
) -> tuple[Iterator[Span], str]:
    """The spans of `count` frames at `times` (seconds, rising), and a remark where they were cut without being asked.

    Without a window, what lasts over 5 s is cut into windows of 0.5 s, half of that apart; 0 cuts nothing.
    """
    lasts = float(times[-1] - times[0]) if times is not None and count else 0.0
    remark = ""
    if window is None and lasts > LONGEST_CLIP:
        window, remark = MICRO, f"lasts {lasts:.1f} s and was read in windows of {MICRO} s"
    if times is None and window:
        remark = "was not cut into windows: nothing says how fast its frames come; give fps"
    if not window or times is None or lasts < window:
        start, end = (float(times[0]), float(times[-1])) if times is not None and count else (None, None)
        return iter([Span(0, 0, count - 1, start, end)]), remark
    return _sliding(times, window, stride or window / 2), remark


def _sliding(times: np.ndarray, window: float, stride: float) -> Iterator[Span]:
    """Every window holds the frames of start <= t < start + window; the last one ends with the last frame.

    A gap without frames is one window, however long it is.
    """
    begin, finish = float(times[0]), float(times[-1])
    number, step = 0, 0
    while True:
        start = begin + step * stride
        final = start + window > finish + _INSTANT
        if final:
            start = max(min(start, finish - window + 2 * _INSTANT), begin)
        first = int(np.searchsorted(times, start - _INSTANT))
        last = int(np.searchsorted(times, start + window - _INSTANT)) - 1
        if last >= first:
            yield Span(number, first, last, float(times[first]), float(times[last]))
            step += 1
        else:
            following = float(times[first])
            yield Span(number, first, last, start, following)
            step = max(int((following - begin) / stride + _INSTANT), step + 1)
        if final:
            return
        number += 1
