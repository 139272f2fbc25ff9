"""The frames of a source, by index and time: a video, a folder of images, a list of images, an array.

All are read forwards, one frame at a time, and nothing is decoded that is not asked for but what a video's codec needs
in between.
"""

import re
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np

from ...arguments import first_few
from ...data.errors import ClipError, printable
from ...data.reading.folders import Tree
from ...data.reading.images import read_image
from ...data.reading.videos import open_video, upright
from .clip_source import ClipSource, is_image_name, is_video_name
from .truncation import truncation_note

MAX_FRAMES = 5_000_000  # a day at 60 frames a second

Get = Callable[[int], np.ndarray]  # an index, never below the one before -> (H, W) or (H, W, 3) uint8


class Frames(Protocol):
    times: np.ndarray | None  # (n,) seconds; None where nothing says how fast they come
    numbers: np.ndarray  # (n,) what onset and offset count: a file's own number, or 1, 2, ..
    note: str  # what the reader of the table should know
    any_order: bool  # whether a frame that cannot be read leaves the others readable

    def __len__(self) -> int: ...

    def reading(self, first: int = 0) -> AbstractContextManager[Get]: ...


def frame_times(numbers: np.ndarray, fps: float | None) -> np.ndarray | None:
    """Seconds of frames with these numbers; a missing number leaves a gap."""
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
        self.frames, self.note = frames, ""
        self.numbers = np.arange(1, len(frames) + 1)
        self.times = frame_times(self.numbers, fps)

    def __len__(self) -> int:
        return len(self.frames)

    @contextmanager
    def reading(self, first: int = 0) -> Iterator[Get]:
        yield lambda index: as_frame(self.frames[index], f"frame {index}")


class ImageFrames:
    """Frames that are files, by their paths in order. Without `numbers`, they are counted from 1."""

    any_order = True

    def __init__(self, paths: Sequence[Path], numbers: np.ndarray | None = None, fps: float | None = None):
        self.paths, self.note = paths, ""
        self.numbers = np.arange(1, len(paths) + 1) if numbers is None else numbers
        self.times = frame_times(self.numbers, fps)
        self.file_numbers = numbers_in_names(paths) if numbers is None else numbers
        if self.file_numbers is None and len(paths) > 1:
            self.note = "its pictures have no numbers: they are taken as frames in the order given"

    def __len__(self) -> int:
        return len(self.paths)

    @contextmanager
    def reading(self, first: int = 0) -> Iterator[Get]:
        yield lambda index: read_image(self.paths[index], printable(self.paths[index].name))


def numbers_in_names(paths: Sequence[Path]) -> np.ndarray | None:
    """The numbers by which names such as img1.jpg, img2.jpg differ; None where they differ in something else."""
    found = [re.fullmatch(r"(.*?)(\d{1,18})", path.stem) for path in paths]
    if None in found or len({match[1].casefold() for match in found}) > 1:
        return None
    return np.array([int(match[2]) for match in found], dtype=np.int64)


def check_numbers(numbers: np.ndarray) -> None:
    """Refuse pictures whose numbers are those of photographs rather than of frames: with more gaps than steps."""
    numbers = np.unique(numbers)
    if len(numbers) < 3:
        return
    steps = np.diff(numbers)
    step = np.median(steps)
    even = (np.abs(steps - step) <= max(step / 2, 1)).mean() >= 0.5
    missing = int(numbers[-1] - numbers[0]) + 1 - len(numbers)
    if not even or len(numbers) < ((numbers[-1] - numbers[0]) / step + 1) / 2:
        raise ClipError(
            f"{len(numbers)} pictures numbered {numbers[0]} to {numbers[-1]}, with {missing:,} numbers missing, are "
            "not taken for the frames of one clip; onset and offset name those that are"
        )


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
    notes = [f"{missing:,} of {missing + len(numbers):,} frame numbers are missing"] if missing else []
    if stray := [name for name in found.stray if not (is_video_name(name) or name.startswith("."))]:
        files = "file lies" if len(stray) == 1 else "files lie"
        notes.append(f"{len(stray)} other {files} there ({first_few(map(printable, stray), 3)})")
    frames.note = "; ".join(notes)
    return frames


class FrameCountError(ClipError):
    """A video's packets promised other frames than its decoder gives: its frames have to be counted by decoding."""


class VideoFrames:
    """A video's frames. Their times come from its packets, without decoding, and are right at varying frame rates."""

    any_order = False

    def __init__(self, path: Path, fps: float | None = None, *, by_decoding: bool = False):
        self.path = path
        self.ticks, tick, rate, self.note = _index_of(path, by_decoding)
        self.numbers = np.arange(1, len(self.ticks) + 1)
        self.timed = self.ticks[0] is not None
        self.counted = by_decoding or not self.timed  # frames are told apart by counting, not by their times
        if self.timed and fps is None:
            self.times = np.array(self.ticks, dtype=np.float64) * tick
        else:
            self.times = frame_times(self.numbers, fps or rate)
            if fps is None and rate:
                untimed = f"has no timestamps; {rate:g} frames a second are taken from its header"
                self.note = "; ".join(filter(None, (self.note, untimed)))

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
                    raise FrameCountError(f"the video ends with frame {at + 1} of {len(self)}") from None
                except av.FFmpegError as error:
                    raise ClipError(f"the video is damaged after frame {at + 1} ({error.strerror})") from error
                if at != index or not (self.counted or frame.pts == self.ticks[index]):
                    raise FrameCountError(f"the video's frame {index + 1} cannot be decoded")
                return upright(frame)

            yield get


def _opened(path: Path):
    name = printable(path.name)
    try:
        return open_video(path, name)
    except ClipError as error:  # rows name their source themselves
        raise ClipError(str(error).removeprefix(f"{name}: ")) from error


_indices: OrderedDict[tuple, tuple] = OrderedDict()  # a table may name many clips of one recording
_indices_lock = Lock()


def _index_of(path: Path, by_decoding: bool) -> tuple[Sequence[int | None], float, float | None, str]:
    """(presentation times in ticks, in order; seconds a tick; frames a second of the header; what is missing)."""
    stat = path.stat()
    if stat.st_size == 0:
        raise ClipError("the file is empty")
    key = (str(path), stat.st_size, stat.st_mtime_ns, by_decoding)
    with _indices_lock:
        if key in _indices:
            return _indices[key]
    av, container, stream = _opened(path)
    with container:
        rate = stream.average_rate or stream.base_rate
        base = stream.time_base
        try:
            note = ""
            if by_decoding:
                times = [frame.pts for frame in container.decode(stream)]
            else:
                times, last, damaged = [], None, False
                for packet in container.demux(stream):
                    if packet.size and not packet.is_discard:
                        times.append(packet.pts)
                        damaged |= packet.is_corrupt
                        if last is None or (packet.pts or 0) >= (last.pts or 0):
                            last = packet
                if times:
                    note = truncation_note(path, container, stream, len(times), last, damaged)
        except av.FFmpegError as error:
            raise ClipError(f"the video is damaged ({error.strerror})") from error
    if not times:
        raise ClipError("the video has no frames")
    if len(times) > MAX_FRAMES:
        raise ClipError(f"{len(times):,} frames are refused, the limit is {MAX_FRAMES:,}")
    whole = None not in times and base is not None
    ticks = array("q", sorted(times)) if whole else [None] * len(times)
    found = ticks, float(base or 0), float(rate or 0) or None, note
    with _indices_lock:
        _indices[key] = found
        while len(_indices) > 8:
            _indices.popitem(last=False)
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


def open_frames(source: ClipSource, by_decoding: bool = False) -> Frames:
    """The frames of a source by index, whatever kind it is."""
    if source.frames is not None:
        if len(source.frames) and isinstance(source.frames[0], Path):
            return ImageFrames(source.frames, fps=source.fps)
        return ArrayFrames(source.frames, source.fps)
    if source.path.is_dir():
        return folder_frames(source.path, source.fps)
    if is_image_name(source.path):
        return ImageFrames([source.path], fps=source.fps)
    return VideoFrames(source.path, source.fps, by_decoding=by_decoding)


def select_range(frames: Frames, source: ClipSource) -> tuple[int, int, str]:
    """(first, last index, a note) of what is asked for: frame numbers or seconds, both ends included."""
    if not len(frames):
        raise ClipError("the clip has no frames")
    numbers, times = frames.numbers, frames.times
    first, last, notes = 0, len(frames) - 1, []
    if source.onset is not None or source.offset is not None:
        low = numbers[0] if source.onset is None else source.onset
        high = numbers[-1] if source.offset is None else source.offset
        first, last = int(np.searchsorted(numbers, low)), int(np.searchsorted(numbers, high, side="right")) - 1
        has = f"has the frames {numbers[0]}..{numbers[-1]}"
        if last < first:
            raise ClipError(f"has no frame from {low} to {high}; it {has}")
        if low < numbers[0] or high > numbers[-1]:
            notes.append(f"{has}, of {low}..{high} asked for")
    if source.start is not None or source.end is not None:
        if times is None:
            raise ClipError("start and end are given in seconds, but nothing says how fast its frames come; give fps")
        asked = f"{source.start or 0:g} to {'its end' if source.end is None else f'{source.end:g} s'}"
        runs = f"it runs from {times[0]:.3f} to {times[-1]:.3f} s"
        low = -np.inf if source.start is None else source.start - 1e-6
        high = np.inf if source.end is None else source.end + 1e-6
        first = max(first, int(np.searchsorted(times, low)))
        last = min(last, int(np.searchsorted(times, high, side="right")) - 1)
        if last < first:
            raise ClipError(f"has no frame from {asked}; {runs}")
        frame = float(times[-1] - times[0]) / max(len(times) - 1, 1)  # the last one is shown for so long
        if source.end is not None and source.end > times[-1] + frame + 1e-6:
            notes.append(f"{runs}, of {asked} asked for")
    if isinstance(frames, ImageFrames) and frames.file_numbers is not None and frames.times is None:
        check_numbers(frames.file_numbers[first : last + 1])
    return first, last, "; ".join(notes)
