import csv

import numpy as np
import pytest

from aullm_hf.data import AnnotationError, DataError, report_of
from support.clip_trees import write_frames, write_xlsx


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def write_video(path, frames=12, size=(48, 64), fps=25):
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            image = np.full((*size, 3), 40 + 15 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def own(tmp_path):
    root = tmp_path / "own"
    write_frames(root / "anna" / "smile", "frame{}.png", range(1, 9))
    write_video(root / "videos" / "b.mp4")
    write_csv(
        root / "clips.csv",
        [
            ["clip", "subject", "AUs", "onset", "offset", "fps"],
            ["smile", "anna", "6+12", 2, 7, 200],
            ["videos/b.mp4", "bert", "4", "", "", ""],
            ["b", "carl", "none", 3, 6, ""],
        ],
    )
    return root


def test_frames_and_videos_with_a_csv(own, load):
    clips = load("own", own)
    assert [(row["clip_id"], row["aus"], len(row["frames"]), row["fps"]) for row in clips] == [
        ("own/anna/smile/2", [6, 12], 6, 200.0),
        ("own/bert/videos/b.mp4/1", [4], 12, 25.0),
        ("own/carl/b/3", [], 4, 25.0),
    ]
    levels = [frame[0][0] for frame in clips[1]["frames"]]
    assert levels == sorted(levels) and levels[-1] > levels[0]
    assert load(own)["clip_id"] == clips["clip_id"]  # a path alone will do
    named = load("own", own, dataset_name="lab")
    assert named[0]["clip_id"] == "lab/anna/smile/2" and named[0]["dataset"] == "lab"


@pytest.mark.parametrize(
    ("apex", "said"),
    [
        (9, "the apex 9 lies outside onset 2 .. offset 7"),
        (2, "the apex 2 is the onset"),
        ("top", "apex is 'top', which is not a frame number; loaded without an apex"),
    ],
)
def test_a_doubtful_apex_is_a_doubt_as_in_the_published_tables(own, load, apex, said):
    write_csv(own / "clips.csv", [["clip", "subject", "onset", "apex", "offset"], ["smile", "anna", 2, apex, 7]])
    clips = load("own", own)
    (doubt,) = report_of(clips).doubts
    assert doubt.message == said and doubt.row == 2
    write_csv(own / "clips.csv", [["clip", "subject", "onset", "apex", "offset"], ["smile", "anna", 2, "", 7]])
    assert report_of(load("own", own)).doubts == []


def test_all_frames_are_taken_without_onset_and_offset(tmp_path, load):
    write_frames(tmp_path / "t" / "x", "img{}.jpg", range(5, 15))
    write_xlsx(tmp_path / "t" / "labels.xlsx", [["Subject", "Clip", "AU4", "AU12"], ["a", "x", 1, 0]])
    (row,) = load("own", tmp_path / "t")
    assert (row["onset"], row["offset"], len(row["frames"]), row["aus"], row["au_text"]) == (5, 14, 10, [4], "4")


def test_parquet_with_lists_and_unlabelled_clips(tmp_path, load):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_frames(tmp_path / "t" / "x", "img{}.jpg", range(1, 5))
    write_frames(tmp_path / "t" / "y", "img{}.jpg", range(1, 5))
    path = tmp_path / "t" / "table.parquet"
    pq.write_table(pa.table({"clip": ["x", "y"], "subject": ["1", "2"], "aus": [[4, 12], []]}), path)
    assert [row["aus"] for row in load("own", tmp_path / "t")] == [[4, 12], []]
    pq.write_table(pa.table({"clip": ["x", "y"], "subject": ["1", "2"]}), path)
    clips = load("own", tmp_path / "t")
    assert [row["aus"] for row in clips] == [None, None]
    assert "no labels" in report_of(clips).notes[0].message


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (["../smile", "anna", "6", 2, 7, 200], "outside the data root"),
        (["/etc", "anna", "6", 2, 7, 200], "outside the data root"),
        (["smile", "..", "6", 2, 7, 200], "outside the data root"),
        (["nowhere", "anna", "6", 2, 7, 200], "no folder and no video of that name"),
        (["smile", "", "6", 2, 7, 200], "subject is empty"),
        (["smile", "anna", "", 2, 7, 200], "aus is empty"),
        (["smile", "anna", "6x", 2, 7, 200], "6X"),
        (["smile", "anna", "6", "x", 7, 200], "onset is 'x'"),
        (["smile", "anna", "6", 7, 2, 200], "the offset 2 lies before the onset 7"),
        (["smile", "anna", "6", 50, 60, 200], "holds frames 1..8"),
        (["smile", "anna", "6", 2, 7, "fast"], "fps is 'fast'"),
        (["videos/b.mp4", "anna", "6", 2, 70, ""], "has the frames 1..12, the table asks for 2..70"),
        (["smile", "anna", "4 or 6", 2, 7, 200], "either='first'"),
        (["smile", "anna", "6", 3, 3, 200], "onset and offset are both 3: one frame shows no motion"),
        (["smile", "anna", "6", 8, "", 200], "onset and offset are both 8: one frame shows no motion"),
        (["empty", "anna", "6", "", "", 200], "anna/empty holds no numbered images"),
    ],
)
def test_bad_rows_are_named(own, load, row, said):
    (own / "anna" / "empty").mkdir()
    header = ["clip", "subject", "aus", "onset", "offset", "fps"]
    write_csv(own / "clips.csv", [header, ["smile", "anna", "6+12", 2, 7, 200], row])
    with pytest.raises(DataError, match=said) as caught:
        load("own", own)
    assert "clips.csv, row 3" in str(caught.value)
    clips = load("own", own, on_error="skip")
    assert len(clips) == 1 and {problem.row for problem in report_of(clips).skipped} == {3}


@pytest.mark.parametrize("damage", ["half", "text", "empty"])
def test_damaged_videos_are_listed(own, load, damage):
    video = own / "videos" / "b.mp4"
    data = video.read_bytes()
    video.write_bytes({"half": data[: len(data) // 2], "text": b"no video", "empty": b""}[damage])
    with pytest.raises(DataError, match=r"videos/b\.mp4"):
        load("own", own)
    clips = load("own", own, on_error="skip")
    assert [row["clip"] for row in clips] == ["smile"]
    assert {problem.row for problem in report_of(clips).skipped} == {3, 4}


def test_a_name_that_fits_twice_has_to_be_longer(own, load):
    write_frames(own / "dora" / "smile", "frame{}.png", range(1, 9))
    assert len(load("own", own)) == 3  # anna's own folder is meant
    write_csv(own / "clips.csv", [["clip", "subject", "aus"], ["smile", "emil", "6"]])
    with pytest.raises(DataError, match="several fit: 'anna/smile', 'dora/smile'; write more of the path"):
        load("own", own)


def test_a_table_without_its_columns(tmp_path, load):
    write_csv(tmp_path / "clips.csv", [["clip", "aus"], ["x", "4"]])
    with pytest.raises(AnnotationError, match=r"clips\.csv, row 1: lacks the column 'subject'"):
        load("own", tmp_path)


def test_a_folder_is_searched_for_videos_once_however_many_rows_ask(tmp_path, monkeypatch):
    """Looking at every file again for every row made a cached load of 250 clips take seconds."""
    from aullm_hf.data.reading import folders

    for name in ("a.mp4", "b.MP4", "c.jpg"):
        (tmp_path / name).touch()
    tree = folders.Tree(tmp_path)
    asked = []
    splitext = folders.os.path.splitext
    monkeypatch.setattr(folders.os.path, "splitext", lambda name: asked.append(name) or splitext(name))
    for _ in range(50):
        assert tree.files_ending("", frozenset({".mp4"})) == ["a.mp4", "b.MP4"]
    assert len(asked) == 3
