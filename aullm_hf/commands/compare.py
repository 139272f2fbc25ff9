"""`aullm compare`: the table of many runs: per-AU F1 in the papers' layout, paired differences, cost, figures."""

import argparse
from pathlib import Path

from ..evaluation import read_run
from ..evaluation.comparison.comparing import DECISIONS, METRICS, Benchmark, Entry, benchmarks
from ..evaluation.comparison.tables import ablation_table, comparison_table, notes, tidy_comparison, title
from ..evaluation.run_folder import write_text
from ..evaluation.tables import latex_table, markdown_table

DETAILS = """examples:
  aullm compare runs/casme2-qwen2-code runs/casme2-baseline-led-sssnet runs/casme2-baseline-sca
  aullm compare "AU-LLM=runs/quickstart" runs/sweeps/easy/* --reference AU-LLM --out comparison
  aullm compare RUN... --f1 f1_macro --rule oracle        (only what the papers report)

Runs are grouped by what they tested; only runs of one group are compared. NAME=RUN names a row. Writes comparison.md,
.tex and .csv (every figure, every rule) and a folder of PNG and PDF figures for each group. Without --f1 and --rule
there are two tables a group: binary F1 without a look at test labels, and macro F1 as the papers score it, which is an
upper bound."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, DETAILS
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, each as RUN or NAME=RUN")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="default: runs/comparison")
    parser.add_argument("--f1", choices=METRICS, help="f1 (binary) or f1_macro (the papers')")
    parser.add_argument("--rule", choices=DECISIONS, help="at_0.5, calibrated, or oracle (an upper bound)")
    parser.add_argument("--reference", help="the row that others are compared with (default: the first AU-LLM)")
    parser.add_argument("--resamples", type=int, default=2000, help="resamples of the subjects")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples")
    parser.add_argument("--no_figures", action="store_true", help="tables only")


def run(options: argparse.Namespace) -> int:
    groups = benchmarks(in_table_order([entry_of(text, options) for text in options.runs]))
    references = [reference_of(group, options.reference) for group in groups]
    parts, tex = ["# Comparison"], ["% needs \\usepackage{booktabs}"]
    for number, (group, reference) in enumerate(zip(groups, references, strict=True), start=1):
        said = notes(group, reference)
        for letter, (rule, metric) in zip("ab", wanted(group, options), strict=False):
            table, heading = comparison_table(group, reference, rule, metric), title(group, rule, metric)
            parts += [f"## Table {number}{letter}: {heading}", markdown_table(table)]
            tex.append(latex_table(table, heading))
        parts.append("\n".join(f"- {line}" for line in said))
        tex.append("\n".join(f"% {line}" for line in said))
        if not options.no_figures:
            parts += figures(group, reference, wanted(group, options), options.out, number)
    for synthetic in (False, True):  # never in one table
        alike = [group for group in groups if group.about.synthetic == synthetic]
        for rule, metric in wanted(alike[0], options) if alike else ():
            if (table := ablation_table(alike, rule, metric)) is not None:
                kind = "SYNTHETIC faces" if synthetic else "real data"
                heading = f"Variants of AU-LLM ({kind}): {METRICS[metric]} in %, mean over AUs, {DECISIONS[rule]}"
                parts += [f"## {heading}", markdown_table(table)]
                tex.append(latex_table(table, heading))
    write_text("\n\n".join(parts) + "\n", options.out / "comparison.md")
    write_text("\n\n".join(tex) + "\n", options.out / "comparison.tex")
    tidy = tidy_comparison(groups, references)
    write_text(tidy.to_csv(index=False, lineterminator="\n", float_format="%.4f"), options.out / "comparison.csv")
    print("\n\n".join(parts))
    print(f"\nWritten: {options.out / 'comparison.md'}, .tex, .csv" + ("" if options.no_figures else ", figures"))
    return 0


def entry_of(text: str, options: argparse.Namespace) -> Entry:
    """A row, of RUN or NAME=RUN; a baseline is called as in the papers' tables."""
    from ..baselines import ARCHITECTURES

    name, given, folder = text.partition("=")
    run = read_run(folder if given else text)
    if not given:
        kind = run.info.get("model_kind")
        name = ARCHITECTURES[kind].title if kind in ARCHITECTURES else run.name
    return Entry(name, run, resamples=options.resamples, seed=options.seed)


def in_table_order(entries: list[Entry]) -> list[Entry]:
    """Baselines in the order of their room, AU-LLM after them, in the order given."""
    from ..baselines import ARCHITECTURES

    order = list(ARCHITECTURES)
    kinds = [entry.run.info.get("model_kind") for entry in entries]
    places = [order.index(kind) if kind in order else len(order) for kind in kinds]
    return [entry for _, entry in sorted(zip(places, entries, strict=True), key=lambda pair: pair[0])]


def reference_of(group: Benchmark, name: str | None) -> Entry:
    if name is None:
        return next((entry for entry in group.entries if entry.is_aullm), group.entries[0])
    found = next((entry for entry in group.entries if entry.name == name), None)
    if found is None:
        raise ValueError(
            f"--reference is {name!r}, which is no row on {group.about.data}: the rows are "
            f"{', '.join(repr(entry.name) for entry in group.entries)}"
        )
    return found


def wanted(group: Benchmark, options: argparse.Namespace) -> list[tuple[str, str]]:
    """(rule, metric) of the tables: as asked, or an honest one and the papers' one."""
    honest = "calibrated" if any(entry.calibrated for entry in group.entries) else "at_0.5"
    if options.f1 is None and options.rule is None:
        return [(honest, "f1"), ("oracle", "f1_macro")]
    return [(options.rule or honest, options.f1 or "f1")]


def figures(group: Benchmark, reference: Entry, tables: list[tuple[str, str]], out: Path, number: int) -> list[str]:
    """Draw them, and link them in the Markdown."""
    from ..evaluation.comparison.figures import write_comparison_figures

    folder = out / "figures" / f"{number}-{group.slug}"
    drawn: list[Path] = []
    for rule, metric in tables:
        drawn += write_comparison_figures(group, reference, rule, metric, folder)
    return [f"![{path.stem}]({path.relative_to(out).as_posix()})" for path in dict.fromkeys(drawn)]
