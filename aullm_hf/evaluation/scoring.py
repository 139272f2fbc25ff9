"""From a predictions table to scores, without leaks.

Confusion counts are pooled over folds first, so an AU without a positive in one fold is neither a zero nor a one.
Every F1 carries the name of the rule that turned scores into decisions:

- `at_0.5`: sigmoid(z) >= 0.5, nothing chosen;
- `calibrated`: the fold's own calibration and thresholds, chosen on its inner held-out clips;
- `oracle`: one threshold per AU out of 0.10, 0.15 .. 0.85, chosen on these same test labels as the published code
  does. An upper bound for such a threshold, there only to compare with the papers;
- `always_absent`, `always_present`: the floors.

`f1` is the binary F1 (AU active), `f1_macro` the mean over "active" and "absent" (the literature's number).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..arguments import check_choice, check_whole, first_few, shown
from .counting import (
    average_precision,
    confusion,
    expected_calibration_error,
    f1_macro_of_counts,
    f1_of_counts,
    interval,
    mean_of_defined,
    resample_subjects,
    roc_auc,
)
from .intensity import METRICS as INTENSITY_METRICS
from .intensity import check_intensities, has_intensities, intensities_of
from .run_folder import KEYS, aus_of_table, read_table, sort_rows
from .thresholds import Calibration, sigmoid

ORACLE_GRID = tuple(round(0.10 + 0.05 * step, 2) for step in range(16))
RULES = {
    "at_0.5": "probability before calibration >= 0.5, nothing chosen",
    "calibrated": "the fold's own calibration and thresholds, from its inner held-out clips",
    "oracle": "UPPER BOUND for one threshold per AU: chosen on the test labels, as the published code does",
    "always_absent": "floor: no AU is ever active",
    "always_present": "floor: every AU is always active",
    "ranking": "no threshold",
    "calibration_error": "10 equal bins, before and after the fold's calibration",
    "intensity": "expected level, 0 to 5, against the marked one, over the clips whose intensity is known",
}
_ENTRY = ("fold", "seed", "test_subjects", "seen_subjects", "calibration", "thresholds")
_F1 = {"f1": f1_of_counts, "f1_macro": f1_macro_of_counts}


@dataclass(frozen=True)
class Scores:
    """The scores as plain data (`results`, what results.json holds), and as one tidy table (`frame()`)."""

    results: dict

    def mean(self, rule: str, metric: str) -> float:
        return self._value(self.results["mean"], rule, metric)

    def au(self, au: str, rule: str, metric: str) -> float:
        if not isinstance(au, str) or au not in self.results["per_au"]:
            raise ValueError(f"no scores for AU {shown(au)} in this table; it has {', '.join(self.results['aus'])}")
        return self._value(self.results["per_au"][au], rule, metric)

    def _value(self, block: dict, rule: str, metric: str) -> float:
        if not isinstance(rule, str) or rule not in self.results["rules"]:
            raise ValueError(f"no scores for {shown(rule)} in this table; it has {', '.join(self.results['rules'])}")
        if not isinstance(metric, str) or "value" not in block[rule].get(metric, {}):
            known = [name for name, entry in block[rule].items() if isinstance(entry, dict) and "value" in entry]
            raise ValueError(f"no metric {shown(metric)} under '{rule}'; it has {', '.join(known)}")
        value = block[rule][metric]["value"]
        return float("nan") if value is None else value

    def frame(self) -> pd.DataFrame:
        """One row per number: au ("AU1" .. or "mean"), rule, metric, value, low, high, sd over seeds, support, n."""
        rows = []
        for au, block in [*self.results["per_au"].items(), ("mean", self.results["mean"])]:
            for rule in self.results["rules"]:
                for metric, entry in block[rule].items():
                    if isinstance(entry, dict) and "value" in entry:
                        about = {"support": block.get("support"), "n": self.results["n_clips"]}
                        rows.append({"au": au, "rule": rule, "metric": metric, **entry, **about})
        numbers = ["value", "low", "high", "sd"]
        return pd.DataFrame(rows).astype({**dict.fromkeys(numbers, "float64"), "support": "Int64", "n": "int64"})


def score_predictions(
    table: pd.DataFrame | Mapping[str, Sequence] | str | Path,
    folds: Sequence[Mapping] | None = None,
    *,
    inner: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Scores:
    """Score a predictions table: both F1s by every rule, average precision, ROC-AUC and calibration error.

    Args:
        table: a frame, a dict of columns, or a .parquet or .csv file: one row per tested clip (and seed) with clip_id,
            dataset, subject, fold, seed, and z_AU.. (logits) and y_AU.. (labels); where it has them, intensity_AU..
            (expected levels) and y_intensity_AU.. (marked ones, NaN where not known) are scored by ICC and MSE.
        folds: the entries of folds.json; without them, or with `inner="none"`, there are no `calibrated` scores.
        inner: what chose calibration and thresholds, "holdout", "refit" or "none", as run.json says.
        resamples: of the subjects, for the intervals (the middle 95 %); 0: no intervals.
        seed: of the resamples.

    Returns:
        Scores. With several seeds a value is the mean over the seeds and `sd` their spread.

    Example:
        >>> from aullm_hf import score_predictions
        >>> table = {
        ...     "clip_id": ["a/1", "a/2", "b/1", "b/2"],
        ...     "dataset": ["mine"] * 4,
        ...     "subject": ["a", "a", "b", "b"],
        ...     "fold": ["suba", "suba", "subb", "subb"],
        ...     "seed": [0] * 4,
        ...     "z_AU4": [2.0, -1.0, 0.5, -3.0],
        ...     "y_AU4": [1, 0, 1, 1],
        ... }
        >>> scores = score_predictions(table, resamples=100)
        >>> scores.au("AU4", "at_0.5", "f1")
        0.8
        >>> scores.mean("ranking", "ap")
        0.916667
    """
    table, aus, calibrated = _checked(table, folds, inner, resamples, seed)
    results = _results(table, aus, calibrated, resamples, seed)
    results["flagged_folds"] = _flagged(aus, folds) if calibrated is not None else {}
    if (names := sorted(set(table["dataset"]))) and len(names) > 1:
        results["by_dataset"] = {}
        for name in names:
            rows = (table["dataset"] == name).to_numpy()
            part = tuple(array[rows] for array in calibrated) if calibrated else None
            own = _results(table[rows].reset_index(drop=True), aus, part, 0, seed)
            results["by_dataset"][name] = {key: own[key] for key in ("n_clips", "n_subjects", "mean")}
    return Scores(results)


def resampled_metrics(
    table: pd.DataFrame | Mapping[str, Sequence] | str | Path,
    folds: Sequence[Mapping] | None = None,
    *,
    inner: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """rule -> metric -> (values (n_AU,), the same in each resample of the subjects (B, n_AU)), means over seeds.

    Runs that tested the same subjects are resampled alike with the same `seed`, so differences of two are paired.
    """
    table, aus, calibrated = _checked(table, folds, inner, resamples, seed)
    per_seed, _ = _by_seed(table, aus, calibrated, resamples, seed)
    return {
        rule: {
            metric: tuple(np.mean([metrics[rule][metric][part] for metrics in per_seed], axis=0) for part in (0, 1))
            for metric in names
            if metric not in ("counts", "thresholds")
        }
        for rule, names in per_seed[0].items()
    }


def _by_seed(table, aus, calibrated, resamples, seed) -> tuple[list[dict], int]:
    """The metrics of each seed, in the order of the seeds, and how many subjects there are."""
    keys = (table["dataset"] + ":" + table["subject"]).to_numpy()
    subjects, subject_of_row = np.unique(keys, return_inverse=True)
    drawn = resample_subjects(len(subjects), resamples, seed) if resamples else np.zeros((0, len(subjects)))
    per_seed = []
    for one in sorted(set(table["seed"].tolist())):
        rows = np.flatnonzero(table["seed"] == one)
        own = tuple(array[rows] for array in calibrated) if calibrated else None
        per_seed.append(_one_seed(table.iloc[rows], aus, own, subject_of_row[rows], drawn))
    return per_seed, len(subjects)


def _results(table, aus, calibrated, resamples, seed) -> dict:
    seeds = sorted(set(table["seed"].tolist()))
    per_seed, n_subjects = _by_seed(table, aus, calibrated, resamples, seed)
    first = table[table["seed"] == seeds[0]]
    labels = first[[f"y_{au}" for au in aus]].to_numpy(dtype=int)  # (N, n_AU)
    support, n = labels.sum(axis=0), len(labels)
    over = [i for i in range(len(aus)) if support[i] > 0]
    rules = [rule for rule in RULES if rule in per_seed[0]]
    per_au = {au: {"support": int(support[i]), "prevalence": _plain(support[i] / n)} for i, au in enumerate(aus)}
    mean: dict[str, Any] = {
        "over": [aus[i] for i in over],
        "prevalence": _plain(support[over].mean() / n) if over else None,
    }
    mean["excluded"] = {aus[i]: "no positive clip in the test table" for i in range(len(aus)) if i not in over}
    for rule in rules:
        for block in (*per_au.values(), mean):
            block[rule] = {}
        for metric in per_seed[0][rule]:
            if metric in ("counts", "thresholds"):
                continue
            values = np.stack([metrics[rule][metric][0] for metrics in per_seed])  # (seeds, n_AU)
            resampled = np.mean([metrics[rule][metric][1] for metrics in per_seed], axis=0)  # (B, n_AU)
            for i, au in enumerate(aus):
                per_au[au][rule][metric] = _estimate(values[:, i], resampled[:, i])
            mean[rule][metric] = _estimate(mean_of_defined(values[:, over]), mean_of_defined(resampled[:, over]))
        for i, au in enumerate(aus):
            if "counts" in per_seed[0][rule]:  # pooled over folds, and summed over seeds
                counts = sum(metrics[rule]["counts"][i] for metrics in per_seed)
                per_au[au][rule]["counts"] = dict(zip(("tp", "fp", "fn", "tn"), map(int, counts), strict=True))
            if "thresholds" in per_seed[0][rule]:
                per_au[au][rule]["thresholds"] = {
                    metric: [float(metrics[rule]["thresholds"][metric][i]) for metrics in per_seed] for metric in _F1
                }
    if "intensity" in rules:
        truth = intensities_of(first, aus)[1]
        for i, au in enumerate(aus):
            per_au[au]["intensity"] |= {
                "known": int(np.isfinite(truth[:, i]).sum()),
                "marked": int((truth[:, i] > 0).sum()),
            }
    results = {
        "aus": list(aus),
        "n_clips": n,
        "n_subjects": n_subjects,
        "n_folds": int(table.groupby("seed")["fold"].nunique().max()),
        "seeds": seeds,
        "resamples": resamples,
        "rules": {rule: RULES[rule] for rule in rules},
        "per_au": per_au,
        "mean": mean,
    }
    if len(seeds) > 1:
        results["by_seed"] = {
            str(one): {
                rule: {
                    metric: _plain(mean_of_defined(pair[0][None, over])[0])
                    for metric, pair in own[rule].items()
                    if metric not in ("counts", "thresholds")
                }
                for rule in rules
            }
            for one, own in zip(seeds, per_seed, strict=True)
        }
    return results


def _one_seed(table, aus, calibrated, subject_of_row, drawn) -> dict:
    """rule -> metric -> (values (n_AU,), resampled (B, n_AU)), and the rule's counts or thresholds."""
    z = table[[f"z_{au}" for au in aus]].to_numpy(dtype=np.float64)  # (N, n_AU)
    y = table[[f"y_{au}" for au in aus]].to_numpy(dtype=int).astype(bool)
    raw = sigmoid(z)
    decisions = {
        "at_0.5": raw >= 0.5,
        "always_absent": np.zeros_like(y),
        "always_present": np.ones_like(y),
    }
    if calibrated is not None:
        decisions["calibrated"] = calibrated[0] >= calibrated[1]
    results: dict[str, dict] = {}
    for rule, active in decisions.items():
        counts = _by_subject(confusion(active, y), subject_of_row, drawn.shape[1])  # (S, n_AU, 4)
        total, resampled = counts.sum(axis=0), np.tensordot(drawn, counts, axes=1)  # (n_AU, 4), (B, n_AU, 4)
        results[rule] = {metric: (f1(total), f1(resampled)) for metric, f1 in _F1.items()}
        results[rule]["counts"] = total
    results["oracle"] = _oracle(raw, y, subject_of_row, drawn)

    weights = drawn[:, subject_of_row]  # (B, N)
    probabilities = raw if calibrated is None else calibrated[0]
    results["ranking"] = {
        "ap": _per_au(average_precision, z, y, weights),
        "roc_auc": _per_au(roc_auc, z, y, weights),
    }
    if calibrated is not None:
        results["ranking"]["ap_calibrated"] = _per_au(average_precision, probabilities, y, weights)
    undefined = np.full((len(drawn), len(aus)), np.nan)  # no interval is given for a calibration error
    error = {"before": raw} if calibrated is None else {"before": raw, "after": probabilities}
    results["calibration_error"] = {
        name: (np.array([expected_calibration_error(p[:, i], y[:, i]) for i in range(len(aus))]), undefined)
        for name, p in error.items()
    }
    if has_intensities(table, aus):
        levels = intensities_of(table, aus)
        results["intensity"] = {name: _per_au(metric, *levels, weights) for name, metric in INTENSITY_METRICS.items()}
    return results


def _oracle(raw, y, subject_of_row, drawn) -> dict:
    """The best of the grid for each metric by itself; a resample chooses again, as the procedure would."""
    active = raw[:, :, None] >= np.array(ORACLE_GRID)  # (N, n_AU, 16)
    counts = confusion(active, np.broadcast_to(y[:, :, None], active.shape))
    counts = _by_subject(counts, subject_of_row, drawn.shape[1])  # (S, n_AU, 16, 4)
    total, resampled = counts.sum(axis=0), np.tensordot(drawn, counts, axes=1)
    result: dict[str, Any] = {"thresholds": {}}
    for metric, f1 in _F1.items():
        values = f1(total)  # (n_AU, 16)
        best = np.where(np.isnan(values), -1, values).argmax(axis=1)
        result[metric] = (values[np.arange(len(values)), best], f1(resampled).max(axis=2))
        result["thresholds"][metric] = np.array(ORACLE_GRID)[best]
    return result


def calibrate(table, aus, folds) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probability and threshold of every row, both (N, n_AU), each from the row's own fold."""
    probabilities, thresholds = np.empty((2, len(table), len(aus)))
    entries = {(str(entry["fold"]), int(entry["seed"])): entry for entry in folds}
    keys = (table["dataset"] + ":" + table["subject"]).to_numpy()
    for (fold, seed), rows in table.groupby(["fold", "seed"], sort=True).indices.items():
        if (entry := entries.get((str(fold), int(seed)))) is None:
            raise ValueError(f"folds.json has no entry for fold '{fold}', seed {seed}; the table was made with it")
        tested = set(keys[rows])
        if stray := tested - set(entry["test_subjects"]):
            raise ValueError(
                f"fold '{fold}' tests {first_few(stray)}, who are not among its test_subjects in folds.json"
            )
        if leaked := set(entry["seen_subjects"]) & (tested | set(entry["test_subjects"])):
            raise ValueError(f"fold '{fold}' tests {first_few(leaked)}, whom it has seen in training: this is a leak")
        calibration = Calibration.from_dict(entry)
        if set(calibration.aus) != set(aus):
            raise ValueError(
                f"fold '{fold}' has thresholds for {first_few(calibration.aus)}, "
                f"the table has columns for {first_few(aus)}"
            )
        z = table.iloc[rows][[f"z_{au}" for au in calibration.aus]].to_numpy()
        order = [calibration.aus.index(au) for au in aus]
        probabilities[rows] = calibration.test_probabilities(z, tested)[:, order]
        thresholds[rows] = [calibration.thresholds[au] for au in aus]
        columns = [f"p_{au}" for au in aus]
        if set(columns) <= set(table.columns):
            off = np.abs(table.iloc[rows][columns].to_numpy(dtype=np.float64) - probabilities[rows]).max()
            if not off < 1e-4:
                raise ValueError(
                    f"fold '{fold}', seed {seed}: the p_ columns differ by up to {off:.2g} from sigmoid(a z + b) of "
                    "folds.json; table and folds.json are not of the same run"
                )
    return probabilities, thresholds


def _checked(table, folds, inner, resamples, seed) -> tuple[pd.DataFrame, tuple[str, ...], tuple | None]:
    """The table with its rows in order, its AUs, and what the folds' calibration makes of it."""
    check_choice("inner", inner, ("holdout", "refit", "none", None))
    check_whole("resamples", resamples, 0, 1 << 20)
    check_whole("seed", seed, 0)
    if folds is not None and not (isinstance(folds, list | tuple) and all(isinstance(one, Mapping) for one in folds)):
        raise TypeError(f"folds={shown(folds)} is not allowed; give the list of entries of folds.json, or None")
    for entry in (folds or ()) if inner != "none" else ():
        if missing := [name for name in _ENTRY if name not in entry]:
            raise ValueError(f"an entry of folds.json has no {', '.join(missing)}; it needs {', '.join(_ENTRY)}")
    table = sort_rows(read_table(table))
    aus = aus_of_table(table)
    _check_scored(table, aus)
    return table, aus, calibrate(table, aus, folds) if folds and inner != "none" else None


def _check_scored(table: pd.DataFrame, aus: Sequence[str]) -> None:
    if missing := [f"y_{au}" for au in aus if f"y_{au}" not in table.columns]:
        raise ValueError(
            f"the table has no {first_few(missing)}: labels of licensed data are not published. "
            "Join your own copy with `aullm evaluate PREDICTIONS --labels NAME --root ROOT`"
        )
    scores = table[[f"z_{au}" for au in aus]].to_numpy(dtype=np.float64)
    if not np.isfinite(scores).all():
        clip = table["clip_id"].iloc[int(np.argmin(np.isfinite(scores).all(axis=1)))]
        raise ValueError(f"clip '{clip}' has a logit that is NaN or infinite; its fold's training has diverged")
    labels = table[[f"y_{au}" for au in aus]].to_numpy(dtype=np.float64)
    if not np.isin(labels, (0, 1)).all():
        row = int(np.argmin(np.isin(labels, (0, 1)).all(axis=1)))
        raise ValueError(
            f"clip '{table['clip_id'].iloc[row]}' has the labels {labels[row].tolist()}; allowed are 0 and 1"
        )
    if has_intensities(table, aus):
        check_intensities(table, aus)
    if (twice := table.duplicated(["seed", "dataset", "clip_id"])).any():
        raise ValueError(
            f"clip '{table['clip_id'][twice].iloc[0]}' was tested twice with one seed; a clip is tested in one fold"
        )
    tested = {seed: set(zip(rows["dataset"], rows["clip_id"], strict=True)) for seed, rows in table.groupby("seed")}
    first = min(tested)
    for seed, clips in tested.items():
        if clips != tested[first]:
            raise ValueError(
                f"seed {seed} has tested {len(clips)} clips, seed {first} {len(tested[first])}, and not the "
                "same ones; finish the run, or score the rows of one seed"
            )
    disagree = table.groupby(["dataset", "clip_id"])[[f"y_{au}" for au in aus]].nunique().max(axis=1) > 1
    if disagree.any():
        raise ValueError(f"clip '{disagree.idxmax()[1]}' has different labels in different seeds")


def _flagged(aus, folds) -> dict[str, int]:
    """In how many folds (over all seeds) an AU kept a = 1, b = 0 and 0.5."""
    return {au: sum(au in entry.get("flagged", ()) for entry in folds) for au in aus}


def _by_subject(values: np.ndarray, subject_of_row: np.ndarray, n_subjects: int) -> np.ndarray:
    summed = np.zeros((n_subjects, *values.shape[1:]))
    np.add.at(summed, subject_of_row, values)
    return summed


def _per_au(function, scores, y, weights) -> tuple[np.ndarray, np.ndarray]:
    values = np.array([function(scores[:, i], y[:, i])[0] for i in range(y.shape[1])])
    resampled = np.empty((len(weights), y.shape[1]))
    for start in range(0, len(weights), 256):  # a few MB at a time
        part = weights[start : start + 256]
        resampled[start : start + 256] = np.stack(
            [function(scores[:, i], y[:, i], part) for i in range(y.shape[1])], axis=1
        )
    return values, resampled


def _estimate(values: np.ndarray, resampled: np.ndarray) -> dict:
    """`values`: one per seed."""
    low, high = interval(resampled)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"value": _plain(np.mean(values)), "low": _plain(low), "high": _plain(high), "sd": _plain(spread)}


def _plain(value) -> float | None:
    """Six decimals: the same on every machine, and too coarse to compute a published table's labels back from it."""
    return None if value is None or not np.isfinite(value) else round(float(value), 6)


__all__ = ["KEYS", "ORACLE_GRID", "RULES", "Scores", "calibrate", "resampled_metrics", "score_predictions"]
