"""The whole comparison of many runs: comparison.md, .tex and .csv, and the pictures of each benchmark."""

from collections.abc import Sequence
from pathlib import Path

from ..run_folder import write_text
from ..tables import latex_table, markdown_table
from .benchmarks import METRICS, RULES, Benchmark, Method, group_by_benchmark
from .tables import ablation_table, comparison_table, table_notes, table_title, tidy_comparison


def write_comparison(
    methods: Sequence[Method],
    out: str | Path,
    *,
    reference: str | None = None,
    rule: str | None = None,
    metric: str | None = None,
    figures: bool = True,
) -> str:
    """Compare runs, group by group of those that tested the same clips, and write all of it under `out`.

    Args:
        methods: the runs with their rows' names, in the order of the rows.
        out: a folder.
        reference: the name of the row that the others are compared with (default: the first AU-LLM).
        rule: how scores become decisions (see RULES), metric: which F1 (see METRICS). Without either there are two
            tables per group: binary F1 without using test labels, and macro F1 as the papers score it.
        figures: also draw the pictures, which needs the extra `viz`.

    Returns:
        What comparison.md holds.
    """
    out = Path(out)
    groups = group_by_benchmark(methods)
    references = [group.reference(reference) for group in groups]
    markdown, latex = ["# Comparison"], ["% needs \\usepackage{booktabs}"]
    for number, (group, one) in enumerate(zip(groups, references, strict=True), start=1):
        wanted = _wanted_tables(group, rule, metric)
        for letter, (table_rule, table_metric) in zip("ab", wanted, strict=False):
            table, title = (
                comparison_table(group, one, table_rule, table_metric),
                table_title(group, table_rule, table_metric),
            )
            markdown += [f"## Table {number}{letter}: {title}", markdown_table(table)]
            latex.append(latex_table(table, title))
        notes = table_notes(group, one)
        markdown.append("\n".join(f"- {note}" for note in notes))
        latex.append("\n".join(f"% {note}" for note in notes))
        if figures:
            markdown += _draw(group, one, wanted, out, number)
    for synthetic in (False, True):  # never in one table
        alike = [group for group in groups if group.about.synthetic == synthetic]
        for table_rule, table_metric in _wanted_tables(alike[0], rule, metric) if alike else ():
            if (table := ablation_table(alike, table_rule, table_metric)) is not None:
                kind = "SYNTHETIC faces" if synthetic else "real data"
                measure = f"{METRICS[table_metric]} in %, mean over AUs, {RULES[table_rule]}"
                title = f"Variants of AU-LLM ({kind}): {measure}"
                markdown += [f"## {title}", markdown_table(table)]
                latex.append(latex_table(table, title))
    text = "\n\n".join(markdown) + "\n"
    tidy = tidy_comparison(groups, references)
    write_text(text, out / "comparison.md")
    write_text("\n\n".join(latex) + "\n", out / "comparison.tex")
    write_text(tidy.to_csv(index=False, lineterminator="\n", float_format="%.4f"), out / "comparison.csv")
    return text


def _wanted_tables(group: Benchmark, rule: str | None, metric: str | None) -> list[tuple[str, str]]:
    """(rule, metric) of the tables: as asked, or one without a look at test labels and the papers' one."""
    honest = "calibrated" if any(method.is_calibrated for method in group.methods) else "at_0.5"
    if metric is None and rule is None:
        return [(honest, "f1"), ("oracle", "f1_macro")]
    return [(rule or honest, metric or "f1")]


def _draw(group: Benchmark, reference: Method, tables: list[tuple[str, str]], out: Path, number: int) -> list[str]:
    """Draw the pictures of a benchmark; their links in Markdown."""
    from .figures import write_comparison_figures

    folder = out / "figures" / f"{number}-{group.slug}"
    paths = [
        path for rule, metric in tables for path in write_comparison_figures(group, reference, rule, metric, folder)
    ]
    return [f"![{path.stem}]({path.relative_to(out).as_posix()})" for path in dict.fromkeys(paths)]


__all__ = ["write_comparison"]
