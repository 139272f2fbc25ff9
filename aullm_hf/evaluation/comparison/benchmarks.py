"""Many runs side by side: a `Benchmark` holds those that tested the same clips with the same labels.

Only they are compared: on other clips, under another protocol or with other labels a difference would mean nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..counting import mean_of_defined
from ..published import METRIC, RULE, Published, published_on
from ..run_folder import Run, aus_of_table
from ..scoring import calibrate, resampled_metrics
from ..tables import About

METRICS = {"f1": "binary F1 (AU active)", "f1_macro": "macro F1 (mean of active and absent)"}
RULES = {
    "at_0.5": "at 0.5, before calibration",
    "calibrated": "at the fold's own thresholds, from its inner clips",
    "oracle": "UPPER BOUND, thresholds chosen on the test labels as the papers do",
}


@dataclass(frozen=True, eq=False)  # compared by identity, not cell by cell
class Method:
    """A run, and the name of its row in the table."""

    name: str
    run: Run
    resamples: int = 2000
    seed: int = 0

    @cached_property
    def about(self) -> About:
        return About.of_run(self.run)

    @cached_property
    def aus(self) -> tuple[str, ...]:
        return aus_of_table(self.run.predictions)

    @cached_property
    def metrics(self) -> dict:
        """rule -> metric -> (values (n_AU,), resampled (B, n_AU))."""
        return resampled_metrics(
            self.run.predictions,
            self.run.folds,
            inner=self.run.info.get("inner"),
            resamples=self.resamples,
            seed=self.seed,
        )

    @cached_property
    def averaged(self) -> list[int]:
        """The AUs that a mean is over: those with a positive clip."""
        return [i for i, au in enumerate(self.aus) if self.run.predictions[f"y_{au}"].any()]

    def per_au(self, rule: str, metric: str) -> np.ndarray | None:
        """(n_AU,), or None where the run has no such values."""
        return self.metrics[rule][metric][0] if rule in self.metrics else None

    def mean(self, rule: str, metric: str) -> tuple[float, np.ndarray]:
        """The mean over AUs, and the same in every resample (B,)."""
        values, resampled = self.metrics[rule][metric]
        return float(mean_of_defined(values[self.averaged])), mean_of_defined(resampled[:, self.averaged])

    @property
    def is_calibrated(self) -> bool:
        return "calibrated" in self.metrics

    @property
    def mean_ap(self) -> float:
        """Mean average precision, of the calibrated scores where there are any: folds differ in scale before."""
        return self.mean("ranking", "ap_calibrated" if self.is_calibrated else "ap")[0]

    def decisions(self) -> np.ndarray:
        """Which AUs are active, (rows, n_AU): at the fold's own thresholds, or at 0.5 where the run has none."""
        table = self.run.predictions
        if not self.is_calibrated:
            return table[[f"z_{au}" for au in self.aus]].to_numpy() >= 0
        probabilities, thresholds = calibrate(table, self.aus, self.run.folds)
        return probabilities >= thresholds

    @property
    def is_aullm(self) -> bool:
        return str(self.run.info.get("model_kind")).startswith("aullm")

    # Costs are as measured where the run ran, so only to compare runs of one machine.

    @property
    def parameters(self) -> int | None:
        return self.run.info.get("parameters", {}).get("trained")

    @property
    def train_minutes(self) -> float | None:
        """Of all folds of one seed, on average."""
        seconds = [fold.get("train_seconds") for fold in self.run.folds]
        seeds = len({fold["seed"] for fold in self.run.folds})
        return None if None in seconds or not seconds else sum(seconds) / seeds / 60

    @property
    def clips_per_second(self) -> float | None:
        """Of the tests: frames to logits, in batches."""
        seconds = [fold.get("test_seconds") for fold in self.run.folds]
        return None if None in seconds or not sum(seconds) else len(self.run.predictions) / sum(seconds)


@dataclass(frozen=True)
class Benchmark:
    """Methods that tested the same clips, in the order of the table."""

    methods: tuple[Method, ...]

    @property
    def about(self) -> About:
        return self.methods[0].about

    @property
    def aus(self) -> tuple[str, ...]:
        return self.methods[0].aus

    @property
    def n_clips(self) -> int:
        return self.methods[0].run.predictions["clip_id"].nunique()

    @property
    def n_subjects(self) -> int:
        table = self.methods[0].run.predictions
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
        return published_on(self.about.protocol, self.about.data, [int(au[2:]) for au in self.aus])

    def reference(self, name: str | None = None) -> Method:
        """The method that the others are compared with: the one of that name, or the first AU-LLM, or the first."""
        if name is None:
            return next((method for method in self.methods if method.is_aullm), self.methods[0])
        named = next((method for method in self.methods if method.name == name), None)
        if named is None:
            raise ValueError(
                f"--reference is {name!r}, which is no row on {self.about.data}: the rows are "
                f"{', '.join(repr(method.name) for method in self.methods)}"
            )
        return named


def group_by_benchmark(methods: Sequence[Method]) -> list[Benchmark]:
    """Group the runs by what they tested; a row's name stands once in each group."""
    groups: dict[tuple, list[Method]] = {}
    for method in methods:
        key = (method.about.data, method.about.labels, method.about.protocol, method.aus, _tested_clips(method))
        groups.setdefault(key, []).append(method)
    for group in groups.values():
        names = [method.name for method in group]
        if twice := next((name for name in names if names.count(name) > 1), None):
            paths = [str(method.run.path) for method in group if method.name == twice]
            raise ValueError(
                f"two rows would be called {twice!r}: {' and '.join(paths)}. Name one of them: NAME={paths[1]}"
            )
    return [Benchmark(tuple(group)) for group in groups.values()]


def _tested_clips(method: Method) -> str:
    """A fingerprint of the tested clips and their labels."""
    columns = ["dataset", "clip_id", *(f"y_{au}" for au in method.aus)]
    rows = method.run.predictions[columns].drop_duplicates().sort_values(columns[:2])
    return hashlib.sha256(rows.to_csv(index=False).encode()).hexdigest()


__all__ = ["METRICS", "RULES", "Benchmark", "Method", "group_by_benchmark"]
