"""By how much one run is better than another: paired over the same resampled subjects, corrected for many rows.

95 % intervals, two-sided p-values, and Holm's correction over the rows of a table.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..counting import interval
from .benchmarks import Benchmark, Method


@dataclass(frozen=True)
class Difference:
    """How much better a row is than the reference, over the same resampled subjects."""

    value: float
    low: float
    high: float
    p: float
    p_holm: float


def paired_differences(benchmark: Benchmark, reference: Method, rule: str, metric: str) -> dict[str, Difference]:
    """Row's name -> its difference in mean F1 from the reference, for all rows but that one."""
    others = [method for method in benchmark.methods if method is not reference and rule in method.metrics]
    if rule not in reference.metrics or not others:
        return {}
    base, base_resampled = reference.mean(rule, metric)
    differences = []
    for method in others:
        value, resampled = method.mean(rule, metric)
        paired = resampled - base_resampled
        differences.append((value - base, *interval(paired), two_sided_p(paired)))
    corrected = holm([p for *_, p in differences])
    return {
        method.name: Difference(*difference, p_holm)
        for method, difference, p_holm in zip(others, differences, corrected, strict=True)
    }


def two_sided_p(paired: np.ndarray) -> float:
    """Twice the share of resampled differences beyond zero, on the side with fewer.

    One is added to each count, so it is never zero.
    """
    paired = paired[np.isfinite(paired)]
    beyond = min((paired <= 0).sum(), (paired >= 0).sum())
    return float(min(1.0, 2 * (beyond + 1) / (len(paired) + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the probability of any false claim among all rows is bounded."""
    order = np.argsort(p, kind="stable")
    stepped = np.asarray(p)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()


__all__ = ["Difference", "holm", "paired_differences", "two_sided_p"]
