"""The frames of a source, by index and time: a video, a folder of images, a list of images, an array.

All are read forwards, one frame at a time, and nothing is decoded that is not asked for but what a video's codec needs
in between.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from ...data.errors import ClipError, printable
from ...data.reading.folders import IMAGE_SUFFIXES, Tree
from ...data.reading.images import read_image
from ...data.reading.videos import open_video, upright
from .sources import Source

MAX_FRAMES = 5_000_000  # a day at 60 frames a second

Get = Callable[[int], np.ndarray]  # an index, never below the one before -> (H, W) or (H, W, 3) uint8


class Frames(Protocol):
    times: np.ndarray | None  # (n,) seconds; None where nothing says how fast they come
    numbers: np.ndarray  # (n,) what onset and offset count: a file's own number, or 1, 2, ..
    remark: str  # what the reader of the table should know
    any_order: bool  # whether a frame that cannot be read leaves the others readable

    def __len__(self) -> int: ...

    def reading(self, first: int = 0) -> AbstractContextManager[Get]: ...


def paced(numbers: np.ndarray, fps: float | None) -> np.ndarray | None:
    """Seconds of frames with these numbers; a missing number leaves its time empty."""
    return None if fps is None else (numbers - numbers[0]) / fps if len(numbers) else np.zeros(0)


def measured_fps(times: np.ndarray | None) -> float | None:
    """Frames a second over all of them, whatever a header says."""
    if times is None or len(times) < 2 or times[-1] <= times[0]:
        return None
    return float((len(times) - 1) / (times[-1] - times[0]))


class ArrayFrames:
    """Frames that are in memory: one array, or a list of arrays or pictures of any kind."""

    any_order = True

    def __init__(self, frames: Sequence[Any], fps: float | None = None):
        self.frames, self.remark = frames, ""
        self.numbers = np.arange(1, len(frames) + 1)
        self.times = paced(self.numbers, fps)

    def __len__(self) -> int:
        return len(self.frames)

    @contextmanager
    def reading(self, first: int = 0) -> Iterator[Get]:
        yield lambda index: as_frame(self.frames[index], f"frame {index}")


class ImageFrames:
    """Frames that are files, by their paths in order."""

    any_order = True

    def __init__(self, paths: Sequence[Path], numbers: np.ndarray | None = None, fps: float | None = None):
        self.paths, self.remark = paths, ""
        self.numbers = np.arange(1, len(paths) + 1) if numbers is None else numbers
        self.times = paced(self.numbers, fps)

    def __len__(self) -> int:
        return len(self.paths)

    @contextmanager
    def reading(self, first: int = 0) -> Iterator[Get]:
        yield lambda index: read_image(self.paths[index], printable(self.paths[index].name))


def folder_frames(folder: Path, fps: float | None = None) -> ImageFrames:
    """The numbered images of a folder in the order of their numbers, found as the data room finds them."""
    tree = Tree(folder)
    found = tree.scan("")
    if found.rivals:
        names = " and ".join(repr(prefix) for prefix in found.rivals)
        raise ClipError(f"holds several series of frames, named {names}; keep one")
    if found.twice:
        raise ClipError(f"has two files for frame {found.twice[0]}; keep one")
    if not found.frames:
        raise ClipError("holds no numbered images (.jpg, .png, .bmp or .tif), such as img1.jpg")
    numbers = np.array([frame.number for frame in found.frames], dtype=np.int64)
    frames = ImageFrames([tree.absolute(frame.path) for frame in found.frames], numbers, fps)
    missing = int(numbers[-1] - numbers[0]) + 1 - len(numbers)
    remarks = [f"{missing} of {missing + len(numbers)} frame numbers are missing"] if missing else []
    if found.stray:
        some = ", ".join(map(printable, found.stray[:3])) + (", .." if len(found.stray) > 3 else "")
        remarks.append(f"{len(found.stray)} other files lie there ({some})")
    frames.remark = "; ".join(remarks)
    return frames


class MiscountedError(ClipError):
    """A video's packets promised other frames than its decoder gives: it has to be listed by decoding."""


class VideoFrames:
    """A video's frames. Their times come from its packets, without decoding, and are right at varying frame rates."""

    any_order = False

    def __init__(self, path: Path, fps: float | None = None, *, by_decoding: bool = False):
        self.path, self.remark = path, ""
        self.ticks, tick, rate = _listed(path, by_decoding)
        self.numbers = np.arange(1, len(self.ticks) + 1)
        self.timed = self.ticks[0] is not None
        self.counted = by_decoding or not self.timed  # frames are told apart by counting, not by their times
        if self.timed and fps is None:
            self.times = np.array(self.ticks, dtype=np.float64) * tick
        else:
            self.times = paced(self.numbers, fps or rate)
            if fps is None and rate:
                self.remark = f"has no timestamps; {rate:g} frames a second are taken from its header"

    def __len__(self) -> int:
        return len(self.ticks)

    @contextmanager
    def reading(self, first: int = 0) -> Iterator[Get]:
        """Decoding starts with the key frame before `first`."""
        av, container, stream = _opened(self.path)
        with container:
            if first and not self.counted:
                container.seek(self.ticks[first], stream=stream)
            decoded = container.decode(stream)
            at, frame = -1, None

            def get(index: int) -> np.ndarray:
                nonlocal at, frame
                try:
                    while at < index:
                        frame = next(decoded)
                        at = at + 1 if self.counted else bisect_left(self.ticks, frame.pts)
                except StopIteration:
                    raise MiscountedError(f"the video ends with frame {at + 1} of {len(self)}") from None
                except av.FFmpegError as error:
                    raise ClipError(f"the video is damaged after frame {at + 1} ({error.strerror})") from error
                if at != index or not (self.counted or frame.pts == self.ticks[index]):
                    raise MiscountedError(f"the video's frame {index + 1} cannot be decoded")
                return upright(frame)

            yield get


def _opened(path: Path):
    name = printable(path.name)
    try:
        return open_video(path, name)
    except ClipError as error:  # rows name their source themselves
        raise ClipError(str(error).removeprefix(f"{name}: ")) from error


_lists: OrderedDict[tuple, tuple] = OrderedDict()  # a table may name many clips of one recording
_lists_lock = Lock()


def _listed(path: Path, by_decoding: bool) -> tuple[Sequence[int | None], float, float | None]:
    """(presentation times in ticks, in order; seconds a tick; frames a second of the header)."""
    stat = path.stat()
    if stat.st_size == 0:
        raise ClipError("the file is empty")
    key = (str(path), stat.st_size, stat.st_mtime_ns, by_decoding)
    with _lists_lock:
        if key in _lists:
            return _lists[key]
    av, container, stream = _opened(path)
    with container:
        rate = stream.average_rate or stream.base_rate
        base = stream.time_base
        try:
            if by_decoding:
                times = [frame.pts for frame in container.decode(stream)]
            else:
                times = [packet.pts for packet in container.demux(stream) if packet.size and not packet.is_discard]
        except av.FFmpegError as error:
            raise ClipError(f"the video is damaged ({error.strerror})") from error
    if not times:
        raise ClipError("the video has no frames")
    if len(times) > MAX_FRAMES:
        raise ClipError(f"{len(times):,} frames are refused, the limit is {MAX_FRAMES:,}")
    whole = None not in times and base is not None
    found = (array("q", sorted(times)) if whole else [None] * len(times), float(base or 0), float(rate or 0) or None)
    with _lists_lock:
        _lists[key] = found
        while len(_lists) > 8:
            _lists.popitem(last=False)
    return found


def as_frame(frame: Any, name: str) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8 from an array, a tensor or a PIL picture: whole numbers 0..255 or fractions 0..1."""
    if hasattr(frame, "convert") and frame.mode not in ("L", "RGB", "RGBA"):  # palettes, inks and other colour spaces
        frame = frame.convert("L" if frame.mode in ("1", "LA") else "RGB")
    values = np.asarray(frame)
    if values.ndim == 3 and values.shape[2] in (1, 4):
        values = values[:, :, 0] if values.shape[2] == 1 else values[:, :, :3]  # transparency is left out
    if values.ndim not in (2, 3) or 0 in values.shape or values.shape[2:] not in ((), (3,)):
        raise ClipError(f"{name} has shape {values.shape}; expected (H, W) or (H, W, C) with C of 1, 3 or 4")
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    fractions = np.issubdtype(values.dtype, np.floating)
    if not fractions and (values.dtype == bool or not np.issubdtype(values.dtype, np.integer)):
        raise ClipError(f"{name} has dtype {values.dtype}; expected whole numbers 0..255 or fractions 0..1")
    low, high, most = values.min(), values.max(), 1 if fractions else 255
    if not 0 <= low <= high <= most:  # NaN fails as well
        raise ClipError(f"{name} holds {values.dtype} from {low:g} to {high:g}; expected 0..{most}")
    return np.round(values * (255.0 if fractions else 1)).astype(np.uint8)


# -------------------------------------------------------------------- of a source


def open_frames(source: Source, by_decoding: bool = False) -> Frames:
    """The frames of a source by index, whatever kind it is."""
    if source.frames is not None:
        if len(source.frames) and isinstance(source.frames[0], Path):
            return ImageFrames(source.frames, fps=source.fps)
        return ArrayFrames(source.frames, source.fps)
    if source.path.is_dir():
        return folder_frames(source.path, source.fps)
    if source.path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFrames([source.path], fps=source.fps)
    return VideoFrames(source.path, source.fps, by_decoding=by_decoding)


def part_of(frames: Frames, source: Source) -> tuple[int, int, str]:
    """(first, last index, a remark) of what is asked for: frame numbers or seconds, both ends included."""
    if not len(frames):
        raise ClipError("the clip has no frames")
    numbers, times = frames.numbers, frames.times
    first, last, remark = 0, len(frames) - 1, ""
    if source.onset is not None or source.offset is not None:
        low = numbers[0] if source.onset is None else source.onset
        high = numbers[-1] if source.offset is None else source.offset
        first, last = int(np.searchsorted(numbers, low)), int(np.searchsorted(numbers, high, side="right")) - 1
        has = f"has the frames {numbers[0]}..{numbers[-1]}"
        if last < first:
            raise ClipError(f"has no frame from {low} to {high}; it {has}")
        if low < numbers[0] or high > numbers[-1]:
            remark = f"{has}, of {low}..{high} asked for"
    if source.start is not None or source.end is not None:
        if times is None:
            raise ClipError("start and end are given in seconds, but nothing says how fast its frames come; give fps")
        low = -np.inf if source.start is None else source.start - 1e-6
        high = np.inf if source.end is None else source.end + 1e-6
        first = max(first, int(np.searchsorted(times, low)))
        last = min(last, int(np.searchsorted(times, high, side="right")) - 1)
        if last < first:
            asked = f"{source.start or 0:g} to {'its end' if source.end is None else f'{source.end:g} s'}"
            raise ClipError(f"has no frame from {asked}; it runs from {times[0]:.3f} to {times[-1]:.3f} s")
    return first, last, remark
