"""What a caller named, as a list of sources: files, folders, patterns, tables of paths, arrays, and lists of those.

Nothing is opened but folders and tables, and nothing is dropped: what cannot be read is a source with its reason.
"""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from ...data.errors import printable
from ...data.reading.folders import natural_key
from ...data.reading.links import recursive_glob
from ...data.reading.tables import TABLE_SUFFIXES
from .clip_source import ClipSource, is_image_name
from .source_folders import sources_in_folder
from .source_tables import TableRow, rows_of_file, rows_of_frame


def expand_sources(given: Any, fps: float | None = None) -> Iterator[ClipSource]:
    """Everything that the caller named, in order. `fps` is the true frame rate of all that have none of their own."""
    for source in _expand(given):
        yield replace(source, fps=source.fps or fps)


def _expand(given: Any) -> Iterator[ClipSource]:
    if isinstance(given, ClipSource):
        yield given
    elif _is_path(given):
        yield from _named([given])
    elif hasattr(given, "columns") and hasattr(given, "itertuples"):  # a pandas DataFrame
        yield from _of_rows(rows_of_frame(given), Path())
    elif is_one_clip(given):
        yield ClipSource("array", frames=channels_last(given))
    elif hasattr(given, "shape"):  # a batch (clips, frames, ...)
        yield from (ClipSource(f"array {at}", frames=channels_last(clip)) for at, clip in enumerate(given))
    elif not isinstance(given, Iterable):
        raise TypeError(f"{given!r} names no clip; give a path, an array, frames, a table, or a list of those")
    else:
        for are_paths, items in groupby(enumerate(given), key=lambda pair: _is_path(pair[1])):
            if are_paths:
                yield from _named(item for _, item in items)
                continue
            for at, item in items:
                for source in _expand(item):
                    yield replace(source, name=f"array {at}") if source.name == "array" else source


# -------------------------------------------------------------------- arrays


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


def channels_last(clip: Any) -> Sequence[Any]:
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


# -------------------------------------------------------------------- paths


def _is_path(given: Any) -> bool:
    return isinstance(given, str | os.PathLike)


def _named(names: Iterable[str | os.PathLike], *, in_table: bool = False) -> Iterator[ClipSource]:
    """Paths and patterns; image files that follow one another are clips, one per folder, in the order given."""
    entries = chain.from_iterable(_entries(os.fspath(name), in_table) for name in names)
    for are_images, group in groupby(entries, key=lambda entry: isinstance(entry, Path)):
        if are_images:
            yield from _clips_of_images(group)
        else:
            yield from group


def _entries(name: str, in_table: bool) -> Iterator[ClipSource | Path]:
    """What one path or pattern stands for: sources, and image files as their paths."""
    if not name.strip():  # a variable of the shell that is not set would name the whole folder one is in
        yield ClipSource(repr(name), reason="the name is empty; . is the folder you are in", missing=not in_table)
        return
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            yield from sources_in_folder(path)
        elif path.is_file():
            if path.suffix.lower() not in TABLE_SUFFIXES:
                yield path if is_image_name(path) else ClipSource(printable(name), path)
            elif in_table:
                yield ClipSource(printable(name), reason="is a table, named by a table; name it itself")
            else:
                yield from _of_rows(rows_of_file(path), path.parent)
        elif glob.has_magic(name):
            left_out: dict[str, str] = {}
            if "**" in name:  # what lies in the folders is matched itself
                matches, left_out = recursive_glob(str(path))
            else:
                matches = glob.glob(str(path))
            yield from (ClipSource(printable(link), reason=reason) for link, reason in left_out.items())
            for match in sorted(matches, key=natural_key):
                yield from _entries(match, in_table)
            if not matches:
                yield ClipSource(printable(name), reason="no file fits this pattern", missing=not in_table)
        elif is_image_name(path):
            yield path  # one of many, most often: the clip says which of its frames is missing
        else:
            yield ClipSource(printable(name), reason="no such file or folder", missing=not in_table)
    except (OSError, ValueError) as error:  # no permission, a name too long, a zero byte
        message = getattr(error, "strerror", None) or str(error)
        yield ClipSource(printable(name), reason=message.removeprefix(f"{path.name}: "))  # a row names its source


def _clips_of_images(paths: Iterable[Path]) -> Iterator[ClipSource]:
    """Image files as clips, one per folder, in the order given."""
    clips: dict[Path, list[Path]] = {}
    for path in paths:
        clips.setdefault(path.parent, []).append(path)
    for images in clips.values():
        more = f" .. {printable(images[-1].name)}" if len(images) > 1 else ""
        name = printable(str(images[0])) + more
        if any(image.exists() for image in images):
            yield ClipSource(name, frames=images)
        else:
            yield ClipSource(name, reason="no such file or folder", missing=True)


def _of_rows(rows: Iterable[TableRow], folder: Path) -> Iterator[ClipSource]:
    """The rows of a table; paths are relative to `folder`."""
    for row in rows:
        if row.reason:
            yield ClipSource(row.name, reason=row.reason, columns=row.columns)
            continue
        path = Path(row.name).expanduser()
        for source in _named([path if path.is_absolute() else folder / path], in_table=True):
            yield replace(source, **row.asked, columns=row.columns, missing=False)


__all__ = ["expand_sources", "is_one_clip"]
