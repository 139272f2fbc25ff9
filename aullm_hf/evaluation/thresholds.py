"""Per-AU calibration and decision thresholds, from the inner held-out clips alone.

Platt scaling p = sigmoid(a z + b) with Platt's smoothed targets (Platt 1999; Lin, Lin and Weng 2007), which keep the
fit finite on separable clips, then the threshold on p with the best binary F1. The asymmetric loss pushes
probabilities up, so an uncalibrated 0.5 means little under it.

A `Calibration` holds every subject that shaped it or its model, and refuses to be applied to one of them as a test.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arguments import first_few, shown
from .protocols import MIN_INNER_POSITIVES


@dataclass(frozen=True)
class Calibration:
    """(a, b) and threshold per AU, the AUs that kept a = 1, b = 0 and 0.5 (with the reason), and who has been seen."""

    scale: Mapping[str, float]  # a
    shift: Mapping[str, float]  # b
    thresholds: Mapping[str, float]  # on the calibrated probability
    seen_subjects: frozenset[str]
    flagged: Mapping[str, str] = field(default_factory=dict)  # AU -> why it was left as it is

    @property
    def aus(self) -> tuple[str, ...]:
        return tuple(self.thresholds)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """sigmoid(a z + b): (N, n_AU) -> (N, n_AU), float64."""
        logits = np.asarray(logits, dtype=np.float64)
        if logits.ndim != 2 or logits.shape[1] != len(self.aus):
            raise ValueError(f"logits have shape {logits.shape}; this calibration is for (N, {len(self.aus)})")
        a = np.array([self.scale[au] for au in self.aus])
        b = np.array([self.shift[au] for au in self.aus])
        return sigmoid(a * logits + b)

    def test_probabilities(self, logits: np.ndarray, subjects: Iterable[str]) -> np.ndarray:
        """The same for tested clips; the subject of each row (`dataset:subject`) must be new to this calibration."""
        self.refuse_seen(subjects)
        return self.probabilities(logits)

    def refuse_seen(self, subjects: Iterable[str]) -> None:
        if shared := self.seen_subjects & set(subjects):
            raise ValueError(
                f"{first_few(shared)} shaped this calibration or its model and cannot be tested with it; "
                "use the fold that leaves them out"
            )

    def to_dict(self) -> dict:
        """The fold's entry of folds.json."""
        return {
            "calibration": {au: [self.scale[au], self.shift[au]] for au in self.aus},
            "thresholds": dict(self.thresholds),
            "flagged": sorted(self.flagged, key=self.aus.index),
            "flag_reasons": dict(self.flagged),
            "seen_subjects": sorted(self.seen_subjects),
        }

    @classmethod
    def from_dict(cls, entry: Mapping) -> "Calibration":
        reasons = entry.get("flag_reasons", {})
        return cls(
            scale={au: float(a) for au, (a, _) in entry["calibration"].items()},
            shift={au: float(b) for au, (_, b) in entry["calibration"].items()},
            thresholds={au: float(t) for au, t in entry["thresholds"].items()},
            seen_subjects=frozenset(entry["seen_subjects"]),
            flagged={au: reasons.get(au, "flagged") for au in entry.get("flagged", ())},
        )

    @classmethod
    def identity(cls, aus: Sequence[str], seen_subjects: Iterable[str], reason: str = "") -> "Calibration":
        """No calibration, thresholds 0.5: the published recipes (`inner: none`)."""
        return cls(
            scale=dict.fromkeys(aus, 1.0),
            shift=dict.fromkeys(aus, 0.0),
            thresholds=dict.fromkeys(aus, 0.5),
            seen_subjects=frozenset(seen_subjects),
            flagged=dict.fromkeys(aus, reason) if reason else {},
        )


def fit_calibration(
    logits: np.ndarray,
    labels: np.ndarray,
    aus: Sequence[str],
    *,
    subjects: Sequence[str],
    seen_subjects: Iterable[str] = (),
    false_alarms: float | None = None,
) -> Calibration:
    """Fit on the inner held-out clips: logits and labels (N, n_AU), `subjects` the key of each row.

    `seen_subjects` are those that the fold's model trained on; the inner ones are added. An AU with fewer than 3
    positive clips, without an absent one, or that the model ranks no better than chance, keeps a = 1, b = 0 and 0.5.

    With `false_alarms`, thresholds are raised until at most that share of the clips without any AU has an active one.
    """
    logits, labels = _matrix("logits", logits), _matrix("labels", labels)
    for name, given in (("aus", aus), ("subjects", subjects), ("seen_subjects", seen_subjects)):
        if isinstance(given, str) or not all(isinstance(one, str) for one in _each(name, given)):
            raise ValueError(f"{name}={shown(given)} is not allowed; give a list of names")
    if logits.shape != labels.shape or logits.shape != (len(subjects), len(aus)):
        raise ValueError(
            f"logits {logits.shape}, labels {labels.shape}, {len(subjects)} subjects and {len(aus)} AUs "
            "do not belong together; give one row per clip and one column per AU"
        )
    if not np.isfinite(logits).all():
        raise ValueError("the inner logits hold a NaN or an infinity; the fold's training has diverged")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(
            f"labels hold {labels[~np.isin(labels, (0, 1))][0]:g}; expected 0 where an AU is absent, or 1"
        )
    fitted, flagged = {}, {}
    for column, au in enumerate(aus):
        z, y = logits[:, column], labels[:, column].astype(bool)
        a, b, threshold, reason = _fit_one(z, y)
        fitted[au] = (a, b, threshold)
        if reason:
            flagged[au] = reason
    if false_alarms is not None:
        fitted = _with_few_false_alarms(fitted, logits[~labels.any(axis=1)], false_alarms)
    return Calibration(
        scale={au: a for au, (a, _, _) in fitted.items()},
        shift={au: b for au, (_, b, _) in fitted.items()},
        thresholds={au: t for au, (_, _, t) in fitted.items()},
        seen_subjects=frozenset(seen_subjects) | frozenset(subjects),
        flagged=flagged,
    )


def _matrix(name: str, values: Any) -> np.ndarray:
    try:
        matrix = np.asarray(values)
        if np.iscomplexobj(matrix):
            raise TypeError("complex numbers")
        return matrix.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}={shown(values)} is no table of numbers (clips, AUs)") from error


def _each(name: str, given: Any) -> Iterable:
    if not isinstance(given, Collection) or getattr(given, "ndim", 1) != 1:
        raise TypeError(f"{name}={shown(given)} is not allowed; give a list of names")
    return given


def _fit_one(z: np.ndarray, y: np.ndarray) -> tuple[float, float, float, str]:
    positives, absent = int(y.sum()), int((~y).sum())
    if positives < MIN_INNER_POSITIVES:
        return 1.0, 0.0, 0.5, f"{positives} positive inner clips, {MIN_INNER_POSITIVES} are needed"
    if absent == 0:
        return 1.0, 0.0, 0.5, "no inner clip without it"
    a, b = platt(z, y)
    if a <= 0:
        return 1.0, 0.0, 0.5, "ranked no better than chance on the inner clips"
    return a, b, best_threshold(sigmoid(a * z + b), y), ""


def _with_few_false_alarms(
    fitted: Mapping[str, tuple[float, float, float]], logits: np.ndarray, share: float
) -> dict[str, tuple[float, float, float]]:
    """(a, b, threshold) per AU, thresholds raised where needed; logits of the clips without any AU.

    Every AU is allowed the same share of these clips, the largest with which all AUs together keep to `share`.
    """
    if not len(logits):
        raise ValueError("false_alarms needs inner clips without any AU to choose thresholds on; there is none")
    scale, shift, thresholds = np.array(list(fitted.values())).T
    p = sigmoid(scale * logits + shift)  # (N, n_AU)
    ranked = np.sort(p, axis=0)[::-1]
    for allowed in range(int(share * len(p)), -1, -1):  # of the clips, for each AU
        raised = np.maximum(thresholds, np.nextafter(ranked[allowed], 2)) if allowed < len(p) else thresholds
        if (p >= raised).any(axis=1).mean() <= share:
            break
    return {au: (a, b, float(t)) for (au, (a, b, _)), t in zip(fitted.items(), raised.clip(max=1), strict=True)}


def platt(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(a, b) of least cross-entropy against Platt's smoothed targets, by Newton's method; a = 0 for a constant z."""
    z, y = np.asarray(z, dtype=np.float64), np.asarray(y, dtype=bool)
    centre, spread = float(z.mean()), float(z.std())
    positives, absent = y.sum(), (~y).sum()
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (absent + 2))
    x = (z - centre) / spread if spread > 1e-9 * max(1.0, abs(centre)) else np.zeros_like(z)
    design = np.stack([x, np.ones_like(x)], axis=1)  # (N, 2)
    weights = np.array([0.0, np.log((positives + 1) / (absent + 1))])
    loss = _cross_entropy(design @ weights, target)
    for _ in range(100):
        p = sigmoid(design @ weights)
        gradient = design.T @ (p - target)
        if np.abs(gradient).max() < 1e-10 * len(z):
            break
        # 1e-10 only keeps the matrix invertible where every z is the same
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        while (new := _cross_entropy(design @ (weights - step), target)) > loss and np.abs(step).max() > 1e-12:
            step = step / 2
        weights, loss = weights - step, new
    if not x.any():
        return 0.0, float(weights[1])
    a = float(weights[0] / spread)
    return a, float(weights[1] - a * centre)


def best_threshold(p: np.ndarray, y: np.ndarray) -> float:
    """The threshold with the best binary F1 for `active = p >= threshold`.

    Candidates lie midway between neighbouring probabilities. Few clips leave many ties; of those the one nearest to
    half the best F1 is taken, which is where the optimum of a calibrated probability lies (Lipton et al. 2014).
    """
    p, y = np.asarray(p, dtype=np.float64), np.asarray(y, dtype=bool)
    values = np.unique(p)
    candidates = np.concatenate([[values[0] / 2], (values[1:] + values[:-1]) / 2])
    active = p[None, :] >= candidates[:, None]  # (C, N)
    tp = (active & y).sum(axis=1)
    f1 = 2 * tp / np.maximum(active.sum(axis=1) + y.sum(), 1)
    best = f1.max()
    tied = candidates[f1 >= best - 1e-12]
    return float(tied[np.argmin(np.abs(tied - best / 2))])


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z)) in float64, without overflow at either end."""
    e = np.exp(-np.abs(np.asarray(z, dtype=np.float64)))
    return np.where(np.asarray(z) >= 0, 1, e) / (1 + e)


def _cross_entropy(z: np.ndarray, target: np.ndarray) -> float:
    return float(np.sum(np.logaddexp(0, z) - target * z))
