"""Metrics from labels and scores, for one table or for thousands of resamples of its subjects at once.

Every function takes weights (B, N): how often each clip stands in each of B resamples. `None` is the table itself.
An undefined value is NaN, never a zero or a one: F1 and average precision without a positive clip, macro F1 and
ROC-AUC without both classes.
"""

import numpy as np


def confusion(active: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(..., 4): 1 in the place of tp, fp, fn or tn for every decision."""
    active, labels = np.asarray(active, dtype=bool), np.asarray(labels, dtype=bool)
    return np.stack([active & labels, active & ~labels, ~active & labels, ~active & ~labels], axis=-1)


def f1_of_counts(counts: np.ndarray) -> np.ndarray:
    """Binary F1, AU active: (..., 4) -> (...)."""
    tp, fp, fn, _ = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    return _ratio(2 * tp, 2 * tp + fp + fn, defined=tp + fn > 0)


def f1_macro_of_counts(counts: np.ndarray) -> np.ndarray:
    """Mean of the F1 of "active" and of "absent", the literature's number: (..., 4) -> (...)."""
    counts = np.asarray(counts, dtype=np.float64)
    return (f1_of_counts(counts) + f1_of_counts(counts[..., ::-1])) / 2  # reversed: absent is the class looked for


def kappa_of_counts(counts: np.ndarray) -> np.ndarray:
    """Cohen's kappa, agreement beyond chance; NaN where both sides say one and the same of all: (..., 4) -> (...)."""
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, dtype=np.float64), -1, 0)
    chance = (tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)  # times the number of clips
    total = tp + fp + fn + tn
    return _ratio((tp + tn) * total - chance, total**2 - chance, defined=total**2 > chance)


def average_precision(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Sum over the ranking of (recall gained) x (precision there), equal scores taken together: (B,)."""
    tp, fp = _along_the_ranking(scores, labels, weights)
    precision = _ratio(tp, tp + fp, defined=tp + fp > 0, otherwise=0.0)
    gained = np.diff(tp, axis=1, prepend=0.0)
    return _ratio((gained * precision).sum(axis=1), tp[:, -1], defined=tp[:, -1] > 0)


def roc_auc(scores: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Chance that an active clip is ranked above an absent one, ties counting half: (B,)."""
    tp, fp = _along_the_ranking(scores, labels, weights)
    below = np.diff(fp, axis=1, prepend=0.0) * (tp + np.concatenate([np.zeros((len(tp), 1)), tp[:, :-1]], axis=1)) / 2
    pairs = tp[:, -1] * fp[:, -1]
    return _ratio(below.sum(axis=1), pairs, defined=pairs > 0)


def precision_recall(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall at every distinct score, from the highest down, for drawing."""
    tp, fp = _along_the_ranking(scores, labels, None)
    return (tp / (tp + fp))[0], _ratio(tp, tp[:, -1:], defined=tp[:, -1:] > 0)[0]


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Mean over clips of |mean probability - share active| in their bin, of `bins` equal ones."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    place = np.clip((probabilities * bins).astype(int), 0, bins - 1)
    gap = np.bincount(place, probabilities - np.asarray(labels, dtype=np.float64), minlength=bins)
    return float(np.abs(gap).sum() / len(probabilities))


def resample_subjects(n_subjects: int, resamples: int, seed: int) -> np.ndarray:
    """(B, S): how often each subject is drawn in each resample of as many subjects as there are."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_subjects, np.full(n_subjects, 1 / n_subjects), size=resamples).astype(np.float64)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    defined = np.isfinite(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0).sum(axis=-1)
    return np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of a value over the resamples in which it is defined."""
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _along_the_ranking(scores, labels, weights) -> tuple[np.ndarray, np.ndarray]:
    """Positives and negatives above each distinct score: two (B, distinct)."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    weights = np.ones((1, len(scores))) if weights is None else weights
    weights, labels = weights[:, order], labels[order]
    tp = np.cumsum(weights * labels, axis=1)[:, last_of_tie]
    fp = np.cumsum(weights * (1 - labels), axis=1)[:, last_of_tie]
    return tp, fp


def _ratio(numerator, denominator, *, defined, otherwise: float = np.nan) -> np.ndarray:
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, otherwise), where=np.broadcast_to(defined, shape))
