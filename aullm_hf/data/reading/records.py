"""From a table's rows and a root's folders to clip records, with everything that was found on the way.

A data set is a `Layout`: how its columns are called, how a subject is written, where a clip's frames lie. The reading
is the same for all: parse the row, correct it, check it, find its folder, compare the two. Nothing stops at the first
problem.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from ..annotations import au_numbers, check_policies, parse_aus
from ..errors import DOUBT, ERROR, NOTE, AnnotationError, DataError, Problem, UnsafePathError, printable
from ..schema import clip_id
from .cells import frame_number, not_annotated, shown, text_of
from .corrections import Correction, Corrections
from .folders import Frame, Tree, safe_name
from .tables import Table, is_blank

MIN_FRAMES = 2  # one frame shows no motion
MAX_CLIP_FRAMES = 5_000


@dataclass(frozen=True)
class Policies:
    """What the caller decided about doubtful annotations and about which files to take."""

    either: str = "literature"
    ref: str = "keep"
    static: str = "drop"
    corrections: bool | tuple[str, ...] = True
    table: str | None = None
    images: str | None = None
    prefer_crops: bool = False

    def __post_init__(self):
        check_policies(either=self.either, ref=self.ref, static=self.static)


@dataclass
class Record:
    """One clip, before its frames are decoded."""

    dataset: str
    subject: str
    clip: str
    onset: int
    offset: int
    apex: int | None
    fps: float | None
    aus: list[int] | None
    au_text: str | None
    emotion: str | None
    file: str
    row: int | None
    subject_text: str = ""  # the subject as the table writes it; folders may follow that
    folder: str = ""  # relative to the root
    frames: list[Frame] = field(default_factory=list)
    video: str | None = None  # a video file instead of a folder
    to_end: bool = False  # the offset is the video's end, as far as its packets tell

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.clip}"

    @property
    def clip_id(self) -> str:
        return clip_id(self.dataset, self.subject, self.clip, self.onset)


@dataclass
class Source:
    """All that a root holds of a data set."""

    name: str
    title: str
    release: str
    table: str | None
    images: str | None
    rows: int = 0
    records: list[Record] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    tree: Tree | None = None
    files: list[tuple[str, int, int]] = field(
        default_factory=list
    )  # (name, size, mtime) of what is read beside frames
    licence: str = ""


@dataclass(frozen=True)
class Layout:
    """A published data set's form: what differs between their loaders."""

    name: str
    title: str
    fps: float
    columns: dict[str, tuple[str, ...]]  # field -> accepted header names
    subject_folder: re.Pattern  # names of the folders that the image root is recognised by
    subject_of: Callable[[str], str | None]  # the cell (or a folder's name) -> the subject as rows carry it
    table_names: tuple[str, ...] = ()  # preferred when several tables fit, best first
    prefer_images: tuple[str, ...] = ()  # parts of the image root's path that make it the better one
    foreign: tuple[str, ...] = ()  # columns that show the table to be another data set's
    required: tuple[str, ...] = ("subject", "clip", "onset", "offset", "aus")
    expected: tuple[str, ...] = ("apex", "emotion")  # their absence is a doubt
    has_aus: bool = True
    inner: str = ""  # a folder below the clip's that holds the frames: "color"
    fits: Callable[[str, Record], bool] | None = None  # whether a top folder may hold the record; default: its subject
    locate: Callable[[Tree, str, list[str], Record], list[str]] | None = None  # where clips lie deeper than top/clip
    release_of: Callable[[str, int, list[Record]], str] | None = None  # (file name, rows, records) -> the release
    request: str = ""  # where the data is asked for


class Findings(list):
    """A list of problems with one place to add to."""

    def add(self, level: str, kind: str, message: str, **where) -> None:
        self.append(Problem(level, kind, message, **where))


def read_rows(
    layout: Layout, table: Table, policies: Policies, found: Findings
) -> tuple[list[Record], list[Correction]]:
    """Every row as a Record without frames; a row with an error is listed with all its errors and left out."""
    corrections = Corrections(layout.name, policies.corrections)
    records: list[Record] = []
    applied: list[Correction] = []
    for name in layout.expected:
        if name not in table.column:
            found.add(
                DOUBT, "header", f"has no column {layout.columns[name][0]!r}", file=table.file, row=table.header_row
            )
    for number, cells in table.rows:
        row = _Row(layout, table, number, cells, policies, corrections)
        record = row.parse()
        found.extend(row.problems)
        if record is not None:
            records.append(record)
            applied += row.applied
    return without_duplicates(records, found), applied


def without_duplicates(records: list[Record], found: Findings) -> list[Record]:
    first: dict[str, Record] = {}
    for record in records:
        if record.clip_id in first:
            found.add(
                ERROR,
                "duplicate",
                f"names the clip with onset {record.onset} again, after row {first[record.clip_id].row}",
                file=record.file,
                row=record.row,
                value=record.clip_id,
                clip=record.name,
            )
        else:
            first[record.clip_id] = record
    return list(first.values())


class _Row:
    """One row being read: collects its problems instead of stopping."""

    def __init__(self, layout, table, number, cells, policies, corrections):
        self.layout, self.table, self.number, self.cells = layout, table, number, cells
        self.policies, self.corrections = policies, corrections
        self.problems: list[Problem] = []
        self.applied: list[Correction] = []
        self.name: str | None = None

    def parse(self) -> Record | None:
        subject, clip = self.subject(), self.clip()
        if subject is not None and clip is not None:
            self.name = f"{subject}/{clip}"
        onset, offset, apex = self.frame("onset"), self.frame("offset"), self.apex()
        if self.name is not None:  # the onset first: other corrections may be for one onset only
            onset = self.correct("onset", onset, onset)
            offset = self.correct("offset", offset, onset)
            apex = self.correct("apex", apex, onset)
        self.check_order(onset, apex, offset)
        aus, au_text = self.aus(subject, clip)
        if any(problem.level == ERROR for problem in self.problems):
            return None
        emotion = self.table.cell(self.cells, "emotion")
        return Record(
            dataset=self.layout.name,
            subject=subject,
            clip=clip,
            onset=onset,
            offset=offset,
            apex=apex,
            fps=self.layout.fps,
            aus=aus,
            au_text=au_text,
            emotion=None if is_blank(emotion) else printable(str(emotion).strip()[:200]),
            file=self.table.file,
            row=self.number,
            subject_text=text_of(self.table.cell(self.cells, "subject"), "subject"),
        )

    def report(self, level: str, kind: str, message: str, value: object = None) -> None:
        self.problems.append(
            Problem(level, kind, message, file=self.table.file, row=self.number, value=shown(value), clip=self.name)
        )

    def column(self, name: str) -> str:
        index = self.table.column.get(name)
        return self.table.header[index] if index is not None else self.layout.columns[name][0]

    def required(self, name: str, kind: str) -> object:
        """The cell, or None after reporting that it is empty."""
        cell = self.table.cell(self.cells, name)
        if is_blank(cell):
            self.report(ERROR, kind, f"{self.column(name)} {self.table.explain_empty(self.number, name)}")
            return None
        return cell

    def subject(self) -> str | None:
        cell = self.required("subject", "subject")
        if cell is None:
            return None
        try:
            text = safe_name(text_of(cell, self.column("subject")), "subject")
            subject = self.layout.subject_of(text)
            if subject is None:
                raise AnnotationError(
                    f"{self.column('subject')} is {text!r}, which is no subject of {self.layout.title}"
                )
            return subject
        except UnsafePathError as error:
            self.report(ERROR, "unsafe", str(error), cell)
        except DataError as error:
            self.report(ERROR, "subject", str(error), cell)
        return None

    def clip(self) -> str | None:
        cell = self.required("clip", "row")
        if cell is None:
            return None
        try:
            return safe_name(text_of(cell, self.column("clip")), "clip name")
        except UnsafePathError as error:
            self.report(ERROR, "unsafe", str(error), cell)
        except DataError as error:
            self.report(ERROR, "row", str(error), cell)
        return None

    def frame(self, name: str) -> int | None:
        cell = self.required(name, "frame-number")
        if cell is None:
            return None
        try:
            return frame_number(cell, self.column(name))
        except DataError as error:
            self.report(ERROR, "frame-number", str(error), cell)
            return None

    def apex(self) -> int | None:
        """A missing or senseless apex is a doubt: nothing that samples onset..offset needs it."""
        if "apex" not in self.table.column:
            return None
        cell = self.table.cell(self.cells, "apex")
        if not_annotated(cell):
            self.report(DOUBT, "apex", f"{self.column('apex')} is {shown(cell) or 'empty'}: no apex", cell)
            return None
        try:
            return frame_number(cell, self.column("apex"))
        except DataError as error:
            self.report(DOUBT, "apex", f"{error}; loaded without an apex", cell)
            return None

    def correct(self, name: str, value: int | None, onset: int | None) -> int | None:
        subject, clip = self.name.split("/", 1)
        correction = self.corrections.value_for(subject, clip, name, value, onset)
        if correction is None:
            return value
        self.applied.append(correction)
        return correction.value

    def check_order(self, onset: int | None, apex: int | None, offset: int | None) -> None:
        if onset is None or offset is None:
            return
        if offset < onset:
            self.report(ERROR, "frame-number", f"the offset {offset} lies before the onset {onset}", offset)
        elif offset - onset + 1 < MIN_FRAMES:
            self.report(ERROR, "frame-number", f"onset and offset are both {onset}: one frame shows no motion", onset)
        elif offset - onset + 1 > MAX_CLIP_FRAMES:
            length = offset - onset + 1
            self.report(
                ERROR,
                "frame-number",
                f"onset {onset} to offset {offset} is {length:,} frames, over {MAX_CLIP_FRAMES:,}",
            )
        elif apex is not None and not onset <= apex <= offset:
            self.report(DOUBT, "apex", f"the apex {apex} lies outside onset {onset} .. offset {offset}", apex)
        elif apex is not None and apex in (onset, offset):
            self.report(DOUBT, "apex", f"the apex {apex} is the {'onset' if apex == onset else 'offset'}", apex)

    def aus(self, subject: str | None, clip: str | None) -> tuple[list[int] | None, str | None]:
        if not self.layout.has_aus:
            return None, None
        cell = self.required("aus", "au")
        if cell is None:
            return None, None
        try:
            annotation = parse_aus(cell)
            reading = None
            if annotation.ambiguous and self.policies.either == "literature" and subject and clip:
                correction = self.corrections.reading_for(subject, clip, annotation.text)
                if correction is not None:
                    self.applied.append(correction)
                    reading = correction.value
            units = annotation.resolve(
                either=self.policies.either, ref=self.policies.ref, static=self.policies.static, reading=reading
            )
        except DataError as error:
            self.report(ERROR, "au", str(error), cell)
            return None, None
        for remark in annotation.remarks:
            self.report(DOUBT, "au", f"{remark!r} in {annotation.text!r} is no AU", cell)
        return au_numbers(units), annotation.text


def attach_frames(record: Record, tree: Tree, folder: str, found: Findings) -> bool:
    """Find the record's frames in its folder and compare; False, with the error listed, where it cannot be used."""

    def report(level: str, kind: str, message: str, value: object = None) -> bool:
        where = {"file": folder, "row": None, "clip": record.name, "value": shown(value)}
        if level == ERROR:
            where |= {"file": record.file, "row": record.row}
        found.add(level, kind, message, **where)
        return level != ERROR

    try:
        listed = tree.scan(folder)
    except UnsafePathError as error:
        return report(ERROR, "unsafe", str(error))
    except DataError as error:
        return report(ERROR, "frames", str(error))
    if listed.stray:
        found.add(NOTE, "stray", f"{_some(listed.stray)} is no frame of the clip", file=folder, clip=record.name)
    if listed.rivals:
        names = " and ".join(repr(prefix) for prefix in listed.rivals)
        return report(ERROR, "frames", f"{folder} holds several series of frames, named {names}; keep one")
    frames = [frame for frame in listed.frames if record.onset <= frame.number <= record.offset]
    if twice := [number for number in listed.twice if record.onset <= number <= record.offset]:
        return report(ERROR, "frames", f"{folder} has two files for frame {_some(twice)}; keep one", twice[0])
    if len(frames) < MIN_FRAMES:
        held = "no frames" if not listed.frames else f"frames {listed.frames[0].number}..{listed.frames[-1].number}"
        return report(
            ERROR,
            "frames",
            f"{folder} holds {held}; the table asks for {record.onset}..{record.offset} ({len(frames)} of them there)",
        )
    wanted = record.offset - record.onset + 1
    if len(frames) < wanted:
        missing = _ranges(sorted(set(range(record.onset, record.offset + 1)) - {frame.number for frame in frames}))
        report(DOUBT, "gap", f"{wanted - len(frames)} of {wanted} frames are missing: {missing}")
    record.folder, record.frames = folder, frames
    return True


def _some(items: Collection, limit: int = 5) -> str:
    shown_items = ", ".join(str(item) for item in list(items)[:limit])
    return shown_items + (f" and {len(items) - limit} more" if len(items) > limit else "")


def _ranges(numbers: list[int], limit: int = 8) -> str:
    """[1, 2, 3, 7] as '1-3, 7'."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return _some([f"{low}-{high}" if high > low else str(low) for low, high in runs], limit)


def table_fingerprint(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return path.name, stat.st_size, stat.st_mtime_ns
