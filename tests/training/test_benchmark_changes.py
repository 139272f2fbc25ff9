"""The agreement of spotted expressions with another tool's blendshapes, on tables written by hand."""

import numpy as np
import pandas as pd
import pytest
from benchmarks.changes import CHANGES, SCORES, agreement, both_sides, changes_of, runs, touched

import support.tiny_run  # noqa: F401  finds `benchmarks`
from aullm_hf.data.reading.other_tools import BLENDSHAPES

NAMES = sorted({name for names in BLENDSHAPES.values() for name in names})
RATE = 10  # frames per second


def shapes_of(seconds: float, video: str = "a.mp4", **courses: dict[float, float]) -> pd.DataFrame:
    """A table in which blendshapes change in steps: name -> {second: value from then on}."""
    times = np.arange(round(seconds * RATE)) / RATE
    table = pd.DataFrame({"video": video, "time": times} | dict.fromkeys(NAMES, 0.0))
    for name, steps in courses.items():
        for second, value in steps.items():
            table.loc[table["time"] >= second - 1e-6, name] = value
    return table


def spotted(*rows: tuple[float, float, float], video: str = "a.mp4", reason: str = "") -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["start", "end", "score"]).assign(source=f"somewhere/{video}", reason=reason)
    return table


def test_a_change_is_where_a_blendshape_moves_and_blinks_are_none():
    shapes = shapes_of(10, jawOpen={3: 0.25, 3.3: 0.0}, mouthSmileLeft={7: 0.5}, eyeBlinkLeft={5: 1.0, 5.2: 0.0})
    assert changes_of(shapes, 0.2).tolist() == [[2.9, 3.3], [6.9, 7.0]]
    assert changes_of(shapes, 0.3).tolist() == [[6.9, 7.0]]
    slow = shapes_of(10, browInnerUp={second: second / 40 for second in range(1, 10)})
    assert len(changes_of(slow, 0.1)) == 0, "half a second holds one step of 0.025"


def test_shares_are_counted_over_all_videos():
    shapes = pd.concat(
        [
            shapes_of(20, "a.mp4", jawOpen={3: 0.5}, mouthPucker={12: 0.25, 12.2: 0.0}),
            shapes_of(20, "b.mp4", browInnerUp={6: 0.5}),
        ]
    )
    ours = pd.concat(
        [spotted((2.8, 3.4, 0.9), (16, 16.5, 0.7), (12.1, 12.4, 0.6)), spotted((15, 15.4, 0.9), video="b.mp4")]
    )
    rows = {(row["change of at least"], row["score of at least"]): row for row in agreement(ours, shapes)}
    assert set(rows) == {(change, score) for change in CHANGES for score in SCORES}
    counts = {key: (row["changes"], row["found"], row["spotted"], row["confirmed"]) for key, row in rows.items()}
    assert counts[0.1, 0.5] == counts[0.2, 0.5] == (3, "0.67", 4, "0.50")
    assert counts[0.2, 0.65] == (3, "0.33", 3, "0.33")
    assert counts[0.3, 0.8] == (2, "0.50", 2, "0.50")
    assert rows[0.3, 0.8]["found by chance"] == "0.00"


def test_chance_moves_the_intervals_around_the_video():
    shapes = shapes_of(20, jawOpen={1: 0.5})
    _, ours = both_sides(shapes, spotted((15.9, 17, 0.9)), 0.2, 0.5, turn=0.25)
    np.testing.assert_allclose(ours, [[15.9 + 0.25 * 19.9 - 19.9, 17 + 0.25 * 19.9 - 19.9]])
    assert touched(changes_of(shapes, 0.2), ours).tolist() == [True]


def test_what_one_side_could_not_see_counts_on_neither():
    shapes = shapes_of(20, jawOpen={3: 0.5}, mouthPucker={12: 0.5})
    shapes.loc[shapes["time"].between(15, 17), NAMES] = np.nan
    rows = pd.concat([spotted((16, 16.4, 0.9), (3, 3.2, 0.9)), spotted((11, 13, np.nan), reason="no face")])
    theirs, ours = both_sides(shapes, rows, 0.2, 0.5)
    assert theirs.tolist() == [[2.9, 3.0]] and ours.tolist() == [[3.0, 3.2]]
    unread = spotted((np.nan, np.nan, np.nan), reason="is no readable video")
    assert len(both_sides(shapes, unread, 0.2, 0.5)[0]) == 2


@pytest.mark.parametrize(
    ("held", "expected"), [("0110", [[1, 2]]), ("1001", [[0, 0], [3, 3]]), ("000", []), ("11", [[0, 1]])]
)
def test_runs(held, expected):
    assert runs(np.arange(len(held)), np.array([one == "1" for one in held])).tolist() == expected
