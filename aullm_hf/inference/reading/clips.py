"""One source as the clips that the model sees: located, cropped and sampled, failures included.

A clip is cropped as in training: the face is found in its first frame that shows one, and one similarity transform
serves all of its frames. Only the frames that the model samples are cropped, and, where frames are files, decoded.
"""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.errors import ClipError, DataError
from .cropping import Look, ReadClip, Seen, Window
from .frames import Frames, MiscountedError, measured_fps, open_frames, part_of
from .sources import Source
from .tracking import Identities, look_times
from .windows import spans

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reader:
    """How sources become clips. Threads may share it."""

    look: Look
    window: float | None = None  # seconds
    stride: float | None = None
    warning: str = ""  # said of every clip

    def read(self, source: Source, *, keep_onset: bool = False) -> Iterator[ReadClip]:
        """The clips of a source, in order. What is wrong with it or with a part of it is said in `reason`."""
        empty = ReadClip(source.name, warning=self.warning)
        if source.reason:
            yield replace(empty, reason=source.reason)
            return
        people, done = Identities(), 0  # who was seen; windows that are out
        for by_decoding in (False, True):
            try:
                for clips in self._windows(source, people, done, by_decoding, keep_onset):
                    yield from clips
                    done += 1
                return
            except MiscountedError as error:
                if by_decoding:
                    yield replace(empty, clip=done, reason=str(error))
            except ImportError:  # something is not installed: no clip would be read
                raise
            except Exception as error:
                known = isinstance(error, (DataError, OSError))
                if not known:  # one odd file among thousands must not take the others with it
                    logger.warning("%s could not be read", source.name, exc_info=True)
                said = getattr(error, "strerror", None) or str(error)
                yield replace(empty, clip=done, reason=said if known else f"{type(error).__name__}: {error}")
                return

    def _windows(
        self, source: Source, people: Identities, skip: int, by_decoding: bool, keep_onset: bool
    ) -> Iterator[list[ReadClip]]:
        """Window after window, its clips: one a face, or one that says what failed."""
        frames = open_frames(source, by_decoding)
        first, last, asked = part_of(frames, source)
        times = None if frames.times is None else frames.times[first : last + 1]
        cut, remark = spans(times, last - first + 1, self.window, self.stride)
        clock = np.arange(len(frames)) / 25 if frames.times is None else frames.times  # to tell when somebody was seen
        looks = set()
        if self.look.everyone or self.look.follow:
            looks = {first + index for index in look_times(clock[first : last + 1])}
        if self.look.follow:
            self._look_along(frames, sorted(looks), clock, people)
        warning = "; ".join(part for part in (self.warning, frames.remark, asked, remark) if part)
        clip = ReadClip(source.name, fps=measured_fps(times), warning=warning)
        upcoming = (
            Window(self.look, replace(span, first=span.first + first, last=span.last + first), clip, keep_onset)
            for span in cut
            if span.number >= skip
        )
        active: deque[Window] = deque()
        following = next(upcoming, None)
        begin = following.span.first if following else last + 1
        with frames.reading(min(begin, last)) as get:
            for index in range(begin, last + 1):
                while following is not None and following.span.first <= index:
                    if self.look.follow:
                        following.follow(people, clock)
                    active.append(following)
                    following = next(upcoming, None)
                wanting = [window for window in active if window.needs(index)]
                between = index in looks and not self.look.follow  # faces keep their numbers by it
                try:
                    if wanting or between:
                        seen = Seen(self.look, get(index), people, float(clock[index]))
                        if between:
                            seen.faces()
                        for window in wanting:
                            window.give(index, seen)
                except MiscountedError:
                    raise
                except ClipError as error:
                    for window in wanting if frames.any_order else active:
                        window.fail(str(error))
                    if not frames.any_order:  # nothing after this can be decoded
                        yield from (window.clips() for window in active)
                        if following is not None:
                            yield [following.until(times, str(error))]
                        return
                while active and active[0].span.last <= index:
                    yield active.popleft().clips()

    def _look_along(self, frames: Frames, looks: Sequence[int], clock: np.ndarray, people: Identities) -> None:
        """Look for faces along a whole recording, before any of it is cropped."""
        people.tracks.clear()
        with frames.reading(looks[0]) as get:
            for index in looks:
                try:
                    Seen(self.look, get(index), people, float(clock[index])).faces()
                except MiscountedError:
                    raise
                except ClipError:
                    return  # the windows will say so


__all__ = ["Look", "ReadClip", "Reader"]
