"""Linear probes: what can be told from pixels without any network, one person left out at a time."""

import numpy as np


def leave_one_out(features: np.ndarray, labels: np.ndarray, subjects: np.ndarray, ridge: float = 0.1) -> np.ndarray:
    """(n, n_AU) scores of ridge regression, each from a fit without the clip's own person."""
    scores = np.zeros(labels.shape)
    for subject in np.unique(subjects):
        rest = subjects != subject
        centre, level = features[rest].mean(0), labels[rest].mean(0)
        train, test = features[rest] - centre, features[~rest] - centre
        gram = train @ train.T
        gram[np.diag_indices_from(gram)] += ridge * np.trace(gram) / len(gram)
        scores[~rest] = test @ train.T @ np.linalg.solve(gram, labels[rest] - level) + level
    return scores


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The chance that a positive scores above a negative."""
    order = scores[labels > 0][:, None] - scores[labels == 0][None, :]
    return float((order > 0).mean() + 0.5 * (order == 0).mean())


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    hits = labels[np.argsort(-scores, kind="stable")] > 0
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def six(frames: int) -> list[int]:
    """The frames that an evaluation samples."""
    return np.round(np.linspace(0, frames - 1, 6)).astype(int).tolist()


def chance_interval(labels: np.ndarray, scores: np.ndarray, rng: np.random.Generator, draws: int = 200):
    """The central 95 % of a bootstrap over clips of the AUC averaged over AUs."""
    means = []
    for _ in range(draws):
        take = rng.integers(len(labels), size=len(labels))
        means.append(np.mean([roc_auc(labels[take, k], scores[take, k]) for k in range(labels.shape[1])]))
    return np.percentile(means, [2.5, 97.5])
