"""A table of clips: which part of which file each row asks for, and what else it says."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import AnnotationError, DataError, printable
from ...data.reading.cells import frame_number
from ...data.reading.tables import Sheet, Table, find_header, is_blank, read_sheets
from ..columns import carried_name, plain_value

COLUMNS = {
    "path": ("path", "file", "filename", "file name", "video", "clip", "source"),
    "start": ("start", "start s", "start seconds", "from"),
    "end": ("end", "end s", "end seconds", "to"),
    "fps": ("fps", "frame rate"),
    "onset": ("onset", "onset frame", "first frame"),
    "offset": ("offset", "offset frame", "last frame"),
}


@dataclass(frozen=True)
class TableRow:
    """One row: a path with the part that is asked for, or the reason why it names none."""

    name: str
    asked: dict[str, Any]  # start, end, fps, onset, offset
    columns: dict[str, Any]  # all that the row says, as given, under the names it has in the results
    reason: str = ""


def rows_of_file(path: Path) -> Iterator[TableRow]:
    for sheet in read_sheets(path, path.name)[:1]:
        yield from _rows(path.name, sheet.rows)


def rows_of_frame(frame: Any) -> Iterator[TableRow]:
    """The rows of a pandas DataFrame."""
    cells = frame.astype(object).where(frame.notna(), None).values.tolist()
    yield from _rows("the table", [(1, list(map(str, frame.columns))), *enumerate(cells, start=2)])


def _rows(shown: str, rows: list[tuple[int, list]]) -> Iterator[TableRow]:
    sheet = Sheet(file=shown, name="", rows=rows)
    headers = (find_header(sheet, {**COLUMNS, "path": (name,)}, ("path",)) for name in COLUMNS["path"])
    table = next((header for header in headers if header is not None), None)  # of `path` and `clip`, `path` is meant
    if table is None:
        raise AnnotationError(f"{shown}: no row near the top is a header with a column {' or '.join(COLUMNS['path'])}")
    carried = _carried(table)
    for number, cells in table.rows:
        columns = {name: plain_value(cells[at]) for name, at in carried.items() if at < len(cells)}
        cell = table.cell(cells, "path")
        where = f"{shown}, row {number}"
        if is_blank(cell):
            yield TableRow(where, {}, columns, "the row names no path")
            continue
        name = os.fspath(cell) if isinstance(cell, os.PathLike) else str(cell).strip()
        try:
            asked = {name: _number(table.cell(cells, name), name, where) for name in ("start", "end", "fps")}
            asked |= {name: _frame(table.cell(cells, name), name, where) for name in ("onset", "offset")}
        except DataError as error:
            yield TableRow(printable(name), {}, columns, str(error))
        else:
            yield TableRow(name, asked, columns)


def _carried(table: Table) -> dict[str, int]:
    """Name in the results -> column of the table. onset and offset are columns of the results already."""
    carried: dict[str, int] = {}
    for at, name in enumerate(table.header):
        if name.strip() and not (name in ("onset", "offset") and table.column.get(name) == at):
            carried[carried_name(name.strip(), carried)] = at
    return carried


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


__all__ = ["TableRow", "rows_of_file", "rows_of_frame"]
