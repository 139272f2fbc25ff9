"""Agreement with another tool: which frames belong to a window, what is counted, what is said not to be comparable."""

import numpy as np
import pandas as pd
import pytest

from aullm_hf.evaluation import compare_with_tool
from aullm_hf.evaluation.agreement import rank_correlation, videos_of_both
from aullm_hf.evaluation.counting import kappa_of_counts


def prediction_of(p: list[float], source: str = "talk.mp4", aus: tuple[int, ...] = (12,)) -> pd.DataFrame:
    """Windows of three frames at 10 frames per second, two frames apart."""
    start = np.arange(len(p)) * 0.2
    table = pd.DataFrame({"source": source, "face_id": 0, "start": start, "end": start + 0.2, "reason": ""})
    for au in aus:
        table[f"p_AU{au}"], table[f"active_AU{au}"] = p, np.array(p) >= 0.5
    return table


def frames_of(source: str = "talk", face: int = 0, **columns) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    about = {"tool": "OpenFace 2", "source": source, "face_id": face, "start": np.arange(count) / 10}
    return pd.DataFrame(about | columns)


def test_an_occurrence_in_any_frame_of_a_window_counts():
    occurs = [False, False, False, True, False, False, False]  # in the second window alone
    found = compare_with_tool(prediction_of([0.1, 0.9, 0.6]), frames_of(active_AU12=occurs))
    (row,) = found.table.to_dict("records")
    assert row["windows"] == 3 and row["tool_active"] == 1
    assert row["auc"] == 1.0
    assert row["kappa"] == pytest.approx(0.4)  # right in 2 of 3; by chance (2*1 + 1*2) / 9
    assert np.isnan(row["rank_correlation"])


def test_of_numbers_the_rise_within_a_window_counts_and_not_the_fall():
    values = [0.0, 0.0, 1.0, 1.0, 4.0, 2.0, 0.0]  # rises by 1, by 3, and falls
    found = compare_with_tool(prediction_of([0.5, 0.9, 0.1]), frames_of(intensity_AU12=values))
    assert found.windows["tool_intensity_AU12"].tolist() == [1, 3, 0]
    (row,) = found.table.to_dict("records")
    assert row["rank_correlation"] == pytest.approx(1.0)
    assert pd.isna(row["tool_active"]) and np.isnan(row["auc"])
    assert any("a probability that an AU moves is no intensity" in note for note in found.notes)


def test_windows_that_one_side_could_not_read_are_left_out_and_counted():
    prediction = prediction_of([0.1, 0.9, 0.6, 0.2])
    prediction.loc[0, ["reason", "p_AU12"]] = ["no face", np.nan]
    values = [0.0, 0.0, 0.0, np.nan, 0.0, 0.0, 0.0, 0.5, 1.0]
    found = compare_with_tool(prediction, frames_of(intensity_AU12=values))
    assert found.windows["start"].tolist() == pytest.approx([0.4, 0.6])
    assert found.notes[0] == "1 window of the prediction left out, with a reason instead of numbers."
    assert found.notes[1].startswith("1 window left out, where the tool has fewer than two frames or saw no face")


def test_aus_of_one_side_are_named():
    frames = frames_of(intensity_AU12=[0.0] * 7, active_AU45=[False] * 7)
    found = compare_with_tool(prediction_of([0.1, 0.9, 0.6], aus=(4, 12)), frames)
    assert "Only the prediction has AU4: not compared." in found.notes
    assert "Only OpenFace 2 has AU45: not compared." in found.notes
    assert found.table["au"].tolist() == ["AU12"]
    assert "| AU12 | intensity, 0 to 5 | 3 | – | – | – | – |" in found.to_markdown()  # constant: undefined


def test_videos_are_matched_by_name_where_there_are_several():
    prediction = pd.concat([prediction_of([0.1] * 3, name) for name in ("a/one.mp4", "a/two.mp4", "a/three.mp4")])
    frames = pd.concat([frames_of(name, active_AU12=[False] * 7) for name in ("b/two.avi", "one")])
    pairs = videos_of_both(prediction, frames)
    assert [(rows["source"].iloc[0], of_tool["source"].iloc[0]) for rows, of_tool in pairs] == [
        ("a/one.mp4", "one"),
        ("a/two.mp4", "b/two.avi"),
    ]
    with pytest.raises(ValueError, match=r"no video is in both tables by its name: .* a/one.mp4"):
        videos_of_both(prediction, frames.assign(source="other"))


def test_of_several_faces_the_one_with_the_most_rows_is_compared():
    others = frames_of(face=1, active_AU12=[True] * 3)
    found = compare_with_tool(prediction_of([0.1] * 3), pd.concat([others, frames_of(active_AU12=[False] * 7)]))
    assert found.table["tool_active"].tolist() == [0]
    assert any("several faces" in note for note in found.notes)


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (prediction_of([0.5], aus=(4,)), "no AU is in both tables: the prediction has AU4, the tool's has AU12"),
        (prediction_of([0.5]).assign(start=None, end=None), "no times in its columns start and end"),
        (prediction_of([0.5]).drop(columns="reason"), "no column reason; give a table of `aullm predict`"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(prediction, message):
    with pytest.raises(ValueError, match=message):
        compare_with_tool(prediction, frames_of(active_AU12=[False] * 7))


def test_figures_agree_with_libraries_that_compute_them_otherwise():
    metrics, stats = pytest.importorskip("sklearn.metrics"), pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 60), rng.integers(0, 5, 60)
    assert rank_correlation(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
    ours, theirs = first > 2, second > 2
    counts = [(ours & theirs).sum(), (ours & ~theirs).sum(), (~ours & theirs).sum(), (~ours & ~theirs).sum()]
    assert kappa_of_counts(np.array(counts)) == pytest.approx(metrics.cohen_kappa_score(ours, theirs))
    assert np.isnan(kappa_of_counts(np.array([0, 0, 0, 7])))
