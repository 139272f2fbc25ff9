"""A table as bytes: whole workbooks and, since a changed byte rarely survives a zip archive, the XML inside them."""

import io
import tempfile
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd

from aullm_hf.data import AnnotationError
from aullm_hf.data.published.casme2 import LAYOUT
from aullm_hf.data.reading.tables import find_header, missing_columns, read_sheets
from aullm_hf.inference.reading.sources import expand_sources
from support.clip_trees import CASME2_HEADER
from support.refusals import outcome

ROWS = [CASME2_HEADER, ["01", "EP02_01f", None, 46, 59, 86, None, "4+L10", "happiness"]]
SHEET, BOOK = "xl/worksheets/sheet1.xml", "xl/workbook.xml"
KINDS = (".xlsx", SHEET, BOOK, ".csv", ".tsv", ".parquet")


def _workbook() -> bytes:
    book = openpyxl.Workbook()
    for row in ROWS:
        book.active.append(row)
    book.active["J1"], book.active["J2"] = "note", "=1+2"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


WORKBOOK = _workbook()


def seeds() -> list[bytes]:
    """The first byte chooses what the others are."""
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as archive:
        inside = {name: archive.read(name) for name in (SHEET, BOOK)}
    text = "\n".join(",".join("" if cell is None else str(cell) for cell in row) for row in ROWS)
    parquet = io.BytesIO()
    pd.DataFrame([ROWS[1]], columns=[str(name or at) for at, name in enumerate(ROWS[0])]).to_parquet(parquet)
    contents = (WORKBOOK, inside[SHEET], inside[BOOK], text.encode(), text.replace(",", "\t").encode("gb18030"),
                parquet.getvalue())  # fmt: skip
    return [bytes([kind]) + content for kind, content in enumerate(contents)]


def attempt(data: bytes) -> str:
    kind, content = KINDS[data[0] % len(KINDS)] if data else ".csv", data[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{kind if kind.startswith('.') else '.xlsx'}"
        path.write_bytes(content if kind.startswith(".") else _with_part(kind, content))

        def read() -> None:
            for sheet in read_sheets(path, path.name):
                if (table := find_header(sheet, LAYOUT.columns, LAYOUT.required)) is None:
                    missing_columns(sheet, LAYOUT.columns, LAYOUT.required)
                else:
                    [table.explain_empty(row, name) for row, _ in table.rows[:3] for name in table.column]
            list(expand_sources(path))

        return outcome(read, path.name, types=(AnnotationError,))


def _with_part(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(WORKBOOK)) as whole, zipfile.ZipFile(made, "w") as changed:
        for entry in whole.namelist():
            changed.writestr(entry, content if entry == name else whole.read(entry))
    return made.getvalue()
