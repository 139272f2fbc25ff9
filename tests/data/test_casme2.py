"""CASME II from its own files, and what every loader shares: rows, doubts, errors, corrections of cells."""

import shutil

import numpy as np
import openpyxl
import pytest

from aullm_hf.data import AnnotationError, ClipError, DataError, report_of
from support.clip_trees import CASME2_HEADER, CASME2_ROWS, casme2_tree, write_frames, write_xlsx

TABLE = "CASME2-coding-20190701.xlsx"


def set_cell(root, row, column, value):
    book = openpyxl.load_workbook(root / TABLE)
    book.worksheets[0].cell(row, column).value = value
    book.save(root / TABLE)


def test_rows_are_what_the_files_say(casme2, load):
    clips = load("casme2", casme2)
    rows = [{name: row[name] for name in row if name != "frames"} for row in clips]
    assert rows[0] == {
        "clip_id": "casme2/01/EP02_01f/46",
        "dataset": "casme2",
        "subject": "01",
        "clip": "EP02_01f",
        "onset": 46,
        "apex": 50,
        "offset": 55,
        "fps": 200.0,
        "aus": [1, 2],
        "intensities": [None, None],
        "au_text": "L1+L2",
        "emotion": "happiness",
    }
    assert [row["aus"] for row in rows] == [[1, 2], [12], [4, 9, 10, 14]]
    assert [np.asarray(row["frames"]).shape for row in clips] == [(10, 64, 64), (5, 64, 64), (9, 64, 64)]
    assert clips.features["frames"].dtype == "uint8"
    report = report_of(clips)
    assert (report.clips, report.rows, report.frames, report.subjects) == (3, 3, 24, {"01": 2, "02": 1})
    assert not report.problems
    assert "3 clips of 2 subjects, 24 frames" in clips.info.description


def test_frames_are_in_the_order_of_their_numbers(tmp_path, load):
    root = casme2_tree(tmp_path / "tree", [["01", "EP01", None, 9, None, 11, None, 4, "others"]])
    folder = root / "Cropped" / "Cropped" / "sub01" / "EP01"
    folder.mkdir()
    import cv2

    for number, level in ((9, 10), (10, 120), (11, 240)):
        cv2.imwrite(str(folder / f"reg_img{number}.png"), np.full((20, 20), level, np.uint8))
    clips = load("casme2", root).with_format("numpy", dtype=np.uint8)
    assert clips[0]["frames"][:, 0, 0].tolist() == [10, 120, 240]


@pytest.mark.parametrize("subject", [1, 1.0, "1", "01", "sub01", " 01 "])
@pytest.mark.parametrize("numbers", [(46, 55), ("46", "55"), (46.0, 55.0), (" 46 ", "55.0")])
def test_numbers_may_be_any_type_of_cell(casme2, load, subject, numbers):
    for column, value in ((1, subject), (4, numbers[0]), (6, numbers[1])):
        set_cell(casme2, 2, column, value)
    assert load("casme2", casme2)[0]["clip_id"] == "casme2/01/EP02_01f/46"


@pytest.mark.parametrize("value", ["/", None, "", "?", "nan"])
def test_a_missing_apex_is_null_and_a_doubt(casme2, load, value):
    set_cell(casme2, 2, 5, value)
    clips = load("casme2", casme2)
    assert clips[0]["apex"] is None and len(clips) == 3
    assert [(p.kind, p.row, p.clip) for p in report_of(clips).doubts] == [("apex", 2, "01/EP02_01f")]


@pytest.mark.parametrize(("value", "said"), [(46, "is the onset"), (55, "is the offset"), (99, "lies outside")])
def test_an_odd_apex_is_kept_and_doubted(casme2, load, value, said):
    set_cell(casme2, 2, 5, value)
    clips = load("casme2", casme2)
    assert clips[0]["apex"] == value
    assert said in report_of(clips).doubts[0].message


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        (1, "x", "Subject is 'x'"),
        (1, None, "Subject is empty"),
        (2, None, "Filename is empty"),
        (2, "../EP02_01f", "outside"),
        (2, "..", "outside"),
        (4, "abc", "OnsetFrame is 'abc'"),
        (4, 46.5, "46.5"),
        (4, -1, "-1"),
        (4, True, "True"),
        (4, 99, "the offset 55 lies before the onset 99"),
        (4, "=A1+1", "holds a formula without a stored value"),
        (6, None, "OffsetFrame is empty"),
        (6, 46, "one frame shows no motion"),
        (6, 99999, "99,954 frames, over 5,000"),
        (8, "4x", "4X"),
        (8, None, "Action Units is empty"),
        (8, 4.5, "4.5"),
        (8, "R12 or R14", "no published reading"),
    ],
)
def test_a_bad_cell_is_named_with_file_row_and_value(casme2, load, column, value, said):
    set_cell(casme2, 2, column, value)
    with pytest.raises(DataError, match=said) as caught:
        load("casme2", casme2)
    assert f"{TABLE}, row 2" in str(caught.value)
    clips = load("casme2", casme2, on_error="skip")
    assert [row["clip"] for row in clips] == ["EP01_2", "EP06_02_01"]
    assert {problem.row for problem in report_of(clips).skipped} == {2}
    assert said in str(report_of(clips))


def test_all_problems_are_listed_at_once(casme2, load):
    set_cell(casme2, 2, 4, "abc")
    set_cell(casme2, 3, 8, "hello")
    frame = next((casme2 / "Cropped/Cropped/sub02/EP06_02_01").iterdir())
    frame.write_bytes(frame.read_bytes()[:300])
    with pytest.raises(AnnotationError) as caught:
        load("casme2", casme2)
    assert len(caught.value.problems) == 3
    for said in ("row 2", "'abc'", "row 3", "HELLO", frame.name, "truncated"):
        assert said in str(caught.value)


def test_missing_folders_gaps_and_strays_are_listed(casme2, load):
    folder = casme2 / "Cropped" / "Cropped"
    (folder / "sub01" / "EP02_01f" / "reg_img48.jpg").unlink()
    (folder / "sub01" / "EP02_01f" / "shortcut.lnk").write_bytes(b"x")
    write_frames(folder / "sub09" / "EP02_02f", "reg_img{}.jpg", range(1, 5))
    shutil.rmtree(folder / "sub02")
    with pytest.raises(ClipError, match="no folder of subject 02"):
        load("casme2", casme2)
    clips = load("casme2", casme2, on_error="skip")
    report = report_of(clips)
    assert len(clips[0]["frames"]) == 9
    assert [(p.kind, p.clip) for p in report.skipped] == [("no-folder", "02/EP06_02_01")]
    assert ["1 of 10 frames are missing: 48" in p.message for p in report.doubts] == [True]
    assert {(p.kind, p.clip) for p in report.notes} == {("stray", "01/EP02_01f"), ("no-row", "sub09/EP02_02f")}


def test_a_folder_longer_than_its_row_is_doubted(casme2, load):
    write_frames(casme2 / "Cropped/Cropped/sub01/EP01_2", "reg_img{}.jpg", range(13, 20))
    clips = load("casme2", casme2)
    assert len(clips[1]["frames"]) == 5
    assert "holds frames 8..19, the table has 8..12" in report_of(clips).doubts[0].message


def test_a_row_named_twice_is_an_error(casme2, load):
    book = openpyxl.load_workbook(casme2 / TABLE)
    book.worksheets[0].append(CASME2_ROWS[0])
    book.save(casme2 / TABLE)
    with pytest.raises(AnnotationError, match=r"row 5.*onset 46 again, after row 2"):
        load("casme2", casme2)


def test_two_files_for_one_frame_are_an_error(casme2, load):
    folder = casme2 / "Cropped/Cropped/sub01/EP02_01f"
    shutil.copy(folder / "reg_img46.jpg", folder / "reg_img046.jpg")
    with pytest.raises(ClipError, match="two files for frame 46"):
        load("casme2", casme2)


@pytest.mark.parametrize("column", ["Subject", "Filename", "OnsetFrame", "OffsetFrame", "Action Units"])
def test_a_missing_column_is_named(tmp_path, load, column):
    header = ["Other" if name == column else name for name in CASME2_HEADER]
    root = casme2_tree(tmp_path / "tree", header=header)
    with pytest.raises(AnnotationError, match=f"{TABLE}.*row 1: lacks the column '{column}'"):
        load("casme2", root)


def test_a_missing_optional_column_is_a_doubt(tmp_path, load):
    header = ["Other" if name == "Estimated Emotion" else name for name in CASME2_HEADER]
    clips = load("casme2", casme2_tree(tmp_path / "tree", header=header))
    assert clips[0]["emotion"] is None
    assert "has no column 'Estimated Emotion'" in report_of(clips).doubts[0].message


def test_the_newest_table_is_taken_and_strangers_have_to_be_named(casme2, load):
    write_xlsx(casme2 / "CASME2-coding-20140508.xlsx", [CASME2_HEADER, CASME2_ROWS[0]])
    clips = load("casme2", casme2)
    assert len(clips) == 3 and "20140508" in str(report_of(clips).notes[0])
    assert len(load("casme2", casme2, table="CASME2-coding-20140508.xlsx")) == 1
    (casme2 / TABLE).rename(casme2 / "mine.xlsx")
    (casme2 / "CASME2-coding-20140508.xlsx").rename(casme2 / "yours.xlsx")
    with pytest.raises(AnnotationError, match=r"2 tables fit CASME II: 'mine.xlsx', 'yours.xlsx'; pass table="):
        load("casme2", casme2)


def test_a_damaged_newest_table_is_not_replaced_by_an_older_one(casme2, load):
    write_xlsx(casme2 / "CASME2-coding-20140508.xlsx", [CASME2_HEADER, CASME2_ROWS[0]])
    (casme2 / TABLE).write_bytes(b"damaged")
    with pytest.raises(AnnotationError, match=r"20190701.xlsx: not a readable .xlsx file(.|\n)*pass table="):
        load("casme2", casme2)
    assert len(load("casme2", casme2, table="CASME2-coding-20140508.xlsx")) == 1


def test_another_data_sets_table_is_recognised(samm, load):
    with pytest.raises(AnnotationError, match=r"has the column 'Inducement Code', so it is another data set's table"):
        load("casme2", samm)


def test_old_excel_files_say_what_to_do(casme2, load):
    (casme2 / TABLE).rename(casme2 / "CASME2_label_Ver_2.xls")
    with pytest.raises(AnnotationError, match=r"\.xls files are not read; open it and save it as \.xlsx"):
        load("casme2", casme2)


def test_a_csv_copy_of_the_table_is_read(casme2, load):
    book = openpyxl.load_workbook(casme2 / TABLE)
    lines = [",".join("" if c is None else str(c) for c in r) for r in book.worksheets[0].iter_rows(values_only=True)]
    (casme2 / TABLE).unlink()
    (casme2 / "coding.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    assert [row["aus"] for row in load("casme2", casme2)] == [[1, 2], [12], [4, 9, 10, 14]]


def test_image_folders_are_chosen_by_the_face_option_or_by_name(casme2, load):
    for subject, clip, _, onset, _, offset, *_ in CASME2_ROWS:
        folder = casme2 / "CASME2_RAW_selected" / "CASME2_RAW_selected" / f"sub{subject}" / clip
        write_frames(folder, "img{}.jpg", range(onset, offset + 1), size=(48, 64))
    clips = load("casme2", casme2)
    assert report_of(clips).images == "Cropped/Cropped"
    assert "'Cropped/Cropped' is taken of 2 image folders" in str(report_of(clips).notes[0])
    raw = load("casme2", casme2, images="CASME2_RAW_selected")
    assert report_of(raw).images == "CASME2_RAW_selected/CASME2_RAW_selected"
    with pytest.raises(ClipError, match="images='nowhere' is not a folder"):
        load("casme2", casme2, images="nowhere")


def test_wrong_arguments_say_what_is_allowed(casme2, load, tmp_path):
    with pytest.raises(ValueError, match=r"there is no data set 'casme9'.*casme2"):
        load("casme9", casme2)
    with pytest.raises(ValueError, match="root is the folder"):
        load("casme2")
    with pytest.raises(ValueError, match="on_error='ignore' is not allowed"):
        load("casme2", casme2, on_error="ignore")
    with pytest.raises(ValueError, match="either='last' is not allowed; choose one of 'literature', 'first', 'drop'"):
        load("casme2", casme2, either="last")
    with pytest.raises(TypeError, match="has no option 'eiter'"):
        load("casme2", casme2, eiter="first")
    with pytest.raises(ClipError, match="is not a folder"):
        load("casme2", tmp_path / "nowhere")
