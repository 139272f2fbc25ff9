"""One call from a run folder to everything a reader sees: results.json, tables/, figures/ and the card."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .labels import join_labels
from .run_folder import Run, aus_of_table, read_run, write_json, write_text
from .scoring import Scores, score_predictions
from .tables import About, published_comparison, write_tables
from .thresholds import fit_calibration


def write_report(
    run_dir: str | Path,
    *,
    out: str | Path | None = None,
    labels: Any = None,
    any_labels: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> dict:
    """Score a run and write results.json, tables/, figures/ and README.md beside its tables, or under `out`.

    Reads predictions.parquet, inner.parquet, folds.json and run.json alone, so anybody who has them gets the same
    scores without a GPU. Figures need the extra `viz` and the card the extra `train`; without them they are left out
    with a warning.

    Args:
        run_dir: a run folder, or a predictions file, which is scored by itself as far as possible.
        out: the folder to write to (default: the run's).
        labels: clips with the columns "dataset", "clip_id" and "aus", where the table was published without labels.
        any_labels: accept labels that are not those the run was scored with.
        resamples: of the subjects, for the intervals.
        seed: of the resamples.

    Returns:
        What results.json holds.

    Example:
        >>> from aullm_hf.evaluation import write_report
        >>> results = write_report("runs/quickstart")  # doctest: +SKIP
        >>> results["mean"]["calibrated"]["f1"]  # doctest: +SKIP
        {'value': 0.897, 'low': 0.877, 'high': 0.917, 'sd': None}
    """
    run = read_run(run_dir)
    out = run.path if out is None else Path(out)
    if labels is not None:
        expected = None if any_labels else run.info.get("data", {}).get("labels_fingerprint")
        run = replace(
            run,
            predictions=join_labels(run.predictions, labels, expected_fingerprint=expected),
            inner=None if run.inner is None else join_labels(run.inner, labels),
        )
    scores = score_predictions(run.predictions, run.folds, inner=run.info.get("inner"), resamples=resamples, seed=seed)
    about = About.of_run(run)
    results = results_of(run, scores, about)
    write_json(results, out / "results.json")
    write_tables(scores, about, out / "tables")
    if _installed("matplotlib", "the figures are left out: install them", "viz"):
        from .figures import write_figures

        write_figures(run, scores, about, out / "figures")
    if run.info and run.folds and _installed("jinja2", "the card is left out: install it", "train"):
        from .cards import run_card

        write_text(str(run_card(run, results, scores, about, out=out)), out / "README.md")
    return results


def results_of(run: Run, scores: Scores, about: About) -> dict:
    """What results.json holds."""
    published = published_comparison(scores, about)
    published = published[published["source"] != "this run"]
    return {
        "run": about.run,
        "data": about.data,
        "synthetic": about.synthetic,
        "labels": about.labels,
        "protocol": about.protocol,
        "inner": about.inner,
        "checks": _checks(run, scores.results),
        "published": [_without_gaps(row) for row in published.to_dict("records")],
        **scores.results,
    }


def _checks(run: Run, results: Mapping) -> dict:
    """What could be verified of the run's own statements, and what of it is not complete."""
    checks: dict = {"no_test_subject_was_seen": True}  # score_predictions has refused the table otherwise
    expected = run.info.get("data", {}).get("n_clips")
    checks["all_clips_tested"] = None if expected is None else int(expected) == results["n_clips"]
    checks["calibration_follows_from_inner"] = _calibration_follows(run)
    checks["folds_with_their_batch_in_parts"] = sorted(e["fold"] for e in run.folds if e.get("batch_in_parts", 1) > 1)
    return checks


def _calibration_follows(run: Run) -> bool | None:
    """Whether folds.json's (a, b) and thresholds are what the inner clips give; None without inner clips."""
    if (
        run.inner is None
        or run.info.get("inner") == "none"
        or f"y_{aus_of_table(run.inner)[0]}" not in run.inner.columns
    ):
        return None
    aus = aus_of_table(run.inner)
    entries = {(entry["fold"], int(entry["seed"])): entry for entry in run.folds}
    for key, rows in run.inner.groupby(["fold", "seed"]):
        entry = entries.get((key[0], int(key[1])))
        subjects = (rows["dataset"] + ":" + rows["subject"]).tolist()
        if entry is None or not set(subjects) <= set(entry["seen_subjects"]):
            return False
        z, y = (rows[[f"{kind}_{au}" for au in aus]].to_numpy() for kind in "zy")
        again = fit_calibration(z, y, aus, subjects=subjects).to_dict()
        for au in aus:
            refitted, stated = (np.array([*e["calibration"][au], e["thresholds"][au]]) for e in (again, entry))
            # float32 logits in the table move a fit in its sixth figure
            if not np.allclose(refitted, stated, rtol=1e-3, atol=1e-4):
                return False
    return True


def _without_gaps(row: Mapping) -> dict:
    return {key: value for key, value in row.items() if value is not None and value == value}


def _installed(module: str, what: str, extra: str) -> bool:
    if find_spec(module) is not None:
        return True
    warnings.warn(f'{what} with `pip install "aullm-hf[{extra}]"`', stacklevel=3)
    return False
