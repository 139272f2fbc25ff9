"""Every argument of folds, calibration and scoring, with values that it does not take; and broken tables."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aullm_hf import cross_domain, leave_one_subject_out, score_predictions
from aullm_hf.evaluation import (
    assemble_run,
    fit_calibration,
    inner_holdout,
    leave_one_dataset_out,
    read_run,
    subject_keys,
    write_report,
    write_table,
)
from support.refusals import outcome
from support.wrong_values import TRIED, wrong_values

CLIPS = {
    "dataset": ["a"] * 6 + ["b"] * 6,
    "subject": ["1", "1", "2", "2", "3", "3"] * 2,
    "aus": [[1], [4], [1, 4], [], [1], [4]] * 2,
}
FOLD = leave_one_subject_out(CLIPS)[0]
TABLE = pd.DataFrame(
    {
        "clip_id": [str(at) for at in range(12)],
        "dataset": "a",
        "subject": ["1", "1", "2", "2", "3", "3"] * 2,
        "fold": ["s1", "s1", "s2", "s2", "s3", "s3"] * 2,
        "seed": 1,
        "z_AU1": np.linspace(-1, 1, 12),
        "p_AU1": np.linspace(0, 1, 12),
        "y_AU1": [0, 1] * 6,
        "z_AU4": 0.0,
        "p_AU4": 0.5,
        "y_AU4": [1, 0] * 6,
    }
)
LOGITS = np.linspace(-1, 1, 24).reshape(12, 2)
FITTED = {"logits": LOGITS, "labels": (LOGITS > 0).astype(int), "aus": ["AU1", "AU4"], "subjects": ["a"] * 12,
          "seen_subjects": ["a", "b"]}  # fmt: skip
WHOLE = {
    "empty": TABLE[:0], "twice": pd.concat([TABLE, TABLE]), "one class": TABLE.assign(y_AU1=0),
    "one clip": TABLE[:1], "indexed": TABLE.set_index("clip_id"), "transposed": TABLE.T, "text": TABLE.astype(str),
    "a column twice": pd.concat([TABLE, TABLE[["z_AU1"]]], axis=1), "records": TABLE.to_dict("records"),
    "ragged": {**TABLE.to_dict("list"), "z_AU1": [1, 2]}, "an array": TABLE.to_numpy(), "a series": TABLE["z_AU1"],
    "foreign digits": TABLE.rename(columns={"z_AU1": "z_AU١"}),
    "a leading zero": TABLE.rename(columns={"z_AU1": "z_AU01"}),
    "no labels": TABLE.drop(columns=["y_AU1", "y_AU4"]), "a seed a row": TABLE.assign(seed=range(12)),
    "enormous": TABLE.assign(z_AU1=1e308), "categories": TABLE.astype("category"),
    "dates": TABLE.assign(seed=pd.Timestamp(0)),
    "nullable": TABLE.convert_dtypes(), "numbered": TABLE.rename(columns={"z_AU1": 3}),
}  # fmt: skip
CALLS = {
    "score_predictions": (lambda value: score_predictions(value, resamples=5), "table"),
    "write_table": (lambda value: write_table(value, "no-such-folder/x.parquet"), "table"),
    "leave_one_subject_out": (leave_one_subject_out, "data"),
    "leave_one_dataset_out": (leave_one_dataset_out, "data"),
    "subject_keys": (subject_keys, "data"),
    "inner_holdout": (lambda value: inner_holdout(value, CLIPS), "fold"),
    "inner_holdout, fraction": (lambda value: inner_holdout(FOLD, CLIPS, fraction=value), "inner_fraction"),
    "cross_domain, source": (lambda value: cross_domain(CLIPS, value, "b"), "data set"),
    "cross_domain, target": (lambda value: cross_domain(CLIPS, "a", value), "data set"),
    "read_run": (read_run, "run", "table"),
    "write_report": (write_report, "run", "table"),
    "assemble_run": (assemble_run, "run_dir", "fold"),
    "au of Scores": (lambda value: SCORES.au(value, "at_0.5", "f1"), "AU"),
    "rule of Scores": (lambda value: SCORES.mean(value, "f1"), "scores for"),
    "metric of Scores": (lambda value: SCORES.mean("at_0.5", value), "metric"),
}
SCORES = score_predictions(TABLE, resamples=5)


@pytest.mark.parametrize("call", CALLS)
@TRIED
@given(value=wrong_values())
def test_calls(call, value):
    function, *names = CALLS[call]
    outcome(lambda: function(value), *names)


@pytest.mark.parametrize("argument", ["inner", "inner_fraction", "seed", "aus"])
@TRIED
@given(value=wrong_values())
def test_fold_options(argument, value):
    outcome(lambda: leave_one_subject_out(CLIPS, **{argument: value}), argument, "AU", "nobody")


@pytest.mark.parametrize("column", list(CLIPS))
@TRIED
@given(value=wrong_values())
def test_fold_columns_and_cells(column, value):
    outcome(lambda: leave_one_subject_out({**CLIPS, column: value}), column, "subject", "columns")
    outcome(lambda: leave_one_subject_out({**CLIPS, column: [value, *CLIPS[column][1:]]}), column, "subject", "aus")


@pytest.mark.parametrize("argument", ["folds", "inner", "resamples", "seed"])
@TRIED
@given(value=wrong_values().filter(lambda value: type(value) is not int or value < 1000))
def test_scoring_options(argument, value):
    outcome(lambda: score_predictions(TABLE, **{"resamples": 5, argument: value}), argument)


@TRIED
@given(column=st.sampled_from(list(TABLE.columns)), row=st.integers(0, 11), value=wrong_values())
def test_a_wrong_cell(column, row, value):
    table = TABLE.astype(object)
    table.at[row, column] = value
    outcome(lambda: score_predictions(table, resamples=5), column, "clip", "seed", "subject", "row")


@pytest.mark.parametrize("name", WHOLE)
def test_a_wrong_table(name, tmp_path):
    outcome(lambda: score_predictions(WHOLE[name], resamples=5), "table", "clip", "seed", "subject")
    outcome(lambda: write_table(WHOLE[name], tmp_path / "x.parquet"), "table", "clip")


@pytest.mark.parametrize("column", list(TABLE.columns))
def test_a_missing_column_is_named(column):
    scored = outcome(lambda: score_predictions(TABLE.drop(columns=column), resamples=5), column)
    assert scored == ("answered" if column[0] in "pz" else "refused")  # an AU without logits is not scored


@pytest.mark.parametrize("argument", list(FITTED))
@TRIED
@given(value=wrong_values(LOGITS * np.nan, LOGITS[:5], LOGITS.T, np.full((12, 2), 2)))
def test_calibration(argument, value):
    given_ = {**FITTED, argument: value}
    positional = [given_.pop(name) for name in ("logits", "labels", "aus")]
    outcome(lambda: fit_calibration(*positional, **given_), argument, "belong together")
