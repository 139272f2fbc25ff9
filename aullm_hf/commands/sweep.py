"""Every recipe of a list, over seeds and variations, then the comparison."""

import argparse
import shlex
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..training.sweep import Planned

DETAILS = """examples:
  aullm sweep easy --jobs 2
  aullm sweep casme2 --root CASME2_FOLDER
  aullm sweep easy --dry_run        (the commands; nothing is run)
  aullm sweep standard-and-hard --only LED-SSSNet "SSSNet on optical flow"      (these rows of the list)

The list is YAML:

    out: runs/sweeps/NAME                       where the runs go, a folder each, and the comparison beside them
    reference: AU-LLM                           the row that the others are compared with (optional)
    seeds: [1, 2, 3]                            every run has all of them (optional)
    set: {subjects: 6}                          fields of every run (optional)
    vary: {difficulty: [standard, hard]}        every run once for each combination (optional);
                                                fields that vary together: {clips: [{subjects: 6, seeds: [1]}, ..]}
    runs:
      - {name: LED-SSSNet, recipe: ../quickstart-baseline.yaml, set: {model_kind: led-sssnet}}

All other options go to every run, as for `aullm train`. Settings, data and LLMs are checked before anything is run.
Give the same command again to go on: finished runs are skipped, unfinished ones go on where they were. A run that
fails is reported and the others go on; the exit status is 1 then."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, DETAILS
    parser.add_argument("sweep", help="the list: the name of one that comes with the package, or a YAML file")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only the runs of these names")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each a process (default 1)")
    parser.add_argument("--dry_run", action="store_true", help="print the commands and do nothing")


def run(options: argparse.Namespace) -> int:
    from ..training.recipes import find_recipe
    from ..training.sweep import check_runs, last_line, plan, read_sweep, run_all

    path = find_recipe(options.sweep, "sweeps")
    content = read_sweep(path)
    planned = list(plan(content, path))
    names = list(dict.fromkeys(run.name for run in planned))
    if unknown := [name for name in options.only or () if name not in names]:
        raise ValueError(f"--only names {unknown[0]!r}; the runs of {path} are {', '.join(map(repr, names))}")
    planned = [run for run in planned if options.only is None or run.name in options.only]
    if options.dry_run:
        print("\n".join(shlex.join(run.command(options.fields)) for run in planned))
        return 0
    check_runs(planned, options.fields)
    failed = run_all(planned, options.fields, max(options.jobs, 1))
    finished = [run for run in planned if run not in failed]
    code = compare(finished, content) if finished else 1
    for run in failed:
        print(f"FAILED: {run.name} ({run.folder.name}): {last_line(run.log)} Its log: {run.log}", file=sys.stderr)
    return 1 if failed else code


def compare(finished: list["Planned"], content: dict[str, Any]) -> int:
    """`aullm compare` of the runs that are finished."""
    from .main import main

    out = finished[0].folder.parent / "comparison"
    reference = content.get("reference")
    options = ["--reference", reference] if reference in {run.name for run in finished} else []
    return main(["compare", *(f"{run.name}={run.folder}" for run in finished), "--out", str(out), *options])
