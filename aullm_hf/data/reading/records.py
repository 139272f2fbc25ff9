"""What reading is about: a data set's `Layout`, a clip's `Record`, the frames that belong to it, and the problems.

A layout says how the columns are called, how a subject is written and where a clip's frames lie. The reading is the
same for all: parse the row, correct it, check it (`rows.py`), find its folder (`matching.py`), compare the two (here).
Nothing stops at the first problem.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ...arguments import first_few, shown
from ..annotations import check_policies
from ..errors import DOUBT, ERROR, NOTE, DataError, Problem, UnsafePathError
from ..schema import clip_id
from .corrections import Correction
from .folders import Frame, Tree

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
    onset: int | None  # None until the frames are known, where the table of a user's own clips leaves it out
    offset: int | None
    apex: int | None
    fps: float | None
    aus: list[int] | None
    intensities: list[float | None] | None
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
class RawDataset:
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
    fps: float | None  # where the table does not say it
    columns: dict[str, tuple[str, ...]]  # field -> accepted header names
    subject_folder: re.Pattern  # names of the folders that the image root is recognised by
    subject_of: Callable[[str], str | None]  # the cell (or a folder's name) -> the subject as rows carry it
    table_names: tuple[str, ...] = ()  # preferred when several tables fit, best first
    prefer_images: tuple[str, ...] = ()  # parts of the image root's path that make it the better one
    foreign: tuple[str, ...] = ()  # columns that show the table to be another data set's
    required: tuple[str, ...] = ("subject", "clip", "onset", "offset", "aus")
    expected: tuple[str, ...] = ("apex", "emotion")  # their absence is a doubt
    has_aus: bool = True
    clips_are_paths: bool = False  # a clip may be named by a path below the root
    inner: str = ""  # a folder below the clip's that holds the frames: "color"
    fits: Callable[[str, Record], bool] | None = None  # whether a top folder may hold the record; default: its subject
    locate: Callable[[Tree, str, list[str], Record], list[str]] | None = None  # where clips lie deeper than top/clip
    release_of: Callable[[str, int, list[Record]], str] | None = None  # (file name, rows, records) -> the release
    request: str = ""  # where the data is asked for


class ProblemList(list):
    """A list of problems with one place to add to."""

    def add_circular_links(self, tree: Tree) -> None:
        for link in tree.circular:
            self.add(NOTE, "link", "is a link to a folder above it; it is left out", file=link)

    def add(self, level: str, kind: str, message: str, *, value: object = None, **where) -> None:
        """`where`: the problem's file, row and clip, as far as they are known."""
        value = None if value is None else shown(value).strip("'")
        self.append(Problem(level, kind, message, value=value, **where))


def without_duplicates(records: list[Record], problems: ProblemList) -> list[Record]:
    first: dict[str, Record] = {}
    for record in records:
        if record.clip_id in first:
            problems.add(
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


def attach_frames(record: Record, tree: Tree, folder: str, problems: ProblemList) -> bool:
    """Find the record's frames in its folder and compare; False, with the error listed, where it cannot be used."""

    def report(level: str, kind: str, message: str, value: object = None) -> bool:
        where = {"file": record.file, "row": record.row} if level == ERROR else {"file": folder}
        problems.add(level, kind, message, value=value, clip=record.name, **where)
        return level != ERROR

    try:
        listed = tree.scan(folder)
    except UnsafePathError as error:
        return report(ERROR, "unsafe", str(error))
    except DataError as error:
        return report(ERROR, "frames", str(error))
    if listed.stray:
        problems.add(
            NOTE, "stray", f"{first_few(listed.stray)} is no frame of the clip", file=folder, clip=record.name
        )
    if listed.rivals:
        names = " and ".join(repr(prefix) for prefix in listed.rivals)
        return report(ERROR, "frames", f"{folder} holds several series of frames, named {names}; keep one")
    frames = [frame for frame in listed.frames if record.onset <= frame.number <= record.offset]
    if twice := [number for number in listed.twice if record.onset <= number <= record.offset]:
        return report(ERROR, "frames", f"{folder} has two files for frame {first_few(twice)}; keep one", twice[0])
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


def _ranges(numbers: list[int], limit: int = 8) -> str:
    """[1, 2, 3, 7] as '1-3, 7'."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return first_few([f"{low}-{high}" if high > low else str(low) for low, high in runs], limit)


def table_fingerprint(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return path.name, stat.st_size, stat.st_mtime_ns
