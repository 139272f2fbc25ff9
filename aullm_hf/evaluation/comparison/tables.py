"""The table of many runs, in the papers' layout: a row a method, per-AU F1 in %, their mean, and what it rests on.

Published figures stand below ours, named as measured on real data by others, and only where they were scored alike.
Synthetic runs stand in tables of their own, each titled SYNTHETIC.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..counting import interval
from ..tables import PROTOCOLS
from .comparing import DECISIONS, METRICS, Benchmark, Difference, Entry, differences

PUBLISHED = "published, real data"


def title(benchmark: Benchmark, rule: str, metric: str) -> str:
    """What the numbers of a table are."""
    about = benchmark.about
    kind = "SYNTHETIC faces" if about.synthetic else "real data"
    return (
        f"{PROTOCOLS.get(about.protocol, about.protocol)} on {about.data} ({kind}; labels: {about.labels}; "
        f"{benchmark.n_clips} clips of {benchmark.n_subjects} subjects): {METRICS[metric]} in %, {DECISIONS[rule]}"
    )


def comparison_table(benchmark: Benchmark, reference: Entry, rule: str, metric: str) -> pd.DataFrame:
    """Text cells, ready for Markdown and LaTeX. The best of our figures in a column is bold."""
    against = differences(benchmark, reference, rule, metric)
    ours = [entry for entry in benchmark.entries if rule in entry.figures]
    values = np.array([[*entry.per_au(rule, metric), entry.mean(rule, metric)[0]] for entry in ours])
    best = np.round(100 * np.nanmax(values, axis=0), 1) if len(ours) else None
    rows = []
    for entry in benchmark.entries:
        row = {"method": entry.name}
        if entry in ours:
            numbers = values[ours.index(entry)]
            row |= {
                au: _percent(number, best[place])
                for place, (au, number) in enumerate(zip([*benchmark.aus, "avg"], numbers, strict=True))
            }
            row["95 %"] = "[{:.1f}, {:.1f}]".format(*(100 * np.array(interval(entry.mean(rule, metric)[1]))))
        else:
            row |= dict.fromkeys([*benchmark.aus, "avg", "95 %"], "-")
        row |= _difference(against.get(entry.name), f"minus {reference.name}", entry is reference)
        row["mean AP"] = f"{100 * entry.mean_ap:.1f}"
        rows.append(row | _cost(entry))
    for published in benchmark.published(metric, rule):
        row = {"method": f"{published.method} ({PUBLISHED}, {published.source})", "avg": f"{published.mean:.1f}"}
        if published.per_au is not None:
            numbers = dict(zip(published.aus, published.per_au, strict=True))
            row |= {au: f"{numbers[int(au[2:])]:.1f}" for au in benchmark.aus}
        rows.append(row)
    return pd.DataFrame(rows).fillna("-")


def ablation_table(groups: Sequence[Benchmark], rule: str, metric: str) -> pd.DataFrame | None:
    """Variants of AU-LLM down, benchmarks across: the mean F1 of each. None with fewer than two variants."""
    names = list(dict.fromkeys(entry.name for group in groups for entry in group.entries if entry.is_aullm))
    if len(names) < 2:
        return None
    rows = []
    for name in names:
        row = {"variant": name}
        for group in groups:
            entry = next((one for one in group.entries if one.name == name and rule in one.figures), None)
            row[group.slug] = "-" if entry is None else f"{100 * entry.mean(rule, metric)[0]:.1f}"
        rows.append(row)
    return pd.DataFrame(rows)


def tidy_comparison(groups: Sequence[Benchmark], references: Sequence[Entry]) -> pd.DataFrame:
    """Every figure on a row of its own: all rules and metrics, with intervals, differences and what they mean."""
    rows = []
    for group, reference in zip(groups, references, strict=True):
        about = group.about
        place = {"data": about.data, "synthetic": about.synthetic, "labels": about.labels, "protocol": about.protocol}
        for metric in METRICS:
            for rule in DECISIONS:
                against = differences(group, reference, rule, metric)
                for entry in group.entries:
                    if rule in entry.figures:
                        row = place | {"method": entry.name, "figures of": "this comparison"}
                        row |= {"rule": rule, "metric": metric, "upper_bound": rule == "oracle"}
                        found = _figures(entry, rule, metric, against.get(entry.name), reference)
                        rows += [row | one for one in found]
                for published in group.published(metric, rule):
                    row = place | {"method": published.method, "figures of": f"{PUBLISHED}: {published.source}"}
                    row |= {"labels": published.labels, "rule": rule, "metric": metric, "upper_bound": True}
                    per_au = zip(published.aus, published.per_au or (), strict=False)
                    rows += [row | {"au": f"AU{au}", "percent": value} for au, value in per_au]
                    rows.append(row | {"au": "avg", "percent": published.mean})
    return pd.DataFrame(rows)


def _figures(entry: Entry, rule: str, metric: str, against: Difference | None, reference: Entry) -> list[dict]:
    values, resampled = entry.figures[rule][metric]
    rows = [
        {"au": au, "percent": 100 * value} | _limits(resampled[:, place])
        for place, (au, value) in enumerate(zip(entry.aus, values, strict=True))
    ]
    value, resampled = entry.mean(rule, metric)
    mean = {"au": "avg", "percent": 100 * value} | _limits(resampled)
    if against is not None:
        mean |= {"reference": reference.name, "difference": 100 * against.value, "difference_low": 100 * against.low}
        mean |= {"difference_high": 100 * against.high, "p": against.p, "p_holm": against.p_holm}
    cost = {"parameters": entry.parameters, "train_minutes": entry.train_minutes}
    return [*rows, mean | cost | {"clips_per_second": entry.clips_per_second}]


def _limits(resampled: np.ndarray) -> dict[str, float]:
    low, high = interval(resampled)
    return {"low": 100 * low, "high": 100 * high}


def _percent(value: float, best: float) -> str:
    if not np.isfinite(value):
        return "-"
    text = f"{100 * value:.1f}"
    return f"**{text}**" if float(text) >= best else text


def _difference(found: Difference | None, name: str, is_reference: bool) -> dict[str, str]:
    if found is None:
        return {name: "reference" if is_reference else "-", "p": "-", "p (Holm)": "-"}
    value = f"{100 * found.value:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return {name: value, "p": f"{found.p:.3f}", "p (Holm)": f"{found.p_holm:.3f}"}


def _cost(entry: Entry) -> dict[str, str]:
    parameters, minutes, speed = entry.parameters, entry.train_minutes, entry.clips_per_second
    return {
        "trained": "-" if parameters is None else f"{parameters / 1e6:.3f} M",
        "training": "-" if minutes is None else f"{minutes:.1f} min",
        "clips/s": "-" if speed is None else f"{speed:.0f}",
    }


def notes(benchmark: Benchmark, reference: Entry) -> list[str]:
    """What a reader must know beside the table."""
    resamples = reference.resamples
    said = [
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
        said.insert(0, "SYNTHETIC faces: the code can be compared by them, no published figure can.")
    elif benchmark.published("f1_macro", "oracle"):
        said.append(
            f"{PUBLISHED}: by the papers' authors, at thresholds chosen on the test labels; labels and crops may "
            "differ from ours, so no interval or difference is given."
        )
    return said


__all__ = ["ablation_table", "comparison_table", "notes", "tidy_comparison", "title"]
