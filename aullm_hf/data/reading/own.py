"""Your own clips: a folder of frame folders or video files, and a table beside them (.xlsx, .csv or .parquet).

Columns: `clip` and `subject`; the AUs in `aus` (any notation the published tables use) or as 0/1 columns AU1, AU2, ..;
optional `onset`, `apex`, `offset`, `fps`, `emotion`. Without AUs the clips load unlabelled. `clip` is a path below the
root, with or without the subject's folder; of a video file the ending may be left out. Without onset and offset, all
frames are taken.
"""

import os
import re
from dataclasses import dataclass

from ..annotations import au_numbers, parse_aus
from ..errors import DOUBT, ERROR, NOTE, AnnotationError, ClipError, DataError, UnsafePathError, error_from, printable
from ..facs import AUS
from .cells import frame_number, not_annotated, shown, text_of
from .folders import Tree, safe_name
from .matching import find_table
from .records import (
    MAX_CLIP_FRAMES,
    MIN_FRAMES,
    Findings,
    Layout,
    Policies,
    Record,
    Source,
    attach_frames,
    table_fingerprint,
    without_duplicates,
)
from .tables import Table, is_blank, plain
from .videos import VIDEO_SUFFIXES, probe_video

_NEVER = re.compile(r"(?!)")  # no folder's name stops the search for the table
_ONE_HOT = re.compile(r"au0*(\d{1,2})")

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
        fps=0.0,
        columns=COLUMNS,
        subject_folder=_NEVER,
        subject_of=str,
        table_names=("clips", "labels", "annotations", "metadata"),
        required=("clip", "subject"),
        expected=(),
    )


def read(root, policies: Policies, name: str = "own") -> Source:
    """Every row as a clip with its frames or its video; every problem listed."""
    safe_name(name, "dataset_name")
    tree, found = Tree(root), Findings()
    table, path = find_table(layout(name), tree, policies, found)
    if not table.rows:
        raise AnnotationError(f"{table.file}: the header in row {table.header_row} has no row below it")
    one_hot = _one_hot_columns(table)
    if "aus" not in table.column and not one_hot:
        found.add(NOTE, "header", "has neither a column 'aus' nor columns AU1, AU2, ..: no labels", file=table.file)
    source = Source(
        name=name,
        title=layout(name).title,
        release=f"{len(table.rows)} rows",
        table=table.file,
        images="",
        rows=len(table.rows),
        problems=found,
        tree=tree,
        files=[table_fingerprint(path)],
    )
    records = []
    for number, cells in table.rows:
        row = _OwnRow(source, table, number, cells, policies, one_hot)
        records += [record] if (record := row.parse()) is not None else []
    source.records = without_duplicates(records, found)
    if not source.records:
        raise error_from(found, f"{source.title}: no row of {table.file} can be used")
    return source


def _one_hot_columns(table: Table) -> dict[int, int]:
    """AU number -> column, for headers AU1, AU12, ..."""
    columns = {}
    for at, name in enumerate(table.header):
        match = _ONE_HOT.fullmatch(plain(name))
        if match and int(match[1]) in AUS:
            columns[int(match[1])] = at
    return columns


@dataclass
class _OwnRow:
    source: Source
    table: Table
    number: int
    cells: list
    policies: Policies
    one_hot: dict[int, int]
    failed: bool = False
    name: str | None = None

    def report(self, level: str, kind: str, message: str, value: object = None) -> None:
        self.failed = self.failed or level == ERROR
        self.source.problems.add(
            level, kind, message, file=self.table.file, row=self.number, value=shown(value), clip=self.name
        )

    def value(self, name: str, kind: str, read, *, required: bool = False):
        """The cell read by `read`, or None after reporting why it cannot be."""
        cell = self.table.cell(self.cells, name)
        if is_blank(cell):
            if required:
                self.report(ERROR, kind, f"{name} {self.table.explain_empty(self.number, name)}")
            return None
        try:
            return read(cell)
        except UnsafePathError as error:
            self.report(ERROR, "unsafe", str(error), cell)
        except DataError as error:
            self.report(ERROR, kind, str(error), cell)
        return None

    def parse(self) -> Record | None:
        subject = self.value(
            "subject", "subject", lambda c: safe_name(text_of(c, "subject"), "subject"), required=True
        )
        clip = self.value("clip", "row", _clip_path, required=True)
        if subject and clip:
            self.name = f"{subject}/{clip}"
        onset = self.value("onset", "frame-number", lambda cell: frame_number(cell, "onset"))
        offset = self.value("offset", "frame-number", lambda cell: frame_number(cell, "offset"))
        apex = self.table.cell(self.cells, "apex")
        apex = None if not_annotated(apex) else self.value("apex", "frame-number", lambda c: frame_number(c, "apex"))
        fps = self.value("fps", "row", _positive)
        aus, au_text = self.aus()
        if self.failed:
            return None
        record = Record(
            dataset=self.source.name,
            subject=subject,
            clip=clip,
            onset=onset if onset is not None else -1,
            offset=offset if offset is not None else -1,
            apex=apex,
            fps=fps,
            aus=aus,
            au_text=au_text,
            emotion=self.value("emotion", "row", lambda cell: printable(str(cell).strip()[:200])),
            file=self.table.file,
            row=self.number,
        )
        if not self.find(record):
            return None
        if record.apex is not None and not record.onset <= record.apex <= record.offset:
            self.report(DOUBT, "apex", f"the apex {apex} lies outside {record.onset} .. {record.offset}", apex)
        return record

    def aus(self) -> tuple[list[int] | None, str | None]:
        if "aus" in self.table.column:
            cell = self.table.cell(self.cells, "aus")
            if isinstance(cell, (list, tuple)) and not cell:
                return [], ""
            annotation = self.value("aus", "au", parse_aus, required=True)
            if annotation is None:
                return None, None
            try:
                units = annotation.resolve(
                    either=self.policies.either, ref=self.policies.ref, static=self.policies.static
                )
            except DataError as error:
                self.report(ERROR, "au", str(error), cell)
                return None, None
            for remark in annotation.remarks:
                self.report(DOUBT, "au", f"{remark!r} in {annotation.text!r} is no AU", cell)
            return au_numbers(units), annotation.text
        if not self.one_hot:
            return None, None
        present = []
        for number, at in self.one_hot.items():
            cell = self.cells[at] if at < len(self.cells) else None
            text = str(cell).strip().casefold()
            if text in ("1", "1.0", "true"):
                present.append(number)
            elif text not in ("0", "0.0", "false"):
                self.report(ERROR, "au", f"AU{number} is {shown(cell) or 'empty'}; write 1 or 0", cell)
        return sorted(present), "+".join(map(str, sorted(present))) or "none"

    def find(self, record: Record) -> bool:
        """The frames' folder or the video file of the row."""
        tree = self.source.tree
        folders, videos = _candidates(tree, record)
        if len(folders) + len(videos) != 1:
            there = ", ".join(map(repr, [*folders, *videos][:5]))
            what = f"several fit: {there}; write more of the path" if there else "no folder and no video of that name"
            self.report(ERROR, "no-folder", f"{record.clip!r} below {tree.root}: {what}", record.clip)
            return False
        try:
            if videos:
                return self.take_video(record, videos[0])
            frames = tree.scan(folders[0]).frames
        except DataError as error:
            self.report(ERROR, "unsafe" if isinstance(error, UnsafePathError) else "frames", str(error), record.clip)
            return False
        if frames:
            record.onset = frames[0].number if record.onset < 0 else record.onset
            record.offset = frames[-1].number if record.offset < 0 else record.offset
        return self.in_order(record) and attach_frames(record, tree, folders[0], self.source.problems)

    def take_video(self, record: Record, video: str) -> bool:
        path = self.source.tree.absolute(video)
        frames, fps = probe_video(path, video)
        record.video, record.to_end = video, record.offset < 0
        record.fps = record.fps or fps
        record.onset = 1 if record.onset < 0 else record.onset
        record.offset = frames if record.offset < 0 else record.offset
        self.source.files.append((video, path.stat().st_size, path.stat().st_mtime_ns))
        if record.onset < 1 or record.offset > frames:
            self.report(
                ERROR,
                "frames",
                f"{video} has the frames 1..{frames}, the table asks for {record.onset}..{record.offset}",
            )
            return False
        return self.in_order(record)

    def in_order(self, record: Record) -> bool:
        length = record.offset - record.onset + 1
        if MIN_FRAMES <= length <= MAX_CLIP_FRAMES:
            return True
        self.report(
            ERROR,
            "frame-number",
            f"onset {record.onset} to offset {record.offset} is {length:,} frames; a clip has {MIN_FRAMES} to "
            f"{MAX_CLIP_FRAMES:,}",
        )
        return False


def _clip_path(cell: object) -> str:
    text = text_of(cell, "clip").replace("\\", "/").strip("/") if not str(cell).startswith(("/", "\\")) else str(cell)
    return safe_name(text, "clip", nested=True)


def _positive(cell: object) -> float:
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value <= 100_000:
        raise AnnotationError(f"fps is {cell!r}; write frames a second, such as 200")
    return value


def _candidates(tree: Tree, record: Record) -> tuple[list[str], list[str]]:
    """(frame folders, video files) that the clip may mean: below the root or up to two folders deeper."""
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
    found = [*dict.fromkeys(folders)], [*dict.fromkeys(videos)]
    if sum(map(len, found)) > 1:  # the subject's own folder is the better of several
        mine = [[path for path in paths if record.subject in path.split("/")[:-1]] for paths in found]
        if sum(map(len, mine)) == 1:
            return mine[0], mine[1]
        if not above and sum(map(len, found)) > 1:
            top = [[path for path in paths if "/" not in path] for paths in found]
            if sum(map(len, top)) == 1 and not sum(map(len, mine)):
                return top[0], top[1]
    return found
