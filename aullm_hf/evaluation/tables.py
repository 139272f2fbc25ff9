"""Scores as tables: on screen, in Markdown, LaTeX, CSV and Parquet.

Every table says what it was measured on (data, labels' release, protocol) and every F1 column names its rule.
Synthetic data stands as such in each title and each row, and is never put beside the published figures.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .published import METRIC, RULE, benchmark_name, published_on
from .run_folder import Run, write_parquet, write_text
from .scoring import Scores

PROTOCOLS = {
    "loso": "leave-one-subject-out",
    "cross_domain": "cross-domain",
    "leave_one_dataset_out": "leave-one-data-set-out",
    "holdout": "held-out subjects",
}
_COLUMN = {"oracle": "oracle (upper bound)", "always_absent": "floor: always absent"}
_COLUMN["always_present"] = "floor: always present"
_SYNTHETIC = "SYNTHETIC faces, not comparable with any published figure"


@dataclass(frozen=True)
class About:
    """What the scores of a run were measured on: the words beside every number."""

    run: str
    data: str
    labels: str
    protocol: str
    inner: str
    synthetic: bool

    @classmethod
    def of_run(cls, run: Run) -> "About":
        return cls.of_info(run.info, run.name, run.folds, sorted(set(run.predictions["dataset"])))

    @classmethod
    def of_info(cls, info: Mapping, name: str, folds: Sequence[Mapping], tested: Sequence[str] = ()) -> "About":
        """`tested` are the data sets of the predictions table, where run.json does not name any."""
        data = info.get("data", {})
        release = str(data.get("label_release") or "release not recorded")
        if release.startswith("synthetic, "):  # before version 2 there was none to name
            release = release.replace("synthetic", "synthetic v1", 1)
        shown = info.get("config", {}).get("data", {}).get("frames", "all")
        datasets = [str(one) for one in data.get("datasets") or tested]
        names = [entry["fold"] for entry in folds]
        return cls(
            run=name,
            data=benchmark_name(info.get("protocol", ""), datasets, names) or "not recorded",
            labels=release if shown == "all" else f"{release}; CONTROL: every clip shows its {shown} frame only",
            protocol=str(info.get("protocol", "not recorded")),
            inner=str(info.get("inner", "not recorded")),
            synthetic=any(one.startswith("synthetic") for one in [*datasets, *tested]),
        )

    def line(self) -> str:
        protocol = PROTOCOLS.get(self.protocol, self.protocol)
        words = f"data: {self.data}, labels: {self.labels}, protocol: {protocol}, inner: {self.inner}"
        return f"{_SYNTHETIC}; {words}" if self.synthetic else words


def result_tables(scores: Scores) -> dict[str, pd.DataFrame]:
    """Title -> table of text, one row per AU and one for the mean; three narrow tables in place of a wide one."""
    results = scores.results
    rows = [*results["per_au"].items(), ("mean", results["mean"])]
    decided = [rule for rule in ("at_0.5", "calibrated", "oracle") if rule in results["rules"]]
    floors = ["always_absent", "always_present"]
    tables = {}
    for metric, title in (
        ("f1", "Binary F1 (f1, AU active)"),
        ("f1_macro", "Macro F1 (f1_macro, mean of active and absent: the literature's number)"),
    ):
        body = []
        for au, block in rows:
            row = {"AU": au, "positives": _support(block, results)}
            row |= {f"{metric} {_COLUMN.get(rule, rule)}": _cell(block[rule][metric]) for rule in decided}
            row |= {f"{metric} {_COLUMN[rule]}": _number(block[rule][metric]["value"]) for rule in floors}
            body.append(row)
        tables[title] = pd.DataFrame(body)
    body = []
    for au, block in rows:
        row = {"AU": au, "prevalence": _number(block["prevalence"])}
        row |= {"AP": _cell(block["ranking"]["ap"]), "ROC-AUC": _cell(block["ranking"]["roc_auc"])}
        row["ECE before"] = _number(block["calibration_error"]["before"]["value"])
        if "calibrated" in results["rules"]:
            row["AP calibrated"] = _cell(block["ranking"]["ap_calibrated"])
            row["ECE after"] = _number(block["calibration_error"]["after"]["value"])
            flagged = results["flagged_folds"]
            row["folds left at 0.5"] = str(flagged.get(au, "") if au != "mean" else sum(flagged.values()))
        body.append(row)
    tables["Ranking and calibration (no threshold)"] = pd.DataFrame(body)
    if "intensity" in results["rules"]:
        body = []
        for au, block in rows:
            scores_of = block["intensity"]
            counts = {name: str(scores_of.get(name, "")) for name in ("known", "marked")}
            body.append({"AU": au, **counts, "ICC(3,1)": _cell(scores_of["icc"]), "MSE": _cell(scores_of["mse"])})
        tables["Intensity (expected level 0 to 5 against A to E; clips whose intensity is known)"] = pd.DataFrame(body)
    return tables


def result_notes(scores: Scores) -> list[str]:
    """What a reader must know beside the tables."""
    results = scores.results
    lines = [
        f"{results['n_clips']} clips of {results['n_subjects']} subjects, {results['n_folds']} folds, seeds "
        f"{', '.join(map(str, results['seeds']))}; confusion counts pooled over folds. In brackets the middle 95 % "
        f"over {results['resamples']} resamples of the subjects."
    ]
    lines += [f"{rule}: {meaning}." for rule, meaning in results["rules"].items() if rule != "ranking"]
    if len(results["seeds"]) > 1:
        lines.append("Values are means over seeds; ± is the seeds' standard deviation.")
    if results["mean"]["excluded"]:
        lines.append(
            f"Not in the mean, having no positive clip in the test table: {', '.join(results['mean']['excluded'])}."
        )
    return lines


def published_comparison(scores: Scores, about: About) -> pd.DataFrame:
    """Published rows of the same benchmark and AUs, then this run under each rule; macro F1 in percent."""
    results = scores.results
    aus = [int(au[2:]) for au in results["aus"]]
    beside = [] if about.synthetic else published_on(about.protocol, about.data, aus)
    rows = []
    for row in beside:
        values = dict(zip(results["aus"], row.per_au or [None] * len(aus), strict=True))
        values |= {"mean": row.mean, "AUs in the mean": len(aus)}
        origin = {"method": row.method, "source": row.source, "rule": f"{RULE} (upper bound)", "metric": METRIC}
        rows.append(origin | values | {"data": row.data, "labels": row.labels, "protocol": row.protocol})
    for rule in ("oracle", "calibrated", "at_0.5"):
        if rule in results["rules"]:
            values = {au: _percent(results["per_au"][au][rule][METRIC]["value"]) for au in results["aus"]}
            values["mean"] = _percent(results["mean"][rule][METRIC]["value"])
            values["AUs in the mean"] = len(results["mean"]["over"])
            origin = {"method": about.run, "source": "this run", "rule": _COLUMN.get(rule, rule), "metric": METRIC}
            data = f"{about.data} (SYNTHETIC)" if about.synthetic else about.data
            rows.append(origin | values | {"data": data, "labels": about.labels, "protocol": about.protocol})
    return pd.DataFrame(rows)


def published_title(table: pd.DataFrame) -> str:
    """The heading of `comparison`, which says so where nothing published was measured on the same thing."""
    if (table["source"] != "this run").any():
        return "Beside the published figures (macro F1, %)"
    return "Macro F1 in % (nothing published on this data, these AUs and this protocol)"


def tidy_results(scores: Scores, about: About) -> pd.DataFrame:
    """One row per number, with everything it needs to be understood alone."""
    frame = scores.frame()
    context = {
        "run": about.run,
        "data": about.data,
        "synthetic": about.synthetic,
        "labels": about.labels,
        "protocol": about.protocol,
        "inner": about.inner,
        "upper_bound": frame["rule"] == "oracle",
    }
    return pd.DataFrame(dict(context.items()), index=frame.index).join(frame)


def to_text(scores: Scores, about: About) -> str:
    """For the screen."""
    parts = [f"{about.run} ({about.line()})"]
    parts += [f"{title}\n{_aligned(table)}" for title, table in result_tables(scores).items()]
    return "\n\n".join([*parts, "\n".join(result_notes(scores))]) + "\n"


def to_markdown(scores: Scores, about: About, *, level: int = 2) -> str:
    heading = "#" * level
    parts = [f"{heading} {about.run}", about.line() + "."]
    parts += [f"{heading}# {title}\n\n{markdown_table(table)}" for title, table in result_tables(scores).items()]
    beside = published_comparison(scores, about)
    parts.append(f"{heading}# {published_title(beside)}\n\n{markdown_table(text_cells(beside))}")
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in result_notes(scores))]) + "\n"


def to_latex(scores: Scores, about: About) -> str:
    """Stand-alone `table` environments (booktabs), captions with everything the number needs."""
    beside = published_comparison(scores, about)
    tables = {**result_tables(scores), published_title(beside): text_cells(beside)}
    parts = ["\n".join(["% needs \\usepackage{booktabs}", *(f"% {_one_line(note)}" for note in result_notes(scores))])]
    for title, table in tables.items():
        parts.append(latex_table(table, f"{title}. {about.run}; {about.line()}."))
    return "\n\n".join(parts) + "\n"


def latex_table(table: pd.DataFrame, caption: str) -> str:
    """A stand-alone `table` environment (booktabs); `**cell**` is bold, as in Markdown."""
    head = " & ".join(_tex(column) for column in table.columns)
    body = [" & ".join(_bold(_tex(str(cell))) for cell in row) + r" \\" for row in table.itertuples(index=False)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption)}}}",
            rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def write_tables(scores: Scores, about: About, folder: str | Path) -> list[Path]:
    """results.{txt,md,tex,csv,parquet} and comparison.csv under `folder`; the same scores give the same bytes."""
    folder = Path(folder)
    frame = tidy_results(scores, about)
    write_text(to_text(scores, about), folder / "results.txt")
    write_text(to_markdown(scores, about), folder / "results.md")
    write_text(to_latex(scores, about), folder / "results.tex")
    write_text(frame.to_csv(index=False, lineterminator="\n"), folder / "results.csv")
    write_parquet(frame, folder / "results.parquet")
    write_text(published_comparison(scores, about).to_csv(index=False, lineterminator="\n"), folder / "comparison.csv")
    return sorted(folder / name for name in TABLE_FILES)


TABLE_FILES = ("results.txt", "results.md", "results.tex", "results.csv", "results.parquet", "comparison.csv")


def markdown_table(table: pd.DataFrame) -> str:
    lines = [table.columns.tolist(), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _support(block: dict, results: dict) -> str:
    return f"{block['support']} of {results['n_clips']}" if "support" in block else f"{len(block['over'])} AUs"


def _cell(figure: dict) -> str:
    """0.81 ± 0.02 [0.70, 0.88]"""
    if figure["value"] is None:
        return "undefined"
    spread = f" ± {figure['sd']:.2f}" if figure["sd"] is not None else ""
    limits = f" [{figure['low']:.2f}, {figure['high']:.2f}]" if figure["low"] is not None else ""
    return f"{figure['value']:.2f}{spread}{limits}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 1)


def text_cells(table: pd.DataFrame) -> pd.DataFrame:
    return table.map(lambda cell: "-" if cell is None or cell != cell else str(cell))


def _aligned(table: pd.DataFrame) -> str:
    lines = [[str(cell) for cell in line] for line in [table.columns.tolist(), *table.values.tolist()]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _tex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text).replace("±", r"$\pm$").replace("~", r"\textasciitilde{}")


def _bold(cell: str) -> str:
    return re.sub(r"\*\*(.+)\*\*", r"\\textbf{\1}", cell)


def _one_line(text: str) -> str:
    return " ".join(text.split())
