"""`aullm evaluate`: score a run again from its tables; no GPU, no model."""

import argparse
import sys
from pathlib import Path

from ..arguments import first_few
from ..evaluation import assemble_run, read_run, write_report
from ..evaluation.run_folder import finished_folds, fold_damage

DETAILS = """examples:
  aullm evaluate runs/quickstart
  aullm evaluate runs/quickstart/predictions.parquet --out report
  aullm evaluate PULLED_FOLDER --labels casme2 --root CASME2_FOLDER

Prints the table and writes results.json, tables/ (CSV, Parquet, LaTeX, Markdown, text), figures/ and the card. Where
the run has its folds/, the tables are put together from the finished ones first. Published predictions of licensed
data hold no labels: `--labels NAME --root ROOT` joins your own copy by clip id, and checks that they are the run's.
"""

POLICIES = ("either", "ref", "static", "corrections")  # what decides a label; as the run had them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, DETAILS
    parser.add_argument(
        "run", type=Path, metavar="RUN_OR_PREDICTIONS", help="a run folder, or a .parquet or .csv file"
    )
    parser.add_argument("--out", type=Path, help="where to write (default: beside the predictions)")
    parser.add_argument("--labels", nargs="+", metavar="NAME", help="data sets to take labels from: casme2, samm, ..")
    parser.add_argument("--root", nargs="+", metavar="ROOT", help="the folder of each, in the same order")
    parser.add_argument("--any_labels", action="store_true", help="score with labels that are not the run's own")
    parser.add_argument("--resamples", type=int, default=2000, help="resamples of the subjects for the intervals")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples")


def run(options: argparse.Namespace) -> int:
    if not exists(options.run):
        raise ValueError(f"{str(options.run)[:200]!r} does not exist; give a run folder or a predictions file")
    if len(options.labels or ()) != len(options.root or ()):
        raise ValueError(
            f"{len(options.labels or ())} --labels and {len(options.root or ())} --root; give one root per name"
        )
    if options.run.is_dir() and (folds := finished_folds(options.run)):
        print(f"{assemble_run(options.run)} finished folds")
        for folder in folds:  # assemble_run has refused damaged tables; of the rest only the sizes are looked at
            if problems := fold_damage(folder, by_size=True):
                print(f"Warning: {folder} was damaged after it was finished: {first_few(problems)}.", file=sys.stderr)
    labels = load_labels(options.labels, options.root, read_run(options.run).info) if options.labels else None
    write_report(
        options.run,
        out=options.out,
        labels=labels,
        any_labels=options.any_labels,
        resamples=options.resamples,
        seed=options.seed,
    )
    out = options.out or (options.run.parent if options.run.is_file() else options.run)
    print((out / "tables" / "results.txt").read_text(encoding="utf-8"))
    print(f"Written: {out / 'results.json'}, {out / 'tables'}")
    return 0


def exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that the file system cannot hold
        return False


def load_labels(names: list[str], roots: list[str], info: dict) -> dict[str, list]:
    """Clip ids and AUs of the reader's own copy, read with the policies that the run was made with."""
    from ..data import load_clips

    settings = info.get("config", {}).get("data", {})
    policies = {key: settings[key] for key in POLICIES if key in settings}
    columns: dict[str, list] = {"dataset": [], "clip_id": [], "aus": []}
    for name, root in zip(names, roots, strict=True):
        clips = load_clips(name, root, face="none", **policies)  # how faces are cut out changes no label
        for column, values in columns.items():
            values += clips[column][:]
    return columns
