"""Break a small tree in one or several places, by a seed: what spreadsheets and unpacked archives do to people."""

import datetime
import os
import random
import shutil
import tempfile
from pathlib import Path

import openpyxl

CELLS = [
    None, "", " ", float("nan"), 4.0, 4.5, -3, 0, 10**12, True, False, "46", "46.0", " 47 ", "abc", "#REF!", "#N/A",
    "=1+2", '=HYPERLINK("http://x")', "..", "../../etc/passwd", "/etc/passwd", "C:\\Windows", "~root", "a/b", "sub01",
    "01", 1, 1.0, "R12 or R14", "(R6 or R12)+R15", "ref(7B)+43", "10A/B", "A/L12", "soft focus", "4，7", "4;7", "4++7",
    "+", "4+", "1214", "AU4(k)+L7", "AU99", "４＋７", "4 7", "12+15 ", "(((((((((4)))))))))", "(4", "4)", "?", "/",
    "-", "x" * 5000, "é", "\u200b4", "4\n7", "4\t", "NaN", "nan", "None", "0", "1e3", "0x1F", "٤", "²",
    datetime.datetime(2020, 1, 2), datetime.time(3, 4), datetime.date(1900, 1, 1),
]  # fmt: skip


def _sheet(path: Path):
    book = openpyxl.load_workbook(path)
    return book, book.worksheets[0]


def change_cell(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    row, column = rng.randint(1, sheet.max_row), rng.randint(1, sheet.max_column)
    value = rng.choice(CELLS)
    sheet.cell(row, column).value = value
    book.save(table)
    return f"cell {row},{column} = {value!r:.40}"


def change_body_cell(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    row = rng.randint(max(sheet.max_row - 2, 2), sheet.max_row)
    column, value = rng.randint(1, min(sheet.max_column, 9)), rng.choice(CELLS)
    sheet.cell(row, column).value = value
    book.save(table)
    return f"body cell {row},{column} = {value!r:.40}"


def shift_row(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    row = rng.randint(1, sheet.max_row)
    values = [cell.value for cell in sheet[row]]
    by = rng.choice((-2, -1, 1, 2))
    for at in range(len(values)):
        sheet.cell(row, at + 1).value = values[at - by] if 0 <= at - by < len(values) else None
    book.save(table)
    return f"row {row} shifted by {by}"


def drop_column(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    column = rng.randint(1, sheet.max_column)
    sheet.delete_cols(column)
    book.save(table)
    return f"column {column} deleted"


def swap_columns(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    a, b = rng.sample(range(1, sheet.max_column + 1), 2)
    for row in range(1, sheet.max_row + 1):
        one, other = sheet.cell(row, a).value, sheet.cell(row, b).value
        sheet.cell(row, a).value, sheet.cell(row, b).value = other, one
    book.save(table)
    return f"columns {a} and {b} swapped"


def drop_row(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    row = rng.randint(1, sheet.max_row)
    sheet.delete_rows(row)
    book.save(table)
    return f"row {row} deleted"


def add_rows(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    kind = rng.choice(("blank", "copy", "total", "junk"))
    last = [cell.value for cell in sheet[sheet.max_row]]
    if kind == "blank":
        sheet.insert_rows(rng.randint(1, sheet.max_row), rng.randint(1, 3))
    elif kind == "copy":
        sheet.append(last)
    elif kind == "total":
        sheet.append(["Total", None, None, 17])
    else:
        sheet.append([rng.choice(CELLS) for _ in last])
    book.save(table)
    return f"row added: {kind}"


def column_to_floats(root: Path, table: Path, rng: random.Random) -> str:
    book, sheet = _sheet(table)
    column, as_text = rng.randint(1, sheet.max_column), rng.random() < 0.5
    for row in range(2, sheet.max_row + 1):
        value = sheet.cell(row, column).value
        if isinstance(value, int):
            sheet.cell(row, column).value = str(value) if as_text else float(value)
        elif isinstance(value, str) and value.isdigit():
            sheet.cell(row, column).value = float(value)
    book.save(table)
    return f"column {column} as {'text' if as_text else 'floats'}"


def break_table(root: Path, table: Path, rng: random.Random) -> str:
    kind = rng.choice(("empty", "half", "text", "renamed", "gone", "folder", "noise", "csv", "ole", "no rows", "lock"))
    data = table.read_bytes()
    if kind == "empty":
        table.write_bytes(b"")
    elif kind == "half":
        table.write_bytes(data[: rng.randint(1, len(data) - 1)])
    elif kind == "text":
        table.write_text("Subject,Filename\n")
    elif kind == "renamed":
        table.rename(table.with_suffix(".xls"))
    elif kind == "gone":
        table.unlink()
    elif kind == "folder":
        table.unlink()
        table.mkdir()
    elif kind == "noise":
        at = rng.randint(0, len(data) - 20)
        table.write_bytes(data[:at] + rng.randbytes(20) + data[at + 20 :])
    elif kind == "csv":
        book, sheet = _sheet(table)
        lines = [";".join("" if v is None else str(v) for v in row) for row in sheet.iter_rows(values_only=True)]
        table.unlink()
        table.with_suffix(".csv").write_bytes(
            "\r\n".join(lines).encode(rng.choice(("utf-8-sig", "utf-16", "gb18030")))
        )
    elif kind == "ole":
        table.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + data)
    elif kind == "no rows":
        book, sheet = _sheet(table)
        sheet.delete_rows(rng.choice((1, sheet.max_row - 2, 15)), 99)
        book.save(table)
    else:
        (table.parent / f"~${table.name}").write_bytes(b"lock")
    return f"table {kind}"


def break_frame(root: Path, table: Path, rng: random.Random) -> str:
    frames = sorted(root.rglob("*.jpg"))
    if not frames:
        return "no frame left"
    frame = rng.choice(frames)
    kind = rng.choice(
        ("half", "empty", "gone", "text", "other size", "copy", "png inside", "link out", "folder", "noise")
    )
    data = frame.read_bytes()
    if kind == "half":
        frame.write_bytes(data[: len(data) // rng.choice((2, 3, 20))])
    elif kind == "empty":
        frame.write_bytes(b"")
    elif kind == "gone":
        frame.unlink()
    elif kind == "text":
        frame.write_text("this is no image")
    elif kind == "other size":
        import cv2
        import numpy as np

        cv2.imwrite(str(frame), np.zeros((9, 7), np.uint8))
    elif kind == "copy":
        shutil.copy(frame, frame.with_name(frame.stem + rng.choice((" (1)", " - Copy", "_1")) + ".jpg"))
    elif kind == "png inside":
        frame.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    elif kind == "link out":
        frame.unlink()
        frame.symlink_to("/etc/hostname")
    elif kind == "folder":
        frame.unlink()
        frame.mkdir()
    else:
        at = rng.randint(0, max(len(data) - 8, 0))
        frame.write_bytes(data[:at] + rng.randbytes(8) + data[at + 8 :])
    return f"frame {kind}"


def break_folder(root: Path, table: Path, rng: random.Random) -> str:
    folders = sorted({frame.parent for frame in root.rglob("*.jpg")})
    if not folders:
        return "no folder left"
    folder = rng.choice(folders)
    kind = rng.choice(
        ("gone", "empty", "renamed", "stray", "extra", "link out", "dots", "subject gone", "file", "loop")
    )
    if kind == "gone":
        shutil.rmtree(folder)
    elif kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "renamed":
        folder.rename(folder.with_name(folder.name.swapcase() + rng.choice(("", " ", "x"))))
    elif kind == "stray":
        for name in ("Thumbs.db", "x.lnk", "._img1.jpg", ".DS_Store", "notes.txt", "imgabc.jpg"):
            (folder / name).write_bytes(b"stray")
    elif kind == "extra":
        shutil.copytree(folder, folder.with_name(folder.name + "_new"))
    elif kind == "link out":
        shutil.rmtree(folder)
        folder.symlink_to(tempfile.gettempdir())
    elif kind == "dots":
        (folder / "..img46.jpg").write_bytes(b"x")
    elif kind == "subject gone":
        shutil.rmtree(folder.parent)
    elif kind == "file":
        shutil.rmtree(folder)
        folder.write_bytes(b"")
    else:
        os.symlink(folder.parent, folder / "loop")
    return f"folder {kind}"


MUTATIONS = (
    change_cell, change_body_cell, change_body_cell, change_body_cell, shift_row, drop_column, swap_columns, drop_row,
    add_rows, column_to_floats, break_table, break_frame, break_frame, break_folder, break_folder,
)  # fmt: skip


def fuzz(root: Path, table: Path, seed: int) -> str:
    """Apply one to three mutations; the words say what was done, for a failing test's message."""
    rng = random.Random(seed)
    done = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutate = rng.choice(MUTATIONS)
        if not table.is_file() or (done and table.read_bytes()[:2] != b"PK"):
            mutate = rng.choice((break_frame, break_folder))
        try:
            done.append(mutate(root, table, rng))
        except Exception as error:  # the mutation before left nothing to break, or openpyxl cannot open its own file
            done.append(f"{mutate.__name__} not possible: {error!r:.60}")
    return "; ".join(done)
