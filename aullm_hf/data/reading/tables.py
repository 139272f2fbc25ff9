"""Spreadsheets as plain cells: .xlsx, .csv and .parquet, found by their header and read without running anything.

Formulas are never evaluated: the value the spreadsheet program stored is taken; a required cell without one says so.
"""

import csv
import io
import math
import re
import unicodedata
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AnnotationError

TABLE_SUFFIXES = (".xlsx", ".xlsm", ".csv", ".tsv", ".parquet")
OLD_SUFFIXES = (".xls", ".xlsb", ".ods")
MAX_TABLE_BYTES = 64 * 2**20
MAX_UNPACKED_BYTES = 128 * 2**20  # an .xlsx is a zip archive, and a small one can hold a very large sheet
MAX_ROWS = 100_000
MAX_COLUMNS = 2_000
HEADER_WITHIN = 60  # rows; SAMM's header stands in row 14


@dataclass
class Sheet:
    """One sheet: every non-blank row with its number as the spreadsheet program shows it (from 1)."""

    file: str
    name: str
    rows: list[tuple[int, list]]
    encoding_note: str | None = None
    formulas: "object" = None  # callable (row, column) -> bool, for cells that came back empty


@dataclass
class Table:
    """A sheet whose header was understood: `column[field]` is where a field stands."""

    sheet: Sheet
    header_row: int
    header: list[str]
    column: dict[str, int]
    rows: list[tuple[int, list]] = field(default_factory=list)

    @property
    def file(self) -> str:
        return self.sheet.file

    def cell(self, cells: list, name: str):
        """The value under a field, None where the column or the cell is missing."""
        index = self.column.get(name)
        return cells[index] if index is not None and index < len(cells) else None

    def explain_empty(self, row: int, name: str) -> str:
        """Why a cell came back empty, as a half sentence for an error."""
        index = self.column.get(name)
        if index is not None and self.sheet.formulas is not None and self.sheet.formulas(row, index):
            return "holds a formula without a stored value (open the file, save it, or paste values)"
        return "is empty"


def plain(name: object) -> str:
    """Header names compare without case, blanks and punctuation: 'Onset Frame' is 'OnsetFrame'."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", str(name))).casefold() if name is not None else ""


def is_blank(cell: object) -> bool:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return isinstance(cell, str) and not cell.strip()


def read_sheets(path: Path, name: str) -> list[Sheet]:
    """All sheets of a file; anything that cannot be read is an AnnotationError that names the file (`name`)."""
    suffix = path.suffix.lower()
    if suffix in OLD_SUFFIXES:
        raise AnnotationError(f"{name}: {suffix} files are not read; open it and save it as .xlsx")
    if suffix not in TABLE_SUFFIXES:
        raise AnnotationError(f"{name}: a table is one of {', '.join(TABLE_SUFFIXES)}, not {suffix or 'a bare name'}")
    try:
        size = path.stat().st_size
        if size > MAX_TABLE_BYTES:
            raise AnnotationError(f"{name}: {size:,} bytes are refused, the limit for a table is {MAX_TABLE_BYTES:,}")
        if size == 0:
            raise AnnotationError(f"{name}: the file is empty")
        if suffix == ".parquet":
            return [_read_parquet(path, name)]
        if suffix in (".csv", ".tsv"):
            return [_read_csv(path, name)]
        return _read_xlsx(path, name)
    except AnnotationError:
        raise
    except OSError as error:
        raise AnnotationError(f"{name}: cannot be read: {error.strerror or error}") from error


def _read_xlsx(path: Path, name: str) -> list[Sheet]:
    try:
        import openpyxl
    except ImportError:
        raise ImportError('reading .xlsx needs openpyxl: pip install "aullm-hf[data]"') from None
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"\xd0\xcf\x11\xe0"):
        raise AnnotationError(f"{name}: this is an old .xls or an encrypted file under another name; save it as .xlsx")
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_UNPACKED_BYTES:
            raise AnnotationError(
                f"{name}: unpacks to {unpacked:,} bytes and is refused, the limit is {MAX_UNPACKED_BYTES:,}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            try:
                return [_read_sheet(sheet, path, name) for sheet in book.worksheets]
            finally:
                book.close()
    except (AnnotationError, OSError):
        raise
    except Exception as error:  # a damaged archive fails anywhere inside zipfile, the XML parser or openpyxl
        raise AnnotationError(
            f"{name}: not a readable .xlsx file ({type(error).__name__}: {error}); open it and save it again as .xlsx"
        ) from error


def _read_sheet(sheet, path: Path, name: str) -> Sheet:
    sheet.reset_dimensions()  # some writers store a wrong size, and the reader would believe it
    rows = []
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        if any(not is_blank(cell) for cell in cells):
            rows.append((number, list(cells)))
        _check_size(max(len(rows), number // 2), len(cells), name)  # blank rows cost time as well

    def is_formula(row: int, column: int) -> bool:
        return (row, column) in _formula_cells(path, sheet.title)

    return Sheet(file=name, name=sheet.title, rows=rows, formulas=is_formula)


def _formula_cells(path: Path, title: str, _known: dict = {}) -> set[tuple[int, int]]:  # noqa: B006  (a cache)
    import openpyxl

    stat = path.stat()
    key = (str(path), title, stat.st_mtime_ns, stat.st_size)
    if key not in _known:
        _known.clear()
        cells = set()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=False, keep_links=False)
            sheet = book[title]
            sheet.reset_dimensions()
            for number, row in enumerate(sheet.iter_rows(), start=1):
                cells.update((number, at) for at, cell in enumerate(row) if getattr(cell, "data_type", "") == "f")
            book.close()
        _known[key] = cells
    return _known[key]


def _read_csv(path: Path, name: str) -> Sheet:
    data = path.read_bytes()
    note = None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text, note = data.decode("gb18030"), "not UTF-8, read as GB18030"
        except UnicodeDecodeError:
            raise AnnotationError(f"{name}: neither UTF-8 nor GB18030 text; save it as CSV UTF-8") from None
    if "\0" in text:
        raise AnnotationError(f"{name}: holds NUL characters, so it is no CSV text; save it as CSV UTF-8")
    head = "\n".join(text.splitlines()[:HEADER_WITHIN])
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    rows = []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        for number, cells in enumerate(reader, start=1):
            if any(not is_blank(cell) for cell in cells):
                rows.append((number, [None if is_blank(cell) else cell for cell in cells]))
            _check_size(len(rows), len(cells), name)
    except csv.Error as error:
        raise AnnotationError(f"{name}: not readable as CSV, line {reader.line_num}: {error}") from error
    return Sheet(file=name, name="", rows=rows, encoding_note=note)


def _read_parquet(path: Path, name: str) -> Sheet:
    import pyarrow.parquet as parquet
    from pyarrow import ArrowException

    try:
        file = parquet.ParquetFile(path)
        _check_size(file.metadata.num_rows, len(file.schema_arrow.names), name)
        names = [name for name in file.schema_arrow.names if name != "frames"]
        columns = file.read(columns=names).to_pydict()
    except (ArrowException, OSError, ValueError, KeyError) as error:
        raise AnnotationError(f"{name}: not a readable Parquet file ({error})") from error
    rows = [(1, list(names))]
    rows += [(at + 2, [columns[name][at] for name in names]) for at in range(file.metadata.num_rows)]
    return Sheet(file=name, name="", rows=rows)


def _check_size(rows: int, columns: int, name: str) -> None:
    if rows > MAX_ROWS or columns > MAX_COLUMNS:
        raise AnnotationError(f"{name}: more than {MAX_ROWS:,} rows or {MAX_COLUMNS:,} columns are refused")


def find_header(sheet: Sheet, columns: dict[str, tuple[str, ...]], required: tuple[str, ...]) -> Table | None:
    """The sheet as a Table if a row near its top names all required fields; `columns[field]` are accepted names."""
    for at, (number, cells) in enumerate(sheet.rows[:HEADER_WITHIN]):
        names = [plain(cell) for cell in cells]
        column: dict[str, int] = {}
        for name, accepted in columns.items():
            places = [place for place, text in enumerate(names) if text and text in map(plain, accepted)]
            if len(places) > 1:
                raise AnnotationError(
                    f"{sheet.file}, row {number}: the header names {cells[places[0]]!r} twice, "
                    f"in columns {places[0] + 1} and {places[1] + 1}; remove one"
                )
            if places:
                column[name] = places[0]
        if all(name in column for name in required):
            header = ["" if cell is None else str(cell) for cell in cells]
            return Table(sheet, number, header, column, sheet.rows[at + 1 :])
    return None


def missing_columns(
    sheet: Sheet, columns: dict[str, tuple[str, ...]], required: tuple[str, ...]
) -> tuple[int, list[str]]:
    """(row, names) for the row that comes nearest to being the header; what an error should say is missing."""
    best: tuple[int, list[str]] = (0, [columns[name][0] for name in required])
    for number, cells in sheet.rows[:HEADER_WITHIN]:
        names = {plain(cell) for cell in cells}
        missing = [columns[name][0] for name in required if not names & set(map(plain, columns[name]))]
        if len(missing) < len(best[1]):
            best = number, missing
    return best
