"""Many runs side by side: who stands on the same clips, and by how much one is better than another.

Runs are compared only where they tested the same clips with the same labels under the same protocol: a `Benchmark`.
Differences are paired: the same resampled subjects for both runs, 95 % intervals, two-sided p-values, Holm's
correction over the rows of a table.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..counting import interval
from ..published import METRIC, RULE, Published, published_beside
from ..run_folder import Run, au_names
from ..scoring import _calibrated, _nanmean, resampled_figures
from ..tables import About

METRICS = {"f1": "binary F1 (AU active)", "f1_macro": "macro F1 (mean of active and absent)"}
DECISIONS = {
    "at_0.5": "at 0.5, before calibration",
    "calibrated": "at the fold's own thresholds, from its inner clips",
    "oracle": "UPPER BOUND, thresholds chosen on the test labels as the papers do",
}


@dataclass(frozen=True, eq=False)  # itself alone: a run is not compared cell by cell
class Entry:
    """A run, and the name of its row."""

    name: str
    run: Run
    resamples: int = 2000
    seed: int = 0

    @cached_property
    def about(self) -> About:
        return About.of_run(self.run)

    @cached_property
    def aus(self) -> tuple[str, ...]:
        return au_names(self.run.predictions)

    @cached_property
    def figures(self) -> dict:
        return resampled_figures(
            self.run.predictions,
            self.run.folds,
            inner=self.run.info.get("inner"),
            resamples=self.resamples,
            seed=self.seed,
        )

    @cached_property
    def over(self) -> list[int]:
        """The AUs that a mean is over: those with a positive clip."""
        return [i for i, au in enumerate(self.aus) if self.run.predictions[f"y_{au}"].any()]

    def per_au(self, rule: str, metric: str) -> np.ndarray | None:
        """(n_AU,), or None where the run has no such figures."""
        return self.figures[rule][metric][0] if rule in self.figures else None

    def mean(self, rule: str, metric: str) -> tuple[float, np.ndarray]:
        """The mean over AUs, and the same in every resample (B,)."""
        values, resampled = self.figures[rule][metric]
        return float(_nanmean(values[None, self.over])[0]), _nanmean(resampled[:, self.over])

    @property
    def calibrated(self) -> bool:
        return "calibrated" in self.figures

    @property
    def mean_ap(self) -> float:
        """Mean average precision, of the calibrated scores where there are any: folds differ in scale before."""
        return self.mean("ranking", "ap_calibrated" if self.calibrated else "ap")[0]

    def active(self) -> np.ndarray:
        """The decisions (rows, n_AU): at the fold's own thresholds, or at 0.5 where the run has none."""
        table = self.run.predictions
        if not self.calibrated:
            return table[[f"z_{au}" for au in self.aus]].to_numpy() >= 0
        probabilities, thresholds = _calibrated(table, self.aus, self.run.folds)
        return probabilities >= thresholds

    @property
    def is_aullm(self) -> bool:
        return str(self.run.info.get("model_kind")).startswith("aullm")

    # What it cost: measured where it was run, so only to compare runs of one machine.

    @property
    def parameters(self) -> int | None:
        return self.run.info.get("parameters", {}).get("trained")

    @property
    def train_minutes(self) -> float | None:
        """Of all folds of one seed, on average."""
        found = [entry.get("train_seconds") for entry in self.run.folds]
        seeds = len({entry["seed"] for entry in self.run.folds})
        return None if None in found or not found else sum(found) / seeds / 60

    @property
    def clips_per_second(self) -> float | None:
        """Of the tests: frames to logits, in batches."""
        found = [entry.get("test_seconds") for entry in self.run.folds]
        return None if None in found or not sum(found) else len(self.run.predictions) / sum(found)


@dataclass(frozen=True)
class Benchmark:
    """Runs that tested the same clips, in the order of the table."""

    entries: tuple[Entry, ...]

    @property
    def about(self) -> About:
        return self.entries[0].about

    @property
    def aus(self) -> tuple[str, ...]:
        return self.entries[0].aus

    @property
    def n_clips(self) -> int:
        return self.entries[0].run.predictions["clip_id"].nunique()

    @property
    def n_subjects(self) -> int:
        table = self.entries[0].run.predictions
        return len(table[["dataset", "subject"]].drop_duplicates())

    @property
    def slug(self) -> str:
        """A folder's name: the data, and for synthetic clips their difficulty."""
        words = [self.about.data, *(self.about.labels.split(", ")[1:2] if self.about.synthetic else [])]
        return "-".join(words).replace("+", "-").replace(" ", "-")

    def published(self, metric: str, rule: str) -> list[Published]:
        """Published rows that were scored like this, on real data like this."""
        if self.about.synthetic or (metric, rule) != (METRIC, RULE):
            return []
        return published_beside(self.about.protocol, self.about.data, [int(au[2:]) for au in self.aus])


def benchmarks(entries: Sequence[Entry]) -> list[Benchmark]:
    """Group the runs by what they tested; a row's name stands once in each."""
    groups: dict[tuple, list[Entry]] = {}
    for entry in entries:
        key = (entry.about.data, entry.about.labels, entry.about.protocol, entry.aus, _tested(entry))
        groups.setdefault(key, []).append(entry)
    for group in groups.values():
        names = [entry.name for entry in group]
        if twice := next((name for name in names if names.count(name) > 1), None):
            paths = [str(entry.run.path) for entry in group if entry.name == twice]
            raise ValueError(
                f"two rows would be called {twice!r}: {' and '.join(paths)}. Name one of them: NAME={paths[1]}"
            )
    return [Benchmark(tuple(group)) for group in groups.values()]


def _tested(entry: Entry) -> str:
    """A fingerprint of the tested clips and their labels."""
    columns = ["dataset", "clip_id", *(f"y_{au}" for au in entry.aus)]
    rows = entry.run.predictions[columns].drop_duplicates().sort_values(columns[:2])
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


# -------------------------------------------------------------------- differences


@dataclass(frozen=True)
class Difference:
    """How much better a row is than the reference, over the same resampled subjects."""

    value: float
    low: float
    high: float
    p: float
    p_holm: float


def differences(benchmark: Benchmark, reference: Entry, rule: str, metric: str) -> dict[str, Difference]:
    """Row's name -> its difference in mean F1 from the reference, for all rows but that one."""
    others = [entry for entry in benchmark.entries if entry is not reference and rule in entry.figures]
    if rule not in reference.figures or not others:
        return {}
    base, base_resampled = reference.mean(rule, metric)
    found = []
    for entry in others:
        value, resampled = entry.mean(rule, metric)
        paired = resampled - base_resampled
        found.append((value - base, *interval(paired), two_sided(paired)))
    corrected = holm([p for *_, p in found])
    return {entry.name: Difference(*one, p_holm) for entry, one, p_holm in zip(others, found, corrected, strict=True)}


def two_sided(paired: np.ndarray) -> float:
    """Twice the share of resampled differences beyond zero, on the side with fewer; one is added to each count, so it
    is never zero."""
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


__all__ = [
    "DECISIONS",
    "METRICS",
    "Benchmark",
    "Difference",
    "Entry",
    "benchmarks",
    "differences",
    "holm",
    "two_sided",
]
