"""How near predicted intensities come to the marked ones, 0 (absent) and 1 to 5 (A to E).

ICC(3,1) (Shrout and Fleiss, 1979: two-way mixed, single measure, consistency) and the mean squared error, over the
clips whose intensity is known: the AU is absent, or active and marked. Both are undefined (NaN) for an AU that no
clip has marked, and ICC where neither side varies.

Weights (B, N) say how often each clip stands in each of B resamples, as in counting.py.
"""

import numpy as np
import pandas as pd

TINY = 1e-12  # of a variance: what lies below is rounding


def icc(levels: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """ICC(3,1) of levels (N,) and truth (N,), NaN where not known: (B,).

    For two raters (MS_clips - MS_error) / (MS_clips + MS_error): the variances of their sums and of their differences.
    """
    levels, truth, weights, defined = _known(levels, truth, weights)
    sums, differences = (_variance(levels + sign * truth, weights) for sign in (1, -1))
    total = sums + differences
    return np.divide(sums - differences, total, out=np.full(len(total), np.nan), where=defined & (total > TINY))


def mean_squared_error(levels: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Mean over clips of (level - truth)^2, of levels (N,) and truth (N,), NaN where not known: (B,)."""
    levels, truth, weights, defined = _known(levels, truth, weights)
    total, count = weights @ (levels - truth) ** 2, weights.sum(axis=1)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=defined)


METRICS = {"icc": icc, "mse": mean_squared_error}


def has_intensities(table: pd.DataFrame, aus) -> bool:
    """Whether a predictions table holds intensities and what they are measured against."""
    return all(f"{kind}_{au}" in table.columns for kind in ("intensity", "y_intensity") for au in aus)


def intensities_of(table: pd.DataFrame, aus) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and marked levels of a predictions table, (N, n_AU) each; of the marked ones NaN is not known."""
    levels, truth = (
        table[[f"{kind}_{au}" for au in aus]].to_numpy(np.float64) for kind in ("intensity", "y_intensity")
    )
    return levels, truth


def check_intensities(table: pd.DataFrame, aus) -> None:
    """Refuse predicted levels that are none, and marked ones that contradict the labels."""
    levels, truth = intensities_of(table, aus)
    labels = table[[f"y_{au}" for au in aus]].to_numpy() > 0
    wrong = ~((levels >= 0) & (levels <= 5))
    if wrong.any():
        row, at = np.argwhere(wrong)[0]
        raise ValueError(
            f"clip '{table['clip_id'].iloc[row]}' has intensity_{aus[at]} = {levels[row, at]}; allowed are 0 to 5"
        )
    wrong = np.where(labels, (truth <= 0) | (truth > 5), truth != 0)
    if wrong.any():
        row, at = np.argwhere(wrong)[0]
        raise ValueError(
            f"clip '{table['clip_id'].iloc[row]}' has y_intensity_{aus[at]} = {truth[row, at]} and y_{aus[at]} = "
            f"{int(labels[row, at])}; allowed are 0 where the AU is absent, 1 to 5 or nothing where it is active"
        )


def _known(levels, truth, weights):
    """Of the clips whose level is known; last, in which resamples one of them is marked."""
    known = ~np.isnan(truth)
    weights = (np.ones((1, len(truth))) if weights is None else weights)[:, known]
    truth = truth[known]
    return levels[known], truth, weights, weights @ (truth > 0) > 0


def _variance(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,) -> of each resample (B,), undefined ones 0."""
    count = np.maximum(weights.sum(axis=1), 1)
    mean = weights @ values / count
    return (weights * (values - mean[:, None]) ** 2).sum(axis=1) / count


__all__ = ["METRICS", "check_intensities", "has_intensities", "icc", "intensities_of", "mean_squared_error"]
