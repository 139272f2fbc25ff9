"""Files from strangers: nothing outside the root is read, nothing is executed, nothing is endless."""

import os
import shutil
import struct
import zipfile
import zlib

import openpyxl
import pytest

from aullm_hf.data import AnnotationError, ClipError, DataError, UnsafePathError, report_of
from aullm_hf.data.reading import folders, images, tables
from aullm_hf.data.reading.folders import Tree, natural_key, safe_name
from support.clip_trees import CASME2_HEADER, write_frames, write_xlsx

TABLE = "CASME2-coding-20190701.xlsx"
FOLDER = "Cropped/Cropped/sub01/EP02_01f"


@pytest.mark.parametrize(
    "name",
    ["..", "../x", "a/../b", "/etc", "a/b", "a\\b", "C:x", "~", "x\0y", "", " ", ".", "x\ny", "..\\x", "x\x85",
     "x\u2028y"],
)  # fmt: skip
def test_names_that_lead_away_are_refused(name):
    with pytest.raises(UnsafePathError, match="is not followed"):
        safe_name(name)


def test_names_that_only_look_odd_are_fine():
    for name in ("EP02_01f", "a..b", "..a", "spNO.1", "EP 01", "é"):
        assert safe_name(name) == name
    assert safe_name("a/b.mp4", nested=True) == "a/b.mp4"
    with pytest.raises(UnsafePathError):
        safe_name("a/../../b", nested=True)


def test_a_row_cannot_reach_a_folder_outside(casme2, load, tmp_path):
    write_frames(tmp_path / "secret", "img{}.jpg", range(46, 56))
    for column, value in ((2, "../../../../secret"), (1, "../../secret")):
        book = openpyxl.load_workbook(casme2 / TABLE)
        book.worksheets[0].cell(2, column).value = value
        book.save(casme2 / TABLE)
        with pytest.raises(DataError, match="outside the data root") as caught:
            load("casme2", casme2)
        assert "unsafe" in {problem.kind for problem in caught.value.problems}


@pytest.mark.parametrize("what", ["frame", "clip", "subject", "table"])
def test_links_out_of_the_root_are_not_followed(casme2, load, tmp_path, what):
    target = {"frame": f"{FOLDER}/reg_img46.jpg", "clip": FOLDER, "subject": "Cropped/Cropped/sub01", "table": TABLE}
    inside, outside = casme2 / target[what], tmp_path / "outside"
    shutil.move(inside, outside)
    os.symlink(outside, inside)
    with pytest.raises(DataError, match="leads outside the data root" if what != "table" else "no table"):
        load("casme2", casme2)


def test_links_within_the_root_are_followed(casme2, load):
    (casme2 / FOLDER).rename(casme2 / "moved")
    os.symlink(casme2 / "moved", casme2 / FOLDER)
    assert len(load("casme2", casme2)) == 3


def test_a_folder_of_a_hundred_thousand_frames_is_refused(casme2, load, monkeypatch):
    assert folders.MAX_FOLDER_ENTRIES < 100_000
    monkeypatch.setattr(folders, "MAX_FOLDER_ENTRIES", 50)
    write_frames(casme2 / FOLDER, "reg_img{}.jpg", range(100, 160), size=(4, 4))
    with pytest.raises(ClipError, match=r"EP02_01f holds more than 50 files and is refused"):
        load("casme2", casme2)
    clips = load("casme2", casme2, on_error="skip")
    assert len(clips) == 2 and "is refused" in str(report_of(clips).skipped[0])


def png(width, height, rows=1):
    """A PNG that claims any size and holds a few rows."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(width + 1) * rows))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(casme2, load):
    (casme2 / FOLDER / "reg_img46.jpg").write_bytes(png(60_000, 60_000))
    with pytest.raises(ClipError, match=r"reg_img46.jpg: 60,000 x 60,000 pixels are refused, the limit is"):
        load("casme2", casme2)


def test_an_images_end_has_to_be_there(tmp_path):
    import cv2
    import numpy as np

    image = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    for suffix in (".jpg", ".png", ".bmp", ".tif"):
        path = tmp_path / f"x{suffix}"
        cv2.imwrite(str(path), image)
        whole = path.read_bytes()
        assert images.read_gray(path, path.name).shape == (40, 30)
        assert images.check_image(whole, "x") == (40, 30)
        for length in (0, 5, 25, len(whole) // 2, len(whole) - 20):
            path.write_bytes(whole[:length])
            with pytest.raises(ClipError, match=f"x{suffix}"):
                images.read_gray(path, path.name)


def test_formulas_are_never_evaluated_and_stored_values_are_taken(casme2, load):
    book = openpyxl.load_workbook(casme2 / TABLE)
    book.worksheets[0]["D2"] = '=HYPERLINK("http://example.org", 46)'
    book.save(casme2 / TABLE)
    with pytest.raises(AnnotationError, match="OnsetFrame holds a formula without a stored value"):
        load("casme2", casme2)
    stored = casme2 / "stored.xlsx"  # the same formula with the value a spreadsheet program has stored
    with zipfile.ZipFile(casme2 / TABLE) as old, zipfile.ZipFile(stored, "w") as new:
        for entry in old.infolist():
            data = old.read(entry.filename)
            new.writestr(entry, data.replace(b"</f><v></v>", b"</f><v>46</v>").replace(b"</f><v />", b"</f><v>46</v>"))
    (casme2 / TABLE).unlink()
    assert load("casme2", casme2)[0]["onset"] == 46


def test_a_table_that_unpacks_to_too_much_is_refused(casme2, load, monkeypatch):
    monkeypatch.setattr(tables, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(AnnotationError, match=r"unpacks to .* bytes and is refused"):
        load("casme2", casme2)


def test_a_table_of_endless_rows_is_refused(tmp_path, load, monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 20)
    write_xlsx(
        tmp_path / "t.xlsx", [CASME2_HEADER, *[["01", f"EP{n}", None, 1, 2, 3, None, 4, "x"] for n in range(30)]]
    )
    with pytest.raises(AnnotationError, match="more than 20 rows"):
        load("casme2", tmp_path)


def test_file_names_that_are_no_text_do_not_stop_a_load(casme2, load):
    folder = os.fsencode(casme2 / FOLDER)
    try:
        with open(folder + b"/caf\xe9.txt", "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    clips = load("casme2", casme2)
    assert "caf\\udce9.txt" in str(report_of(clips).notes[0])


def test_a_row_number_beyond_reason_is_refused(casme2, load):
    source, target = casme2 / TABLE, casme2 / "far.xlsx"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            new.writestr(entry, old.read(entry.filename).replace(b'<row r="4"', b'<row r="99999999"'))
    source.unlink()
    with pytest.raises(AnnotationError, match="more than 100,000 rows"):
        load("casme2", casme2)


def test_a_loop_of_links_ends(casme2, load):
    os.symlink(casme2, casme2 / "Cropped" / "again")
    assert len(load("casme2", casme2, images="Cropped/Cropped")) == 3


def test_frames_sort_naturally():
    assert sorted(["img10", "img2", "img046", "Img1"], key=natural_key) == ["Img1", "img2", "img10", "img046"]


def test_a_root_is_a_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ClipError, match="is not a folder"):
        Tree(tmp_path / "file")
