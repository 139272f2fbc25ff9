"""Other tools' tables become frames with this package's names, each kind of number under a prefix of its own."""

import pandas as pd
import pytest

from aullm_hf.data import AnnotationError, read_tool_table
from support.tool_tables import LIBREFACE, OPENFACE_2, OPENFACE_3, RISE, TABLES, write_tool_table

WITHOUT_TIMES = ("OpenFace 3", "py-feat")
EXPECTED = {  # tool -> the columns of AUs
    "OpenFace 2": {"intensity_AU1", "intensity_AU12", "active_AU12", "active_AU28"},
    "OpenFace 3": {f"score_AU{au}" for au in (1, 2, 4, 6, 9, 12, 25, 26)},
    "py-feat": {"p_AU1", "p_AU12", "p_AU43"},
    "LibreFace": {"active_AU1", "active_AU12", "intensity_AU5", "intensity_AU12"},
    "MediaPipe": {"score_AU1", "score_AU9", "score_AU12", "score_AU25", "score_AU26"},
}
LARGEST = {"intensity": 5, "score": 1, "p": 1}


@pytest.fixture(params=TABLES)
def tool(request):
    return request.param


def read(folder, tool, **options):
    options = {"fps": 25, **options} if tool in WITHOUT_TIMES else options
    return read_tool_table(write_tool_table(folder / "talk.csv", tool), **options)


def test_a_table_is_recognised_and_its_numbers_keep_their_kind(tool, tmp_path):
    frames = read(tmp_path, tool)
    assert set(frames["tool"]) == {tool}
    assert {name for name in frames if "_AU" in name} == EXPECTED[tool]
    first = frames[frames["face_id"] == 0].reset_index(drop=True)
    (number,) = [name for name in frames if name.endswith("_AU12") and not name.startswith("active_")]
    assert (first[number].iloc[:5] / LARGEST[number.partition("_")[0]]).tolist() == pytest.approx(RISE)
    if "active_AU12" in frames:
        assert first["active_AU12"].iloc[:5].tolist() == [False, False, False, True, True]


def test_a_frame_without_a_face_is_a_row_with_a_reason_and_no_numbers(tool, tmp_path):
    last = read(tmp_path, tool).iloc[-1]
    assert last["reason"] == f"{tool} found no face" and not last["face_found"]
    assert last[list(EXPECTED[tool])].isna().all()


def test_times_are_seconds_from_the_first_frame(tool, tmp_path):
    frames = read(tmp_path, tool)
    times = frames.loc[frames["face_id"] == 0, "start"]
    assert times.tolist() == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.2])
    assert (frames["start"] == frames["end"]).all()


def test_the_rate_that_is_given_stands_above_the_tables_times(tmp_path):
    frames = read(tmp_path, "OpenFace 2", fps=200)
    assert frames["start"].tolist() == pytest.approx([at / 200 for at in range(6)])


def test_libreface_writes_seconds_under_the_name_of_milliseconds(tmp_path):
    table = pd.read_csv(write_tool_table(tmp_path / "talk.csv", "LibreFace"))
    table["frame_time_in_ms"] /= 1000
    table.to_csv(tmp_path / "new.csv", index=False)
    expected = read(tmp_path, "LibreFace")
    assert read_tool_table(tmp_path / "new.csv")["start"].tolist() == pytest.approx(expected["start"].tolist())


def test_several_faces_of_a_frame_are_told_apart(tmp_path):
    frames = read(tmp_path, "py-feat")
    assert frames.groupby("face_id").size().tolist() == [6, 5]
    assert (frames.loc[frames["face_id"] == 1, "p_AU12"] == 0.3).all()


def test_the_video_is_named_by_the_table_or_by_its_file(tmp_path):
    names = {tool: set(read(tmp_path, tool)["source"]) for tool in TABLES}
    assert names["OpenFace 3"] == names["py-feat"] == {"clips/talk.mp4"}
    assert names["OpenFace 2"] == names["LibreFace"] == {"talk"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("talk.csv", "a,b\n1,2\n", r"talk.csv: its columns \(a, b\) are of no tool that is known: OpenFace 3, OpenF"),
        ("talk.csv", "", "talk.csv: cannot be read as a table"),
        ("talk.json", "{}", r"talk.json: tables of other tools are read as .csv or .tsv"),
        ("talk.csv", OPENFACE_3, r"OpenFace 3 that has no times; give the video's frames per second \(fps\)"),
        ("talk.csv", OPENFACE_2.replace("3.00", "three", 1), "row 5: AU12_r is 'three', which is no number"),
        ("talk.csv", OPENFACE_3.replace("[[0.0, 0.0, ", "[[0.0, "), r"row 2: action_units is '\[\[0.0, 0.1"),
        ("talk.csv", LIBREFACE.replace("frame_", "x_"), "without a column frame_time_in_ms or frame_idx: single pic"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_place(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read_tool_table(tmp_path / name)


@pytest.mark.parametrize("cell", ["[" * 5000, "[[" + "1," * 9 + "1]]", "__import__('os')", "{}"])
def test_a_cell_that_should_be_a_list_is_not_run(cell, tmp_path):
    (tmp_path / "talk.csv").write_text(f'frame_index,action_units\n0,"{cell}"\n')
    with pytest.raises(AnnotationError, match="OpenFace 3 writes"):
        read_tool_table(tmp_path / "talk.csv", fps=25)
