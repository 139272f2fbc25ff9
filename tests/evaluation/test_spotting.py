"""Spotted intervals are counted as the spotting challenges do; the count is done again here, in another way."""

from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.evaluation.spotting import count_spotted, kinds_of, match_intervals, score_spotting

interval = st.tuples(st.integers(0, 30), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair)))
intervals = st.lists(interval, max_size=5)


def frames_overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Intersection over union of two sets of frames."""
    one, other = set(range(a[0], a[1] + 1)), set(range(b[0], b[1] + 1))
    return len(one & other) / len(one | other)


def most_pairs(spotted, truth, iou: float) -> int:
    """By trying every assignment."""
    small, large = sorted((spotted, truth), key=len)
    return max(
        (
            sum(frames_overlap(a, b) >= iou for a, b in zip(chosen, order, strict=True))
            for size in range(len(small) + 1)
            for chosen in combinations(small, size)
            for order in permutations(large, size)
        ),
        default=0,
    )


@settings(max_examples=60, deadline=None)
@given(intervals, intervals, st.sampled_from([0.3, 0.5, 1.0]))
def test_pairs_are_as_many_as_any_assignment_has(spotted, truth, iou):
    pairs = match_intervals(np.array(spotted), np.array(truth), iou)
    assert len(pairs) == most_pairs(spotted, truth, iou)
    assert all(frames_overlap(spotted[a], truth[b]) >= iou for a, b in pairs)
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


def table(rows, **more) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["video", "onset", "offset", "kind"]).assign(**more)


video_rows = st.lists(
    st.tuples(st.sampled_from("abc"), interval, st.sampled_from(["micro", "longer"])).map(
        lambda row: (row[0], *row[1], row[2])
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(video_rows, video_rows)
def test_counts_are_pooled_over_videos_and_kinds_stay_apart(spotted, truth):
    scores = score_spotting(table(spotted), table(truth))
    total = np.zeros(3, int)
    for kind in ("micro", "longer"):
        found = 0
        for video in "abc":
            ours, theirs = (
                [row[1:3] for row in rows if row[0] == video and row[3] == kind] for rows in (spotted, truth)
            )
            if len(ours) > 5 or len(theirs) > 5:
                return
            found += most_pairs(ours, theirs, 0.5)
        counts = np.array(
            [found, sum(r[3] == kind for r in spotted) - found, sum(r[3] == kind for r in truth) - found]
        )
        assert scores.loc[kind, ["tp", "fp", "fn"]].tolist() == counts.tolist()
        total += counts
    assert scores.loc["overall", ["tp", "fp", "fn"]].tolist() == total.tolist()
    tp, fp, fn = total
    if tp + fn:
        assert scores.loc["overall", "f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    else:
        assert np.isnan(scores.loc["overall", "f1"])


def test_a_truth_spotted_twice_makes_one_of_the_two_right():
    truth = table([("a", 10, 19, "micro")])
    assert score_spotting(table([("a", 10, 19, "micro"), ("a", 11, 20, "micro")]), truth).loc["micro", "fp"] == 1


def test_half_the_frames_are_enough_and_a_frame_less_is_not():
    truth = table([("a", 1, 10, "micro")])
    assert count_spotted(table([("a", 6, 10, "micro")]), truth)["tp"].sum() == 1
    assert count_spotted(table([("a", 7, 10, "micro")]), truth)["tp"].sum() == 0


def test_faces_are_counted_apart_and_what_was_not_looked_at_is_no_interval():
    truth = table([("a", 1, 10, "micro")], face_id=1)
    assert count_spotted(table([("a", 1, 10, "micro")], face_id=0), truth)["tp"].sum() == 0
    hidden = table([("a", 1, 10, "micro")], face_id=1, reason="no face")
    assert score_spotting(hidden, truth).loc["overall", ["tp", "fp", "fn"]].tolist() == [0, 0, 1]


def test_micro_is_up_to_half_a_second():
    rows = pd.DataFrame({"onset": [1, 1, 1], "offset": [101, 102, 26]})
    assert kinds_of(rows, 200) == ["micro", "longer", "micro"]
    assert kinds_of(rows, [200, 200, 25]) == ["micro", "longer", "longer"]


def test_intervals_over_videos_hold_the_figure():
    rng = np.random.default_rng(0)
    truth = table([(f"v{at}", 10, 19, "micro") for at in range(20)])
    spotted = table([(f"v{at}", 10, 19, "micro") for at in range(20) if rng.random() < 0.6])
    scores = score_spotting(spotted, truth, resamples=200)
    low, figure, high = scores.loc["micro", ["low", "f1", "high"]]
    assert 0 < low < figure < high < 1
    assert scores.loc["longer", ["low", "high"]].isna().all()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pd.DataFrame({"video": ["a"], "onset": [1], "offset": [2]}), "spotted has no column kind"),
        (table([("a", 1, 2, "tiny")]), "the kind 'tiny'; allowed are micro, longer"),
        (table([("a", 5, 2, "micro")]), "ends before it begins: 5 to 2"),
        (table([("a", None, 2, "micro")]), "without onset or offset"),
    ],
)
def test_wrong_tables_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        score_spotting(rows, table([("a", 1, 2, "micro")]))
