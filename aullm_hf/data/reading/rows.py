"""The rows of a table as clip records without frames: each row is parsed, corrected and checked by itself.

Published tables and a user's own differ only in their `Layout`. A row collects its problems instead of stopping at the
first, and a row with an error is listed and left out.
"""

import re
from collections.abc import Callable

from ...arguments import shown
from ..annotations import au_intensities, au_numbers, parse_aus
from ..errors import DOUBT, ERROR, AnnotationError, DataError, UnsafePathError, printable
from ..facs import AUS
from .cells import frame_number, not_annotated, positive_number, text_of
from .corrections import Correction, Corrections
from .folders import safe_name
from .records import MAX_CLIP_FRAMES, MIN_FRAMES, Layout, Policies, ProblemList, Record
from .tables import Table, is_blank, plain

_ONE_HOT = re.compile(r"au0*(\d{1,2})")


def read_rows(
    layout: Layout, table: Table, policies: Policies, problems: ProblemList
) -> tuple[list[Record], list[Correction]]:
    """Every usable row as a Record, and the corrections that were applied; problems are added to `problems`."""
    corrections = Corrections(layout.name, policies.corrections)
    one_hot = one_hot_columns(table)
    records: list[Record] = []
    applied: list[Correction] = []
    for name in layout.expected:
        if name not in table.column:
            problems.add(
                DOUBT, "header", f"has no column {layout.columns[name][0]!r}", file=table.file, row=table.header_row
            )
    for number, cells in table.rows:
        row = _Row(layout, table, number, cells, policies, corrections, one_hot)
        record = row.parse()
        problems.extend(row.problems)
        if record is not None:
            records.append(record)
            applied += row.applied
    return records, applied


def one_hot_columns(table: Table) -> dict[int, int]:
    """AU number -> column, for headers AU1, AU12, ..."""
    numbers = {at: _ONE_HOT.fullmatch(plain(name)) for at, name in enumerate(table.header)}
    return {int(match[1]): at for at, match in numbers.items() if match and int(match[1]) in AUS}


def order_problem(onset: int, apex: int | None, offset: int) -> tuple[str, str, str] | None:
    """(level, kind, message) of frame numbers that make no clip, or whose apex is doubtful."""
    length = offset - onset + 1
    if offset < onset:
        return ERROR, "frame-number", f"the offset {offset} lies before the onset {onset}"
    if length < MIN_FRAMES:
        return ERROR, "frame-number", f"onset and offset are both {onset}: one frame shows no motion"
    if length > MAX_CLIP_FRAMES:
        message = f"onset {onset} to offset {offset} is {length:,} frames, over {MAX_CLIP_FRAMES:,}"
        return ERROR, "frame-number", message
    if apex is not None and not onset <= apex <= offset:
        return DOUBT, "apex", f"the apex {apex} lies outside onset {onset} .. offset {offset}"
    if apex is not None and apex in (onset, offset):
        return DOUBT, "apex", f"the apex {apex} is the {'onset' if apex == onset else 'offset'}"
    return None


class _Row:
    """One row being read."""

    def __init__(self, layout, table, number, cells, policies, corrections, one_hot):
        self.layout, self.table, self.number, self.cells = layout, table, number, cells
        self.policies, self.corrections, self.one_hot = policies, corrections, one_hot
        self.problems = ProblemList()
        self.applied: list[Correction] = []
        self.name: str | None = None

    def parse(self) -> Record | None:
        subject = self.value("subject", "subject", self.subject)
        clip = self.value("clip", "row", self.clip)
        if subject is not None and clip is not None:
            self.name = f"{subject}/{clip}"
        onset, offset = self.frame("onset"), self.frame("offset")
        apex = self.apex()
        if self.name is not None:  # the onset first: other corrections may be for one onset only
            onset = self.correct("onset", onset, onset)
            offset = self.correct("offset", offset, onset)
            apex = self.correct("apex", apex, onset)
        if onset is not None and offset is not None and (problem := order_problem(onset, apex, offset)):
            self.report(*problem)
        aus, intensities, au_text = self.aus(subject, clip)
        fps = self.value("fps", "row", lambda cell: positive_number(cell, "fps", "frames per second, such as 200"))
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
            fps=fps or self.layout.fps,
            aus=aus,
            intensities=intensities,
            au_text=au_text,
            emotion=None if is_blank(emotion) else printable(str(emotion).strip()[:200]),
            file=self.table.file,
            row=self.number,
            subject_text=text_of(self.table.cell(self.cells, "subject"), "subject"),
        )

    def report(self, level: str, kind: str, message: str, value: object = None) -> None:
        where = {"file": self.table.file, "row": self.number, "clip": self.name}
        self.problems.add(level, kind, message, value=value, **where)

    def column(self, name: str) -> str:
        index = self.table.column.get(name)
        return self.table.header[index] if index is not None else self.layout.columns[name][0]

    def value(self, name: str, kind: str, read: Callable):
        """The cell as `read` understands it; None after reporting why it cannot be, or where it may be empty."""
        cell = self.table.cell(self.cells, name)
        if is_blank(cell):
            if name in self.layout.required:
                message = f"{self.column(name)} {self.table.explain_empty(self.number, name)}"
                self.report(ERROR, kind, message)
            return None
        try:
            return read(cell)
        except UnsafePathError as error:
            self.report(ERROR, "unsafe", str(error), cell)
        except DataError as error:
            self.report(ERROR, kind, str(error), cell)
        return None

    def subject(self, cell: object) -> str:
        text = safe_name(text_of(cell, self.column("subject")), "subject")
        subject = self.layout.subject_of(text)
        if subject is None:
            raise AnnotationError(f"{self.column('subject')} is {text!r}, which is no subject of {self.layout.title}")
        return subject

    def clip(self, cell: object) -> str:
        text = text_of(cell, self.column("clip"))
        if not self.layout.clips_are_paths:
            return safe_name(text, "clip name")
        text = text.replace("\\", "/")
        return safe_name(text if text.startswith("/") else text.strip("/"), "clip", nested=True)

    def frame(self, name: str) -> int | None:
        return self.value(name, "frame-number", lambda cell: frame_number(cell, self.column(name)))

    def apex(self) -> int | None:
        """A missing or senseless apex is a doubt: nothing that samples onset..offset needs it."""
        cell = self.table.cell(self.cells, "apex")
        try:
            if not not_annotated(cell):
                return frame_number(cell, self.column("apex"))
            if "apex" in self.table.column and "apex" in self.layout.expected:
                given = "empty" if is_blank(cell) else shown(cell)
                self.report(DOUBT, "apex", f"{self.column('apex')} is {given}: no apex", cell)
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

    def aus(self, subject: str | None, clip: str | None) -> tuple[list | None, list | None, str | None]:
        """(AU numbers, their intensities, the cell's text); all None where nobody annotates, and after an error."""
        if not self.layout.has_aus:
            return None, None, None
        if "aus" not in self.table.column:
            return self.one_hot_aus() if self.one_hot else (None, None, None)
        cell = self.table.cell(self.cells, "aus")
        if is_blank(cell):
            self.report(ERROR, "au", f"{self.column('aus')} {self.table.explain_empty(self.number, 'aus')}")
            return None, None, None
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
            return None, None, None
        for remark in annotation.remarks:
            self.report(DOUBT, "au", f"{remark!r} in {annotation.text!r} is no AU", cell)
        return au_numbers(units), au_intensities(units), annotation.text

    def one_hot_aus(self) -> tuple[list[int], list[None], str]:
        present = []
        for number, at in self.one_hot.items():
            cell = self.cells[at] if at < len(self.cells) else None
            text = str(cell).strip().casefold()
            if text in ("1", "1.0", "true"):
                present.append(number)
            elif text not in ("0", "0.0", "false"):
                given = "empty" if is_blank(cell) else shown(cell)
                self.report(ERROR, "au", f"AU{number} is {given}; write 1 or 0", cell)
        return sorted(present), [None] * len(present), "+".join(map(str, sorted(present))) or "none"
