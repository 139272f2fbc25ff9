"""How a model does on a group of people or pictures, with intervals over them."""

from collections.abc import Sequence

import numpy as np

from aullm_hf.evaluation.counting import interval, mean_of_defined, resample_subjects, roc_auc


def group_figures(
    who: Sequence[str], p: np.ndarray, y: np.ndarray, active: np.ndarray, resamples: int
) -> dict[str, str]:
    """AUC in the mean over AUs; of the clips without any AU, the share with an active one; of the AUs, those found.

    Args:
        who: the person or picture of each clip, which are resampled.
        p: probabilities (clips, n_AU).
        y, active: whether an AU is there, and whether the model says so, bool of the same shape.
        resamples: for the intervals, which hold the middle 95 %.
    """
    weights, idle = weights_of(who, resamples), ~y.any(axis=1)
    auc = mean_of_defined(auc_of_aus(p, y, weights))
    alarms = _share(weights, idle & active.any(axis=1), idle)
    found = _share(weights, (y & active).sum(axis=1), y.sum(axis=1))
    return {name: with_interval(v) for name, v in {"AUC": auc, "false alarms": alarms, "found": found}.items()}


def weights_of(who: Sequence[str], resamples: int) -> np.ndarray:
    """(1 + resamples, clips): how often each clip counts; at first every one once."""
    names, place = np.unique(np.asarray(who), return_inverse=True)
    return np.concatenate([np.ones((1, len(names))), resample_subjects(len(names), resamples, seed=0)])[:, place]


def auc_of_aus(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(1 + resamples, n_AU)."""
    return np.array([roc_auc(p[:, au], y[:, au], weights) for au in range(p.shape[1])]).T


def with_interval(values: np.ndarray) -> str:
    """The first value, and the interval of the others."""
    low, high = interval(values[1:])
    return f"{values[0]:.2f} [{low:.2f}, {high:.2f}]"


def _share(weights: np.ndarray, part: Sequence, whole: Sequence) -> np.ndarray:
    return (weights * np.asarray(part)).sum(axis=1) / np.maximum((weights * np.asarray(whole)).sum(axis=1), 1e-9)
