"""`aullm data convert` and `aullm data compare`: from a prediction and another tool's table to tables and figures."""

import numpy as np
import pandas as pd
import pytest

from aullm_hf.data import read_tool_table
from aullm_hf.inference import AUDetector
from aullm_hf.inference.formats import WRITERS, read_table
from aullm_hf.inference.pictures.tool_timeline import tool_timeline
from support.commands import aullm
from support.tool_tables import TABLES, write_tool_table
from support.videos import write_video


@pytest.fixture(scope="module")
def place(checkpoint, tmp_path_factory):
    """A video of twelve frames with its prediction, and OpenFace's table of the first six of them."""
    folder = tmp_path_factory.mktemp("comparison")
    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
    write_video(folder / "talk.mp4", frames, codec="libx264", pixels="yuv420p")
    write_tool_table(folder / "talk.csv", "OpenFace 2")
    options = ("--no_face", "--window", 0.12, "--stride", 0.04)
    aullm("predict", folder / "talk.mp4", "--model", checkpoint, "--out", folder / "aus.csv", *options)
    return folder


def test_two_commands_give_the_comparison(place, tmp_path, capsys):
    assert aullm("data", "compare", place / "aus.csv", place / "talk.csv", "--out", tmp_path / "found") == 0
    table = pd.read_csv(tmp_path / "found" / "agreement.csv")
    assert table[["au", "tool_gives"]].values.tolist() == [
        ["AU1", "intensity, 0 to 5"],
        ["AU12", "occurrence"],
        ["AU12", "intensity, 0 to 5"],
    ]
    assert set(table["windows"]) == {3}  # 0, 0.04 and 0.08 s; the tool lost the face in the sixth frame
    windows = pd.read_csv(tmp_path / "found" / "windows.csv")
    assert windows["tool_intensity_AU12"].tolist() == [1.0, 2.5, 3.0]
    text = (tmp_path / "found" / "agreement.md").read_text()
    assert text.strip() in capsys.readouterr().out and "agreement with another tool, not truth" in text
    assert (tmp_path / "found" / "talk.png").stat().st_size > 10_000


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_converted_table_is_what_python_reads(suffix, place, tmp_path):
    assert aullm("data", "convert", place / "talk.csv", "--out", tmp_path / f"frames{suffix}") == 0
    written = read_table(tmp_path / f"frames{suffix}")
    expected = read_tool_table(place / "talk.csv")
    assert list(written) == list(expected)
    assert written["start"].tolist() == pytest.approx(expected["start"].tolist())
    assert written["intensity_AU12"].fillna(-1).tolist() == pytest.approx(
        expected["intensity_AU12"].fillna(-1).tolist()
    )


@pytest.mark.parametrize("suffix", WRITERS)
def test_results_come_back_as_they_were_written(suffix, place, checkpoint, tmp_path):
    expected = read_table(place / "aus.csv")
    WRITERS[suffix](tmp_path / f"aus{suffix}", iter([expected]))
    pd.testing.assert_frame_equal(read_table(tmp_path / f"aus{suffix}"), expected)
    detector = AUDetector(checkpoint, face="none", window=0.12, stride=0.04)
    computed = pd.concat(detector.detect([str(place / "talk.mp4")]), ignore_index=True)
    assert expected.dtypes.to_dict() == computed.dtypes.to_dict()
    assert expected["p_AU1"].tolist() == pytest.approx(computed["p_AU1"].tolist())


def test_a_table_that_is_no_prediction_is_refused_in_one_line(place, tmp_path, capsys):
    assert aullm("data", "compare", place / "talk.csv", place / "talk.csv", "--out", tmp_path / "found") == 2
    assert "no AU is in both tables: the prediction has none" in capsys.readouterr().err
    assert aullm("data", "compare", place / "talk.mp4", place / "talk.csv", "--out", tmp_path / "found") == 2
    assert "results are one of .csv, .parquet" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize("tool", TABLES)
def test_the_figure_draws_a_tools_numbers_by_their_scale_and_a_bar_where_an_au_occurs(tool, place, tmp_path):
    frames = read_tool_table(write_tool_table(tmp_path / "talk.csv", tool), fps=25)
    frames = frames[frames["face_id"] == 0]
    axes = tool_timeline(read_table(place / "aus.csv"), frames).axes
    (panel,) = [one for one in axes if one.get_title("left").startswith("AU12")]
    drawn = [line for line in panel.lines if line.get_color() == "#E69F00"]
    (numbers,) = [line for line in drawn if len(line.get_xdata()) == 6]
    assert numbers.get_ydata()[:5] == pytest.approx([0, 0.1, 0.2, 0.6, 0.8])
    bars = [line.get_xdata() for line in drawn if len(line.get_xdata()) == 2]
    assert np.array(bars) == pytest.approx(np.array([[0.1, 0.18]]) if "active_AU12" in frames else np.empty((0,)))


def test_a_figure_without_an_au_of_both_is_refused(place):
    frames = read_tool_table(place / "talk.csv")
    with pytest.raises(ValueError, match="0 AUs in common"):
        tool_timeline(read_table(place / "aus.csv"), frames.filter(regex="^(?!.*_AU)"))
