"""`aullm compare`: the table of many runs: per-AU F1 in the papers' layout, paired differences, cost, figures."""

import argparse
from pathlib import Path

from ..evaluation import read_run
from ..evaluation.comparison.benchmarks import METRICS, RULES, Method
from ..evaluation.comparison.report import write_comparison

DETAILS = """examples:
  aullm compare runs/casme2-qwen2-code runs/casme2-baseline-led-sssnet runs/casme2-baseline-sca
  aullm compare "AU-LLM=runs/quickstart" runs/sweeps/easy/* --reference AU-LLM --out comparison
  aullm compare RUN... --f1 f1_macro --rule oracle        (only what the papers report)

Runs are grouped by what they tested; only runs of one group are compared. NAME=RUN names a row. Writes comparison.md,
.tex and .csv (every metric, every rule) and a folder of PNG and PDF figures for each group. Without --f1 and --rule
there are two tables per group: binary F1 without using test labels, and macro F1 as the papers score it, which is an
upper bound."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, DETAILS
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, each as RUN or NAME=RUN")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="default: runs/comparison")
    parser.add_argument("--f1", choices=METRICS, help="f1 (binary) or f1_macro (the papers')")
    parser.add_argument("--rule", choices=RULES, help="at_0.5, calibrated, or oracle (an upper bound)")
    parser.add_argument("--reference", help="the row that others are compared with (default: the first AU-LLM)")
    parser.add_argument("--resamples", type=int, default=2000, help="resamples of the subjects")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples")
    parser.add_argument("--no_figures", action="store_true", help="tables only")


def run(options: argparse.Namespace) -> int:
    methods = sorted((method_of(text, options) for text in options.runs), key=table_order)
    text = write_comparison(
        methods,
        options.out,
        reference=options.reference,
        rule=options.rule,
        metric=options.f1,
        figures=not options.no_figures,
    )
    print(text)
    print(f"Written: {options.out / 'comparison.md'}, .tex, .csv" + ("" if options.no_figures else ", figures"))
    return 0


def method_of(text: str, options: argparse.Namespace) -> Method:
    """A row, of RUN or NAME=RUN; a baseline is called as in the papers' tables."""
    from ..baselines import ARCHITECTURES

    name, given, folder = text.partition("=")
    run = read_run(folder if given else text)
    if not given:
        kind = run.info.get("model_kind")
        name = ARCHITECTURES[kind].title if kind in ARCHITECTURES else run.name
    return Method(name, run, resamples=options.resamples, seed=options.seed)


def table_order(method: Method) -> int:
    """Baselines in the order of their room, AU-LLM after them; the rest as given."""
    from ..baselines import ARCHITECTURES

    order, kind = list(ARCHITECTURES), method.run.info.get("model_kind")
    return order.index(kind) if kind in order else len(order)
