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
from ...data.faces import to_gray
from .clip_source import ClipSource
from .crop_settings import CropSettings
from .cropping import FrameFaces, ReadClip, WindowCropper
from .following import FaceFollower
from .frames import FrameCountError, Frames, measured_fps, open_frames, select_range
from .tracking import NUMBERING_INTERVAL, FaceTracker, detection_frames
from .windows import split_into_windows

logger = logging.getLogger(__name__)
ASSUMED_FPS = 25.0  # where nothing says how fast frames come; only tells whether a face was seen lately


@dataclass(frozen=True)
class Reader:
    """How sources become clips. Threads may share it."""

    crop: CropSettings
    window: float | None = None  # seconds
    stride: float | None = None

    def read(self, source: ClipSource) -> Iterator[ReadClip]:
        """The clips of a source, in order; `reason` says what is wrong with the source or with a part of it."""
        unread = ReadClip(source.name, onset=source.onset, offset=source.offset, columns=source.columns)
        if source.reason:
            yield replace(unread, reason=source.reason)
            return
        tracker, done = FaceTracker(), 0  # windows that were yielded
        for by_decoding in (False, True):
            try:
                for clips in self._windows(source, unread, tracker, done, by_decoding):
                    yield from clips
                    done += 1
                return
            except FrameCountError as error:
                if by_decoding:
                    yield replace(unread, clip=done, reason=str(error))
            except ImportError:  # something is not installed: no clip would be read
                raise
            except Exception as error:
                known = isinstance(error, (DataError, OSError))
                if not known:  # one odd file among thousands must not take the others with it
                    logger.warning("%s could not be read", source.name, exc_info=True)
                message = getattr(error, "strerror", None) or str(error)
                reason = message if known else f"{type(error).__name__}: {error}"
                yield replace(unread, clip=done, reason=reason)
                return

    def _windows(
        self, source: ClipSource, unread: ReadClip, tracker: FaceTracker, skip: int, by_decoding: bool
    ) -> Iterator[list[ReadClip]]:
        """Window after window, its clips: one per face, or one that says what failed."""
        frames = open_frames(source, by_decoding)
        first, last, range_note = select_range(frames, source)
        times = None if frames.times is None else frames.times[first : last + 1]
        windows, window_note = split_into_windows(times, last - first + 1, self.window, self.stride)
        clock = np.arange(len(frames)) / ASSUMED_FPS if frames.times is None else frames.times
        if self.crop.follow:
            search = [first + index for index in detection_frames(clock[first : last + 1])]
            self._track(frames, search, clock, tracker)
        warning = "; ".join(part for part in (frames.note, range_note, window_note) if part)
        clip = replace(unread, fps=measured_fps(times), warning=warning)
        upcoming = (
            WindowCropper(self.crop, replace(window, first=window.first + first, last=window.last + first), clip)
            for window in windows
            if window.number >= skip
        )
        active: deque[WindowCropper] = deque()
        following = next(upcoming, None)
        begin = following.window.first if following else last + 1
        numbered = -np.inf  # when the faces were last looked for
        with frames.reading(min(begin, last)) as get:
            for index in range(begin, last + 1):
                while following is not None and following.window.first <= index:
                    if self.crop.follow:
                        following.follow(tracker, clock)
                    active.append(following)
                    following = next(upcoming, None)
                needing = [window for window in active if window.needs(index)]
                number = self.crop.all_faces and not self.crop.follow
                number = number and clock[index] - numbered >= NUMBERING_INTERVAL - 1e-6
                try:
                    if needing or number:
                        frame = FrameFaces(self.crop, get(index), tracker, float(clock[index]))
                        for window in needing:
                            window.add(index, frame)
                        if number and not frame.searched:
                            frame.number()
                        if number or frame.searched:
                            numbered = clock[index]
                except FrameCountError:
                    raise
                except ClipError as error:
                    for window in needing if frames.any_order else active:
                        window.fail(str(error))
                    if not frames.any_order:  # nothing after this can be decoded
                        yield from (window.clips() for window in active)
                        if following is not None:
                            yield [following.until(times, str(error))]
                        return
                while active and active[0].window.last <= index:
                    yield active.popleft().clips()

    def _track(self, frames: Frames, indices: Sequence[int], clock: np.ndarray, tracker: FaceTracker) -> None:
        """Look for faces along a whole recording, before any of it is cropped."""
        tracker.tracks.clear()
        follower = FaceFollower(self.crop)
        with frames.reading(indices[0]) as get:
            for index in indices:
                time = float(clock[index])
                try:
                    tracker.assign(follower.faces(to_gray(get(index)), time), time)
                except FrameCountError:
                    raise
                except ClipError:
                    return  # the windows will say so


__all__ = ["Reader"]
