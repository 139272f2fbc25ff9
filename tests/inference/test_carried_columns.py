"""A caller's table: what it asked for and what else it says is in the rows, so that they can be joined back."""

import json

import numpy as np
import pandas as pd
import pytest

from aullm_hf import detect_aus
from aullm_hf.commands.main import main
from aullm_hf.inference import name_aus
from support.videos import noise, write_folder, write_video

READ = {
    "csv": pd.read_csv,
    "parquet": pd.read_parquet,
    "json": lambda path: pd.DataFrame(json.loads(path.read_text())),
    "jsonl": lambda path: pd.read_json(path, lines=True, dtype=False),
}


@pytest.fixture
def table(tmp_path):
    """Three ranges of one frame folder, and a video by seconds."""
    write_folder(tmp_path / "EP01", noise(40), first=10)
    write_video(tmp_path / "talk.mkv", noise(50))
    path = tmp_path / "clips.csv"
    path.write_text(
        "Subject,path,onset,offset,start,end,emotion,=cmd,clip\n"
        "01,EP01,10,20,,,happy,1,a\n"
        "02,EP01,15,,,,,2,b\n"
        "02,EP01,30,45,,,surprise,3,c\n"
        "03,talk.mkv,,,0.5,1.5,disgust,4,d\n"
        "04,gone.mkv,,,soon,,other,5,e\n"
    )
    return path


@pytest.mark.parametrize("suffix", list(READ))
def test_rows_can_be_joined_back(table, checkpoint, tmp_path, suffix):
    out = tmp_path / f"aus.{suffix}"
    command = ["predict", str(table), "--model", str(checkpoint), "--no_face", "--out", str(out)]
    assert main(command) == 0
    rows, given = READ[suffix](out), pd.read_csv(table, dtype=str)
    assert len(rows) == 5
    assert [None if pd.isna(value) else int(value) for value in rows["onset"]] == [10, 15, 30, None, None]
    assert [None if pd.isna(value) else int(value) for value in rows["offset"]] == [20, None, 45, None, None]
    assert rows["path"].tolist() == given["path"].tolist()
    assert rows["Subject"].astype(str).str[-1].tolist() == ["1", "2", "2", "3", "4"]
    assert rows["emotion"].fillna("").tolist() == ["happy", "", "surprise", "disgust", "other"]
    formula = "'=cmd" if suffix == "csv" else "=cmd"  # a spreadsheet program would run it
    assert rows[formula].astype(int).tolist() == [1, 2, 3, 4, 5]
    assert rows["clip_given"].tolist() == list("abcde") and rows["clip"].tolist() == [0] * 5
    assert [None if pd.isna(v) else str(v) for v in rows["start_given"]] == [None, None, None, "0.5", "soon"]
    assert main([*command, "--names", "--overwrite"]) == 0
    assert READ[suffix](out)["emotion"].notna().sum() == 4 * 3


def test_texts_stay_texts(table, checkpoint, tmp_path):
    out = tmp_path / "aus.parquet"
    assert main(["predict", str(table), "--model", str(checkpoint), "--no_face", "--out", str(out)]) == 0
    assert pd.read_parquet(out)["Subject"].tolist() == ["01", "02", "02", "03", "04"]


def test_numbers_of_a_data_frame_stay_numbers(tmp_path, model, processor):
    folder = str(write_folder(tmp_path / "EP01", noise(20)))
    given = pd.DataFrame({
        "path": [folder] * 3, "onset": [1, 5, 9], "weight": [0.5, np.nan, 2], "trial": [7, 8, 9],
        "kept": [True, False, None], "mixed": [1, "b", None], "when": pd.to_datetime(["2024-01-02"] * 3),
    })  # fmt: skip
    for batch_size in (1, 2, 32):  # a column's type does not depend on how rows are batched
        rows = detect_aus(given, model, processor=processor, face="none", batch_size=batch_size, workers=1)
        assert rows["trial"].tolist() == [7, 8, 9] and rows["trial"].dtype == "Int64"
        assert rows["weight"].dtype == "float64" and rows["kept"].dtype == "boolean"
        assert rows["mixed"].tolist() == ["1", "b", None] and rows["when"].str.startswith("2024-01-02").all()
        assert rows["onset"].tolist() == [1, 5, 9] and "onset_given" not in rows
        joined = rows.merge(given[["path", "onset", "trial"]], on=["path", "onset"], suffixes=("", "_before"))
        assert (joined["trial"] == joined["trial_before"]).all() and len(joined) == 3
    assert name_aus(rows)["trial"].tolist() == [7, 7, 7, 8, 8, 8, 9, 9, 9]


def test_a_table_that_changed_changes_the_rows_in_place(table, checkpoint, tmp_path, capsys):
    out = tmp_path / "aus.csv"
    command = ["predict", str(table), "--model", str(checkpoint), "--no_face", "--out", str(out)]
    assert main(command) == 0
    before = pd.read_csv(out)
    table.write_text(table.read_text().replace("surprise", "fear"))
    capsys.readouterr()
    assert main(command) == 0
    assert "5 sources, 5 rows; 4 sources had rows already" in capsys.readouterr().err
    after = pd.read_csv(out)
    assert after["emotion"].tolist() == ["happy", np.nan, "fear", "disgust", "other"] or after["emotion"][2] == "fear"
    pd.testing.assert_frame_equal(after.drop(columns="emotion"), before.drop(columns="emotion"))


def test_frame_numbers_tell_lines_apart(table, checkpoint, capsys):
    assert main(["predict", str(table), "--model", str(checkpoint), "--no_face"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [("frames 10-20" in line, "frames 15-" in line, "frames 30-45" in line) for line in lines[:3]] == [
        (True, False, False), (False, True, False), (False, False, True)
    ]  # fmt: skip
