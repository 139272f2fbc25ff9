"""`aullm predict --spot`: one row per expression, cropped from its own onset, of its own face."""

import numpy as np
import pandas as pd
import pytest

from aullm_hf.commands.main import main
from aullm_hf.data.synthetic.recordings import synthetic_recording
from aullm_hf.inference import spot_expressions
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.inference.spotting.naming import NONE_SPOTTED, clips_of_expressions, nearest_face
from support.videos import noise, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    recording = synthetic_recording(seconds=24, fps=25, seed=9)
    return write_video(tmp_path_factory.mktemp("talks") / "talk.mkv", list(recording))


def predict(*arguments) -> int:
    return main(["predict", *map(str, arguments), "--no_face", "--spot"])


def test_every_expression_has_a_row_with_its_aus(video, checkpoint, tmp_path, make_detector):
    out = tmp_path / "aus.csv"
    assert predict(video, "--model", checkpoint, "--out", out) == 0
    table, spotted = pd.read_csv(out), pd.read_csv(tmp_path / "aus.spotted.csv")
    expressions = spotted[spotted["reason"].isna()].reset_index(drop=True)
    assert len(table) == len(expressions) >= 2
    for name in ("onset", "offset", "apex", "kind", "score", "start", "end"):
        assert (table[name] == expressions[name]).all()
    assert table["p_AU4"].notna().all() and table["reason"].isna().all()
    # The same numbers as of a clip that begins and ends there.
    one = table.iloc[1]
    clip = ClipSource("talk", video, onset=int(one["onset"]), offset=int(one["offset"]))
    (rows,) = make_detector(window=0).detect([clip])
    assert rows["p_AU4"].iloc[0] == pytest.approx(one["p_AU4"], abs=1e-5)
    before = out.read_bytes()
    assert predict(video, "--model", checkpoint, "--out", out) == 0
    assert out.read_bytes() == before


def test_without_a_place_they_are_printed_and_a_recording_without_any_says_so(video, checkpoint, tmp_path, capsys):
    still = write_video(tmp_path / "still.mkv", [noise(1)[0]] * 50)
    assert predict(video, still, "--model", checkpoint) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("talk.mkv  " in line for line in lines) >= 2
    assert lines[-1].endswith(f"still.mkv: not read: {NONE_SPOTTED}")
    assert predict(video, "--model", checkpoint, "--window", 0.5) == 2
    assert "leave --window and --stride out" in capsys.readouterr().err


def test_of_several_faces_the_row_is_that_of_the_expression():
    spotted = spot_expressions([], face="none")
    row = {
        "source": "a",
        "face_id": 1,
        "kind": "micro",
        "onset": 3,
        "apex": 5,
        "offset": 9,
        "score": 0.9,
        "reason": "",
    }
    row |= {"box_x": 50.0, "box_y": 0.0, "box_w": 20.0, "box_h": 20.0}
    table = pd.DataFrame([row]).reindex(columns=spotted.columns)
    (clip,) = clips_of_expressions(ClipSource("a", columns={"who": "B"}), table)
    assert (clip.onset, clip.offset, clip.columns["who"], clip.columns["apex"]) == (3, 9, "B", 5)
    faces = pd.DataFrame({"face_id": [0, 1, 2], "box_x": [0.0, 100, 48], "box_y": 0.0, "box_w": 20.0, "box_h": 20.0})
    assert nearest_face(faces, clip)[["face_id", "box_x"]].values.tolist() == [[1, 48]]
    alone = faces.iloc[:1].assign(box_x=np.nan)
    assert nearest_face(alone, clip)["face_id"].tolist() == [1]
