"""The table of many runs, in the papers' layout: one row per method, per-AU F1 in %, their mean, what it rests on.

Published rows stand below the runs, named as measured on real data by others, and only where they were scored alike.
Synthetic runs stand in tables of their own, each titled SYNTHETIC.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..counting import interval
from ..tables import PROTOCOLS
from .benchmarks import METRICS, RULES, Benchmark, Method
from .differences import Difference, paired_differences

PUBLISHED = "published, real data"


def benchmark_title(benchmark: Benchmark) -> str:
    """What the runs were tested on."""
    about = benchmark.about
    kind = "SYNTHETIC faces" if about.synthetic else "real data"
    return (
        f"{PROTOCOLS.get(about.protocol, about.protocol)} on {about.data} ({kind}; labels: {about.labels}; "
        f"{benchmark.n_clips} clips of {benchmark.n_subjects} subjects)"
    )


def table_title(benchmark: Benchmark, rule: str, metric: str) -> str:
    """What the numbers of a table are."""
    return f"{benchmark_title(benchmark)}: {METRICS[metric]} in %, {RULES[rule]}"


def comparison_table(benchmark: Benchmark, reference: Method, rule: str, metric: str) -> pd.DataFrame:
    """Text cells, ready for Markdown and LaTeX. The best of our numbers in a column is bold."""
    against = paired_differences(benchmark, reference, rule, metric)
    scored = [method for method in benchmark.methods if rule in method.metrics]
    values = np.array([[*method.per_au(rule, metric), method.mean(rule, metric)[0]] for method in scored])
    best = np.round(100 * np.nanmax(values, axis=0), 1) if scored else None
    rows = []
    for method in benchmark.methods:
        row = {"method": method.name}
        if method in scored:
            numbers = values[scored.index(method)]
            row |= {
                au: _percent(number, best[place])
                for place, (au, number) in enumerate(zip([*benchmark.aus, "avg"], numbers, strict=True))
            }
            row["95 %"] = "[{:.1f}, {:.1f}]".format(*(100 * np.array(interval(method.mean(rule, metric)[1]))))
        else:
            row |= dict.fromkeys([*benchmark.aus, "avg", "95 %"], "-")
        row |= _difference(against.get(method.name), f"minus {reference.name}", method is reference)
        row["mean AP"] = f"{100 * method.mean_ap:.1f}"
        rows.append(row | _cost(method))
    for published in benchmark.published(metric, rule):
        row = {"method": f"{published.method} ({PUBLISHED}, {published.source})", "avg": f"{published.mean:.1f}"}
        if published.per_au is not None:
            numbers = dict(zip(published.aus, published.per_au, strict=True))
            row |= {au: f"{numbers[int(au[2:])]:.1f}" for au in benchmark.aus}
        rows.append(row)
    return pd.DataFrame(rows).fillna("-")


def ablation_table(groups: Sequence[Benchmark], rule: str, metric: str) -> pd.DataFrame | None:
    """Variants of AU-LLM down, benchmarks across: the mean F1 of each. None with fewer than two variants."""
    names = list(dict.fromkeys(method.name for group in groups for method in group.methods if method.is_aullm))
    if len(names) < 2:
        return None
    rows = []
    for name in names:
        row = {"variant": name}
        for group in groups:
            method = next((one for one in group.methods if one.name == name and rule in one.metrics), None)
            row[group.slug] = "-" if method is None else f"{100 * method.mean(rule, metric)[0]:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def tidy_comparison(groups: Sequence[Benchmark], references: Sequence[Method]) -> pd.DataFrame:
    """One row per number: all rules and metrics, with intervals, differences and what they mean."""
    rows = []
    for group, reference in zip(groups, references, strict=True):
        about = group.about
        place = {"data": about.data, "synthetic": about.synthetic, "labels": about.labels, "protocol": about.protocol}
        for metric in METRICS:
            for rule in RULES:
                against = paired_differences(group, reference, rule, metric)
                for method in group.methods:
                    if rule in method.metrics:
                        row = place | {"method": method.name, "source": "this comparison"}
                        row |= {"rule": rule, "metric": metric, "upper_bound": rule == "oracle"}
                        own = _metric_rows(method, rule, metric, against.get(method.name), reference)
                        rows += [row | one for one in own]
                for published in group.published(metric, rule):
                    row = place | {"method": published.method, "source": f"{PUBLISHED}: {published.source}"}
                    row |= {"labels": published.labels, "rule": rule, "metric": metric, "upper_bound": True}
                    per_au = zip(published.aus, published.per_au or (), strict=False)
                    rows += [row | {"au": f"AU{au}", "percent": value} for au, value in per_au]
                    rows.append(row | {"au": "avg", "percent": published.mean})
    return pd.DataFrame(rows)


def _metric_rows(method: Method, rule: str, metric: str, against: Difference | None, reference: Method) -> list[dict]:
    values, resampled = method.metrics[rule][metric]
    rows = [
        {"au": au, "percent": 100 * value} | _limits(resampled[:, place])
        for place, (au, value) in enumerate(zip(method.aus, values, strict=True))
    ]
    value, resampled = method.mean(rule, metric)
    mean = {"au": "avg", "percent": 100 * value} | _limits(resampled)
    if against is not None:
        mean |= {"reference": reference.name, "difference": 100 * against.value, "difference_low": 100 * against.low}
        mean |= {"difference_high": 100 * against.high, "p": against.p, "p_holm": against.p_holm}
    cost = {"parameters": method.parameters, "train_minutes": method.train_minutes}
    return [*rows, mean | cost | {"clips_per_second": method.clips_per_second}]


def _limits(resampled: np.ndarray) -> dict[str, float]:
    low, high = interval(resampled)
    return {"low": 100 * low, "high": 100 * high}


def _percent(value: float, best: float) -> str:
    if not np.isfinite(value):
        return "-"
    text = f"{100 * value:.1f}"
    return f"**{text}**" if float(text) >= best else text


def _difference(difference: Difference | None, name: str, is_reference: bool) -> dict[str, str]:
    if difference is None:
        return {name: "reference" if is_reference else "-", "p": "-", "p (Holm)": "-"}
    value = f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
    return {name: value, "p": f"{difference.p:.3f}", "p (Holm)": f"{difference.p_holm:.3f}"}


def _cost(method: Method) -> dict[str, str]:
    parameters, minutes, speed = method.parameters, method.train_minutes, method.clips_per_second
    return {
        "trained": "-" if parameters is None else f"{parameters / 1e6:.3f} M",
        "training": "-" if minutes is None else f"{minutes:.1f} min",
        "clips/s": "-" if speed is None else f"{speed:.0f}",
    }


def table_notes(benchmark: Benchmark, reference: Method) -> list[str]:
    """What a reader must know beside the table."""
    resamples = reference.resamples
    notes = [
        f"95 %: the middle of {resamples} resamples of the {benchmark.n_subjects} subjects; confusion counts pooled "
        "over folds; several seeds are averaged.",
        f"minus {reference.name}: the difference in avg, over the same resampled subjects for both; p is two-sided, "
        f"twice the share of resamples beyond zero (at least {2 / (resamples + 1):.4f}); p (Holm) is corrected for "
        "the rows of this table. With few subjects both are rough.",
        "mean AP: average precision over AUs, no threshold, of the calibrated scores where there are any. trained: "
        "parameters that training changes. training: all folds of one seed, teachers included; clips/s: of the tests, "
        "in batches. Both as measured where the run ran.",
    ]
    if benchmark.about.synthetic:
        notes.insert(0, "SYNTHETIC faces: methods can be compared on them; no published number can.")
    elif benchmark.published("f1_macro", "oracle"):
        notes.append(
            f"{PUBLISHED}: by the papers' authors, at thresholds chosen on the test labels; labels and crops may "
            "differ from ours, so no interval or difference is given."
        )
    return notes


__all__ = ["ablation_table", "benchmark_title", "comparison_table", "table_notes", "table_title", "tidy_comparison"]
