"""A user's own clips: a folder of frame folders or video files, and a table beside them (.xlsx, .csv or .parquet).

Columns: `clip` and `subject`; the AUs in `aus` (any notation the published tables use) or as 0/1 columns AU1, AU2, ..;
optional `onset`, `apex`, `offset`, `fps`, `emotion`. Without AUs the clips load unlabelled. `clip` is a path below the
root, with or without the subject's folder; of a video file the ending may be left out. Without onset and offset, all
frames are taken.
"""

import os
import re

from ..errors import ERROR, NOTE, AnnotationError, ClipError, DataError, UnsafePathError, error_from
from .folders import Tree, safe_name
from .matching import find_table
from .records import (
    Layout,
    Policies,
    ProblemList,
    RawDataset,
    Record,
    attach_frames,
    table_fingerprint,
    without_duplicates,
)
from .rows import one_hot_columns, order_problem, read_rows
from .videos import VIDEO_SUFFIXES, probe_video

_NEVER = re.compile(r"(?!)")  # no folder's name stops the search for the table

COLUMNS = {
    "clip": ("clip", "filename", "file", "path", "video", "clip_name"),
    "subject": ("subject", "subject_id", "sub", "person", "participant"),
    "aus": ("aus", "au", "action units", "au list"),
    "onset": ("onset", "onset frame", "start", "first frame"),
    "apex": ("apex", "apex frame"),
    "offset": ("offset", "offset frame", "end", "last frame"),
    "fps": ("fps", "frame rate"),
    "emotion": ("emotion", "estimated emotion", "label"),
}


def layout(name: str) -> Layout:
    return Layout(
        name=name,
        title="your own clips" if name == "own" else name,
        fps=None,
        columns=COLUMNS,
        subject_folder=_NEVER,
        subject_of=str,
        table_names=("clips", "labels", "annotations", "metadata"),
        required=("clip", "subject"),
        expected=(),
        clips_are_paths=True,
    )


def read_own(root, policies: Policies, name: str = "own") -> RawDataset:
    """Every row as a clip with its frames or its video; every problem listed."""
    safe_name(name, "dataset_name")
    tree, problems = Tree(root), ProblemList()
    table, path = find_table(layout(name), tree, policies, problems)
    if not table.rows:
        raise AnnotationError(f"{table.file}: the header in row {table.header_row} has no row below it")
    if "aus" not in table.column and not one_hot_columns(table):
        problems.add(NOTE, "header", "has neither a column 'aus' nor columns AU1, AU2, ..: no labels", file=table.file)
    raw = RawDataset(
        name=name,
        title=layout(name).title,
        release=f"{len(table.rows)} rows",
        table=table.file,
        images="",
        rows=len(table.rows),
        problems=problems,
        tree=tree,
        files=[table_fingerprint(path)],
    )
    records, raw.corrections = read_rows(layout(name), table, policies, problems)
    raw.records = without_duplicates([record for record in records if _locate(record, raw)], problems)
    problems.add_circular_links(tree)
    if not raw.records:
        raise error_from(problems, f"{raw.title}: no row of {table.file} can be used")
    return raw


def _locate(record: Record, raw: RawDataset) -> bool:
    """Find the row's folder of frames or its video file; False, with the error listed, where it cannot be used."""

    def report(level: str, kind: str, message: str, value: object = None) -> bool:
        where = {"file": record.file, "row": record.row, "clip": record.name}
        raw.problems.add(level, kind, message, value=value, **where)
        return level != ERROR

    folders, videos = _candidates(raw.tree, record)
    if len(folders) + len(videos) != 1:
        there = ", ".join(map(repr, [*folders, *videos][:5]))
        what = f"several fit: {there}; write more of the path" if there else "no folder and no video of that name"
        return report(ERROR, "no-folder", f"{record.clip!r} below {raw.tree.root}: {what}", record.clip)
    asked = record.onset, record.offset
    try:
        first, last = _video_frames(record, raw, videos[0]) if videos else _folder_frames(raw.tree, folders[0])
    except DataError as error:
        kind = "unsafe" if isinstance(error, UnsafePathError) else "frames"
        return report(ERROR, kind, str(error), record.clip)
    record.onset = first if record.onset is None else record.onset
    record.offset = last if record.offset is None else record.offset
    if None in asked and (problem := order_problem(record.onset, record.apex, record.offset)) and not report(*problem):
        return False
    if videos:
        inside = first <= record.onset and record.offset <= last
        message = f"{videos[0]} has the frames 1..{last}, the table asks for {record.onset}..{record.offset}"
        return inside or report(ERROR, "frames", message)
    return attach_frames(record, raw.tree, folders[0], raw.problems)


def _folder_frames(tree: Tree, folder: str) -> tuple[int, int]:
    """The numbers of the first and the last frame."""
    frames = tree.scan(folder).frames
    if not frames:
        raise ClipError(f"{folder} holds no numbered images")
    return frames[0].number, frames[-1].number


def _video_frames(record: Record, raw: RawDataset, video: str) -> tuple[int, int]:
    """The same of a video, whose frames count from 1; the record learns its file and its frame rate."""
    path = raw.tree.absolute(video)
    last, fps = probe_video(path, video)
    record.video, record.to_end = video, record.offset is None
    record.fps = record.fps or fps
    raw.files.append((video, path.stat().st_size, path.stat().st_mtime_ns))
    return 1, last


def _once(tree: Tree, paths: list[str]) -> list[str]:
    """Each folder or file once, by its name without links where it has one."""
    by_place: dict[str, str] = {}
    for path in paths:
        place = os.path.realpath(tree.absolute(path))
        if place not in by_place or place == str(tree.absolute(path)):
            by_place[place] = path
    return list(by_place.values())


def _candidates(tree: Tree, record: Record) -> list[list[str]]:
    """[frame folders, video files] that the clip may mean: below the root or up to two folders deeper."""
    bases = ["", *tree.folders("").values()]
    bases += [below for base in bases[1:] if len(bases) < 500 for below in tree.folders(base).values()]
    *above, last = record.clip.split("/")
    folders, videos = [], []
    for base in bases:
        parent: str | None = base
        for name in above:
            parent = tree.child(parent, name) if parent is not None else None
        if parent is None:
            continue
        try:
            subfolder, names = tree.child(parent, last), tree.files_ending(parent, VIDEO_SUFFIXES)
        except ClipError:
            continue
        folders += [subfolder] if subfolder else []
        named = [name for name in names if name == last] or [n for n in names if os.path.splitext(n)[0] == last]
        videos += [f"{parent}/{name}" if parent else name for name in named]
    fitting = [_once(tree, paths) for paths in (folders, videos)]
    if sum(map(len, fitting)) > 1:  # the subject's own folder is the better of several
        mine = [[path for path in paths if record.subject in path.split("/")[:-1]] for paths in fitting]
        if sum(map(len, mine)) == 1:
            return mine
        if not above and sum(map(len, fitting)) > 1:
            top = [[path for path in paths if "/" not in path] for paths in fitting]
            if sum(map(len, top)) == 1 and not sum(map(len, mine)):
                return top
    return fitting
