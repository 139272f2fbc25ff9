"""The benchmark on footage: what counts as moving, what is joined, and that its AUC is that of a count of pairs."""

import argparse

import numpy as np
import pandas as pd
import pytest
from benchmarks import footage
from benchmarks.footage import BLENDSHAPES, RISE, STILL, auc_rows, false_alarms, join_windows, largest_change

import support.tiny_run  # noqa: F401  finds `benchmarks`
from support.tiny import tiny_model


def test_a_rise_is_from_an_earlier_frame_to_a_later_one():
    rising, falling = np.array([[0.1], [0.1], [0.5]]), np.array([[0.5], [0.3], [0.35]])
    assert largest_change(rising) == pytest.approx((0.4, 0.4))
    assert largest_change(falling) == pytest.approx((0.05, 0.2))
    assert largest_change(np.hstack([rising, falling])) == pytest.approx((0.4, 0.4))


def shapes_of(frames: int, **moving: np.ndarray) -> pd.DataFrame:
    """A tool's table of one video in which only the named blendshapes move."""
    names = sorted({name for group in BLENDSHAPES.values() for name in group})
    columns = {name: moving.get(name, np.full(frames, 0.2)) for name in names}
    return pd.DataFrame({"video": "a.mp4", "time": np.arange(frames) / 10, **columns})


def rows_of(windows: list[tuple[int, int]], p: list[float], reason: str = "") -> pd.DataFrame:
    first, last = np.array(windows).T
    table = {"source": "videos/a.mp4", "reason": reason, "start": first / 10, "end": last / 10 + 0.0004}
    return pd.DataFrame(table | {"p_AU12": p, "active_AU12": np.array(p) >= 0.5})


def test_windows_take_the_blendshapes_of_their_own_frames_and_only_where_both_sides_see_a_face():
    smile = np.array([0.1, 0.1, 0.1, 0.4, 0.4, 0.4, np.nan, 0.4])
    shapes = shapes_of(8, mouthSmileRight=smile)
    shapes.loc[6, shapes.columns[2:]] = np.nan  # no face
    windows = join_windows(rows_of([(0, 2), (2, 3), (3, 5), (5, 7)], [0.1, 0.9, 0.6, 0.9]), shapes)
    assert windows["rise_AU12"].tolist() == pytest.approx([0, 0.3, 0])
    assert windows["still"].tolist() == [True, False, True]
    assert join_windows(rows_of([(0, 2)], [0.9], reason="no face"), shapes).empty
    assert false_alarms(windows) == pytest.approx(
        {"windows": 3, "of them still": 2, "still ones with an active AU": 0.5, "active AUs per window": 2 / 3}
    )


def test_the_auc_is_the_share_of_pairs_in_the_right_order_and_pairs_are_pooled_within_aus():
    rng = np.random.default_rng(0)
    count = 60
    table = pd.DataFrame({"video": rng.choice(["a", "b", "c"], count), "still": False})
    for au in (1, 12):
        change = rng.choice([0.0, 0.1, 0.4], count)
        table[f"rise_AU{au}"], table[f"range_AU{au}"] = change, change
        table[f"p_AU{au}"] = np.round(rng.random(count) + change, 1)
    *aus, together, mean = auc_rows(table, least=1, resamples=50)
    right = total = 0
    for au, row in zip((1, 12), aus, strict=True):
        moving = table.loc[table[f"rise_AU{au}"] > RISE, f"p_AU{au}"].to_numpy()
        still = table.loc[table[f"range_AU{au}"] <= STILL, f"p_AU{au}"].to_numpy()
        pairs = (moving[:, None] > still) + 0.5 * (moving[:, None] == still)
        assert row["AUC"] == pytest.approx(pairs.mean()) and row["low"] <= row["AUC"] <= row["high"]
        assert (row["moving"], row["still"]) == (len(moving), len(still))
        right, total = right + pairs.sum(), total + pairs.size
    assert together["AUC"] == pytest.approx(right / total)
    assert mean["AU"] == "mean of 2" and mean["AUC"] == pytest.approx(np.mean([row["AUC"] for row in aus]))
    assert len(auc_rows(table, least=count, resamples=0)) == 3  # none has enough for the mean


def test_the_benchmark_reads_videos_in_windows(tmp_path, monkeypatch):
    """From a video and the tool's table to both tables, with a model; faces are found elsewhere."""
    from support.videos import noise, write_video

    video = tmp_path / "a.mp4"
    write_video(video, noise(30), rate=10)
    smile = np.tile([0.1, 0.1, 0.1, 0.1, 0.6, 0.1, 0.1, 0.1, 0.1, 0.1], 3)
    shapes_of(30, mouthSmileLeft=smile).to_csv(tmp_path / "shapes.csv", index=False)
    detector = footage.AUDetector
    monkeypatch.setattr(
        footage, "AUDetector", lambda model, **options: detector(tiny_model(), **{**options, "face": "none"})
    )
    args = argparse.Namespace(
        videos=tmp_path, table=tmp_path / "shapes.csv", model="tiny", face_model=None, least=1, resamples=10,
        windows_out=tmp_path / "windows.csv",
    )  # fmt: skip
    tables = footage.measure(args)
    rows, (alarms,) = tables.values()
    windows = pd.read_csv(tmp_path / "windows.csv")
    assert [row["AU"] for row in rows] == ["AU1", "AU4", "AU12", "all", "mean of 1"]
    assert alarms["windows"] == len(windows) > 5 and (windows["end"] - windows["start"]).max() < footage.WINDOW
    assert rows[2]["moving"] == (windows["rise_AU12"] > RISE).sum() > 0 == rows[0]["moving"]
    assert rows[0]["still"] == len(windows)
