"""ICC(3,1) and MSE of intensities: held to an analysis of variance written out, and scored beside the occurrence."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aullm_hf.evaluation import score_predictions
from aullm_hf.evaluation.intensity import icc, mean_squared_error
from aullm_hf.evaluation.labels import join_labels, without_labels
from aullm_hf.evaluation.run_folder import read_table, write_table
from aullm_hf.evaluation.tables import result_tables

AUS = ("AU4", "AU12")
MARKS = [0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0]


@st.composite
def levels_and_truth(draw, unknown=True):
    """(N,) predicted and (N,) marked, NaN where not known; somewhere an AU is marked."""
    n = draw(st.integers(3, 40))
    truth = draw(st.lists(st.sampled_from([*MARKS, np.nan] if unknown else MARKS), min_size=n, max_size=n))
    levels = draw(st.lists(st.floats(0, 5, width=16), min_size=n, max_size=n))
    assume(any(one > 0 for one in truth))
    return np.array(levels), np.array(truth)


def anova(levels, truth):
    """(MS_clips - MS_error) / (MS_clips + (k - 1) MS_error), with every sum of squares as the textbook has it."""
    known = ~np.isnan(truth)
    x = np.stack([levels[known], truth[known]], axis=1)
    (n, k), grand = x.shape, x.mean()
    between_clips = k * ((x.mean(axis=1) - grand) ** 2).sum()
    between_raters = n * ((x.mean(axis=0) - grand) ** 2).sum()
    error = ((x - grand) ** 2).sum() - between_clips - between_raters
    ms_clips, ms_error = between_clips / (n - 1), error / ((n - 1) * (k - 1))
    return (ms_clips - ms_error) / (ms_clips + (k - 1) * ms_error)


def varies(levels, truth):
    known = ~np.isnan(truth)
    return known.sum() > 1 and (np.ptp(levels[known]) > 0.01 or np.ptp(truth[known]) > 0)


@settings(max_examples=200, deadline=None)
@given(levels_and_truth())
def test_icc_is_that_of_the_analysis_of_variance(pair):
    levels, truth = pair
    assume(varies(levels, truth))
    assert icc(levels, truth)[0] == pytest.approx(anova(levels, truth), abs=1e-9)
    known = ~np.isnan(truth)
    squares = [(a - b) ** 2 for a, b in zip(levels[known], truth[known], strict=True)]
    assert mean_squared_error(levels, truth)[0] == pytest.approx(sum(squares) / len(squares))


@settings(max_examples=100, deadline=None)
@given(levels_and_truth(), st.floats(-3, 3), st.integers(0, 1000))
def test_what_icc_and_mse_do_not_depend_on(pair, shift, seed):
    levels, truth = pair
    assume(varies(levels, truth))
    found = icc(levels, truth), mean_squared_error(levels, truth)
    assert -1 - 1e-9 <= found[0][0] <= 1 + 1e-9 and found[1][0] >= 0
    close = {"rel": 1e-9, "abs": 1e-9}
    marked = truth + np.where(np.isnan(truth), 0, abs(shift))  # still levels, if none of FACS
    assert icc(levels + shift, truth) == pytest.approx(found[0], **close)  # a constant offset is no inconsistency
    assert icc(levels + abs(shift), marked) == pytest.approx(found[0], **close)
    assert mean_squared_error(levels + abs(shift), marked) == pytest.approx(found[1], **close)
    hidden = np.where(np.isnan(truth), 99.0, levels)  # what is predicted where nothing is known
    assert icc(hidden, truth) == pytest.approx(found[0], **close)
    order = np.random.default_rng(seed).permutation(len(truth))
    assert icc(levels[order], truth[order]) == pytest.approx(found[0], **close)
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(truth))).astype(float)
    for row, one, squared in zip(
        weights, icc(levels, truth, weights), mean_squared_error(levels, truth, weights), strict=True
    ):
        again = np.repeat(np.arange(len(truth)), row.astype(int))
        expected = [metric(levels[again], truth[again]) for metric in (icc, mean_squared_error)]
        assert (one, squared) == pytest.approx(tuple(value[0] for value in expected), nan_ok=True, **close)


@settings(max_examples=50, deadline=None)
@given(levels_and_truth())
def test_equal_levels_are_in_full_agreement(pair):
    _, truth = pair
    assume(np.ptp(truth[~np.isnan(truth)]) > 0)
    levels = np.nan_to_num(truth, nan=2.5)
    assert icc(levels, truth)[0] == pytest.approx(1) and mean_squared_error(levels, truth)[0] == 0
    assert icc(5 - levels, truth)[0] == pytest.approx(-1)


@pytest.mark.parametrize("truth", [[0, 0, 0], [np.nan, np.nan, np.nan], [0, np.nan, np.nan]])
def test_without_a_mark_both_are_undefined(truth):
    levels, truth = np.array([0.1, 2.0, 3.0]), np.array(truth)
    assert np.isnan([*icc(levels, truth), *mean_squared_error(levels, truth)]).all()
    same = np.full(3, 0.1)
    assert np.isnan(icc(same, np.full(3, 0.3) * 10))  # neither side varies, but for rounding


def table_of(clips=60, seed=0, seeds=(0,)):
    """A predictions table with intensities, a quarter of the marks missing."""
    rng, parts = np.random.default_rng(seed), []
    truth = rng.choice(MARKS, (clips, 2), p=[0.4, *[0.1] * 6])
    unknown = (truth > 0) & (rng.random((clips, 2)) < 0.25)
    for one in seeds:
        frame = {"clip_id": [f"c{i}" for i in range(clips)], "dataset": ["mine"] * clips}
        frame |= {"subject": [f"s{i % 6}" for i in range(clips)], "seed": [one] * clips}
        frame["fold"] = frame["subject"]
        for at, au in enumerate(AUS):
            frame[f"z_{au}"] = truth[:, at] - 1 + rng.normal(size=clips)
            frame[f"y_{au}"] = (truth[:, at] > 0).astype(int)
            frame[f"intensity_{au}"] = np.clip(truth[:, at] + rng.normal(size=clips), 0, 5).astype(np.float32)
            frame[f"y_intensity_{au}"] = np.where(unknown[:, at], np.nan, truth[:, at]).astype(np.float32)
        parts.append(pd.DataFrame(frame))
    return pd.concat(parts, ignore_index=True)


def test_they_stand_beside_the_occurrence_with_intervals_over_subjects():
    table = table_of(seeds=(0, 1))
    plain = table[[name for name in table if "intensity" not in name]]
    scores, without = (score_predictions(one, resamples=200) for one in (table, plain))
    assert "intensity" in scores.results["rules"] and "intensity" not in without.results["rules"]
    for au in AUS:
        block = scores.results["per_au"][au]
        assert {name: block[name] for name in without.results["per_au"][au]} == without.results["per_au"][au]
        for metric, function in (("icc", anova), ("mse", lambda a, b: np.nanmean((a - b) ** 2))):
            values = [
                function(*rows[[f"intensity_{au}", f"y_intensity_{au}"]].to_numpy(float).T)
                for _, rows in table.groupby("seed")
            ]
            found = block["intensity"][metric]
            assert found["value"] == pytest.approx(np.mean(values), abs=1e-6)
            assert found["sd"] == pytest.approx(np.std(values, ddof=1), abs=1e-6)
            assert found["low"] < found["value"] < found["high"]
        first = table[table["seed"] == 0][f"y_intensity_{au}"]
        assert (block["intensity"]["known"], block["intensity"]["marked"]) == (first.notna().sum(), (first > 0).sum())
    assert scores.mean("intensity", "icc") == pytest.approx(
        np.mean([scores.au(au, "intensity", "icc") for au in AUS]), abs=2e-6
    )
    (title,) = [title for title in result_tables(scores) if title.startswith("Intensity")]
    shown = result_tables(scores)[title]
    assert list(shown["AU"]) == [*AUS, "mean"] and list(shown.columns[1:]) == ["known", "marked", "ICC(3,1)", "MSE"]
    assert not any(title.startswith("Intensity") for title in result_tables(without))


def test_an_au_that_nobody_marked_is_left_out_of_the_mean():
    table = table_of()
    table.loc[table["y_AU4"] == 1, "y_intensity_AU4"] = np.nan
    results = score_predictions(table, resamples=20).results
    assert results["per_au"]["AU4"]["intensity"]["icc"]["value"] is None
    assert results["mean"]["intensity"]["icc"] == results["per_au"]["AU12"]["intensity"]["icc"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_written_table_is_scored_alike(tmp_path, suffix):
    table = table_of()
    path = tmp_path / f"predictions{suffix}"
    table.to_csv(path, index=False) if suffix == ".csv" else write_table(table, path)
    assert score_predictions(path, resamples=20).results == score_predictions(table, resamples=20).results
    assert np.isnan(read_table(path)["y_intensity_AU4"]).any()


def test_marks_stay_at_home_and_are_joined_again():
    table = table_of()
    public = without_labels(table)
    assert {"intensity_AU4", "intensity_AU12"} < set(public) and not any(name.startswith("y_") for name in public)
    rows = []
    for _, row in table.iterrows():
        aus = [int(au[2:]) for au in AUS if row[f"y_{au}"]]
        marks = [row[f"y_intensity_AU{au}"] for au in aus]
        marks = [None if np.isnan(mark) else mark for mark in marks]
        rows.append({"dataset": row["dataset"], "clip_id": row["clip_id"], "aus": aus, "intensities": marks})
    labels = pd.DataFrame(rows[::-1])
    joined = join_labels(public, labels)
    for name in table:
        np.testing.assert_array_equal(joined[name], table[name], err_msg=name)
    unmarked = score_predictions(join_labels(public, labels.drop(columns="intensities")), resamples=20).results
    assert "intensity" not in unmarked["rules"]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("intensity_AU4", 5.5, "has intensity_AU4 = 5.5; allowed are 0 to 5"),
        ("intensity_AU4", np.nan, "has intensity_AU4 = nan; allowed are 0 to 5"),
        ("y_intensity_AU12", 9, r"has y_intensity_AU12 = 9.0 and y_AU12 = [01]; allowed are 0 where the AU is absent"),
    ],
)
def test_levels_that_cannot_be_are_named(column, value, said):
    table = table_of()
    table.loc[7, column] = value
    with pytest.raises(ValueError, match=f"clip 'c7' {said}"):
        score_predictions(table, resamples=0)
