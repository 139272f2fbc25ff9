"""What a caller named, as a list of sources: files, folders, globs, tables of paths, arrays, and lists of those.

Nothing is opened but folders and tables, and nothing is dropped: what cannot be a source is one with its reason.
"""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...data.errors import AnnotationError, DataError, printable
from ...data.reading.cells import frame_number
from ...data.reading.folders import IMAGE_SUFFIXES, Tree, natural_key
from ...data.reading.tables import TABLE_SUFFIXES, Sheet, find_header, is_blank, read_sheets
from ...data.reading.videos import VIDEO_SUFFIXES

VIDEO_NAMES = VIDEO_SUFFIXES | {".mts", ".m2ts", ".ts", ".flv", ".3gp", ".3g2", ".ogv", ".vob", ".asf", ".y4m", ".mxf",
                                ".gif", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".hevc", ".divx", ".f4v", ".mpe",
                                ".m2v", ".nut", ".ivf"}  # fmt: skip
MOST_FOLDERS_DEEP = 6

COLUMNS = {
    "path": ("path", "file", "filename", "file name", "video", "clip", "source"),
    "start": ("start", "start s", "start seconds", "from"),
    "end": ("end", "end s", "end seconds", "to"),
    "fps": ("fps", "frame rate"),
    "onset": ("onset", "onset frame", "first frame"),
    "offset": ("offset", "offset frame", "last frame"),
}


@dataclass(frozen=True)
class Source:
    """One clip or recording, unread, and the part of it that is asked for."""

    name: str
    path: Path | None = None  # a video file or a folder of frames
    frames: Sequence[Any] | None = None  # or frames in memory, or the paths of images
    start: float | None = None  # seconds
    end: float | None = None
    onset: int | None = None  # frame numbers, as a folder's files are numbered; a video's count from 1
    offset: int | None = None
    fps: float | None = None  # the true rate, where the file's own is missing or wrong
    reason: str = ""  # why it cannot be read, where that is known already


def sources_of(given: Any, fps: float | None = None) -> Iterator[Source]:
    """Everything the caller named, in order. `fps` is the true frame rate of all that have none of their own."""
    for source in _expand(given):
        yield replace(source, fps=source.fps or fps)


def _expand(given: Any) -> Iterator[Source]:
    if isinstance(given, Source):
        yield given
    elif isinstance(given, (str, os.PathLike)):
        yield from _named(os.fspath(given))
    elif hasattr(given, "columns") and hasattr(given, "itertuples"):  # a pandas DataFrame
        cells = given.astype(object).where(given.notna(), None).values.tolist()
        yield from _rows("the table", [(1, list(map(str, given.columns))), *enumerate(cells, start=2)], Path())
    elif is_one_clip(given):
        yield Source("array", frames=layout(given))
    elif hasattr(given, "shape"):  # a batch (clips, frames, ...)
        yield from (Source(f"array {at}", frames=layout(clip)) for at, clip in enumerate(given))
    elif _are_images(given):
        yield from _by_folder([Path(path).expanduser() for path in given])
    elif not isinstance(given, Iterable):
        raise TypeError(f"{given!r} names no clip; give a path, an array, frames, a table, or a list of those")
    else:
        for at, item in enumerate(given):
            for source in _expand(item):
                yield replace(source, name=f"array {at}") if source.name == "array" else source


def is_one_clip(given: Any) -> bool:
    """Frames of one clip: an array of three or four dimensions, or a list of pictures or single frames."""
    if hasattr(given, "shape"):
        return len(given.shape) < 5
    if not isinstance(given, Sequence) or not given:
        return False
    return all(
        (hasattr(frame, "__array_interface__") and hasattr(frame, "mode")) or len(getattr(frame, "shape", ())) == 2
        or (len(getattr(frame, "shape", ())) == 3 and frame.shape[2] in (1, 3, 4))
        for frame in given
    )  # fmt: skip


def layout(clip: Any) -> Sequence[Any]:
    """A clip in memory as a sequence of frames, channels last."""
    if not hasattr(clip, "shape"):
        return clip
    if hasattr(clip, "detach"):
        if clip.is_meta or clip.is_quantized or clip.is_sparse:
            raise ValueError(
                f"a clip is a tensor of {clip.dtype} on {clip.device}; expected frames, dense and decoded"
            )
        clip = clip.detach().cpu()
        clip = (clip.float() if clip.is_floating_point() else clip).numpy()
    if clip.ndim == 2 or (clip.ndim == 3 and clip.shape[2] in (1, 3, 4)):
        return clip[None]  # a single picture
    if clip.ndim == 4 and clip.shape[3] not in (1, 3, 4) and clip.shape[1] in (1, 3):
        return clip.transpose(0, 2, 3, 1)
    return clip


def _are_images(given: Any) -> bool:
    return isinstance(given, Sequence) and len(given) > 0 and all(
        isinstance(path, (str, os.PathLike)) and os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES for path in given
    )  # fmt: skip


def _by_folder(paths: Sequence[Path]) -> Iterator[Source]:
    """Image files as clips, one a folder, in the order given."""
    clips: dict[Path, list[Path]] = {}
    for path in paths:
        clips.setdefault(path.parent, []).append(path)
    for images in clips.values():
        more = f" .. {printable(images[-1].name)}" if len(images) > 1 else ""
        yield Source(printable(str(images[0])) + more, frames=images)


def _named(name: str, *, in_table: bool = False) -> Iterator[Source]:
    """A path or a pattern."""
    if not name.strip():  # a variable of the shell that is not set would name the whole folder one is in
        yield Source(repr(name), reason="the name is empty; . is the folder you are in")
        return
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            yield from _folder(path)
        elif path.is_file():
            if path.suffix.lower() not in TABLE_SUFFIXES:
                yield Source(printable(name), path)
            elif in_table:
                yield Source(printable(name), reason="is a table, named by a table; name it itself")
            else:
                yield from _table(path)
        elif glob.has_magic(name):
            matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)
            if "**" in name:  # what lies in the folders is matched itself
                matches = [match for match in matches if not os.path.isdir(match)]
            if not matches:
                yield Source(printable(name), reason="no file fits this pattern")
            elif _are_images(matches):
                yield from _by_folder([Path(match) for match in matches])
            else:
                for match in matches:
                    yield from _named(match, in_table=in_table)
        else:
            yield Source(printable(name), reason="no such file or folder")
    except (OSError, ValueError) as error:  # no permission, a name too long, a zero byte
        said = getattr(error, "strerror", None) or str(error)
        yield Source(printable(name), reason=said.removeprefix(f"{path.name}: "))  # a row names its source itself


# -------------------------------------------------------------------- folders


def _folder(path: Path) -> Iterator[Source]:
    """A folder of frames, or one of videos, frame folders and further folders, in natural order."""
    found = list(_below(Tree(path), "", path, 0))
    if not found:
        found = [Source(printable(str(path)), reason="the folder holds neither videos nor numbered images")]
    yield from found


def _below(tree: Tree, at: str, shown: Path, depth: int) -> Iterator[Source]:
    try:
        folders, files = tree.folders(at), tree.files(at)
    except DataError as error:
        yield Source(printable(str(shown)), reason=str(error))
        return
    visible = [name for name in files if not name.startswith(".")]
    videos = [name for name in visible if os.path.splitext(name)[1].lower() in VIDEO_NAMES]
    stems = [os.path.splitext(name) for name in visible]
    if not videos and any(stem[-1:].isdigit() and suffix.lower() in IMAGE_SUFFIXES for stem, suffix in stems):
        yield Source(printable(str(shown)), tree.absolute(at))
    entries = sorted([*videos, *(name for name in folders if not name.startswith("."))], key=natural_key)
    for name in entries:
        below = f"{at}/{name}" if at else name
        if name in folders:
            if below in tree.links:
                reason = "is a link to a folder, which is not followed; name that folder itself"
                yield Source(printable(str(shown / name)), reason=reason)
            elif depth >= MOST_FOLDERS_DEEP:
                reason = f"lies more than {MOST_FOLDERS_DEEP} folders deep; name it itself"
                yield Source(printable(str(shown / name)), reason=reason)
            else:
                yield from _below(tree, below, shown / name, depth + 1)
        else:
            yield Source(printable(str(shown / name)), tree.absolute(below))
    for below in [path for path in tree.escaping if os.path.dirname(path) == at]:
        reason = "is a link that leads outside the folder and is not followed; name its target itself"
        yield Source(printable(str(shown / os.path.basename(below))), reason=reason)


# -------------------------------------------------------------------- tables


def _table(path: Path) -> Iterator[Source]:
    """A row a source; paths are relative to the table's folder."""
    for sheet in read_sheets(path, path.name)[:1]:
        yield from _rows(path.name, sheet.rows, path.parent)


def _rows(shown: str, rows: list[tuple[int, list]], folder: Path) -> Iterator[Source]:
    sheet = Sheet(file=shown, name="", rows=rows)
    headers = (find_header(sheet, {**COLUMNS, "path": (name,)}, ("path",)) for name in COLUMNS["path"])
    table = next((header for header in headers if header is not None), None)  # of `path` and `clip`, `path` is meant
    if table is None:
        raise AnnotationError(f"{shown}: no row near the top is a header with a column {' or '.join(COLUMNS['path'])}")
    for number, cells in table.rows:
        cell = table.cell(cells, "path")
        where = f"{shown}, row {number}"
        if is_blank(cell):
            yield Source(where, reason="the row names no path")
            continue
        try:
            asked = {name: _number(table.cell(cells, name), name, where) for name in ("start", "end", "fps")}
            asked |= {name: _frame(table.cell(cells, name), name, where) for name in ("onset", "offset")}
        except DataError as error:
            yield Source(printable(str(cell)), reason=str(error))
            continue
        named = Path(str(cell).strip()).expanduser()
        for source in _named(str(named if named.is_absolute() else folder / named), in_table=True):
            yield replace(source, **asked)


def _number(cell: Any, name: str, where: str) -> float | None:
    if is_blank(cell):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value < 1e9 or (name == "fps" and value == 0):
        raise AnnotationError(
            f"{where}: {name} is {cell!r}; write {'frames a second' if name == 'fps' else 'seconds'}"
        )
    return value


def _frame(cell: Any, name: str, where: str) -> int | None:
    try:
        return None if is_blank(cell) else frame_number(cell, name)
    except DataError as error:
        raise AnnotationError(f"{where}: {error}") from error
