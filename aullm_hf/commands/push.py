"""`aullm push`: a run to the Hub: one branch per fold; `main` has the final fit, the card, tables and predictions."""

import argparse
import logging
import sys
from pathlib import Path

DETAILS = """examples:
  aullm push runs/quickstart --repo me/aullm-quickstart
  aullm push runs/casme2 --repo me/aullm-casme2 --folds sub01 sub02 --no_main

The repository is private unless `--public`, and refused if it holds anything else, unless `--overwrite`. A push can be
repeated after a failure: what is there is not sent again. Log in with `hf auth login`, or set HF_TOKEN. Predictions of
licensed data go without labels; `--push_labels` needs `--right "the sentence that says by what right"`, which then
stands in the card.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, DETAILS
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--repo", required=True, help="user/name or organisation/name")
    parser.add_argument("--folds", nargs="+", help="only these folds (default: all that are finished)")
    parser.add_argument("--no_main", action="store_true", help="only the folds' branches")
    parser.add_argument("--public", action="store_true", help="make a new repository public")
    parser.add_argument("--overwrite", action="store_true", help="write over what else the repository holds")
    parser.add_argument("--push_labels", action="store_true", help="publish the labels of licensed data too")
    parser.add_argument("--right", default="", help="by what right: a sentence")


def run(options: argparse.Namespace) -> int:
    from ..hub import HubPushError, push_run

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        push = push_run(
            options.run,
            options.repo,
            folds=options.folds,
            main=not options.no_main,
            private=not options.public,
            push_labels=options.push_labels,
            right=options.right,
            overwrite=options.overwrite,
        )
    except HubPushError as error:
        print(f"aullm push: {error}", file=sys.stderr)
        return 1
    for branch, done in push.branches.items():
        left = f", left out: {', '.join(done.left_out)}" if done.left_out else ""
        print(f"{branch}: {len(done.uploaded)} files sent, {done.unchanged} already there{left}")
    print(push.url)
    return 0
