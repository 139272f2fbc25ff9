"""`aullm push`: a run to the Hub: one branch per fold; `main` has the final fit, the card, tables and predictions."""

import argparse
import logging
import sys
from pathlib import Path

from ..arguments import split_names

DETAILS = """examples:
  aullm train casme2-ours --root CASME2_FOLDER --final_fit        (--final_fit: the model to ship, for `main`)
  aullm push runs/casme2-ours --repo YOU/REPOSITORY
  aullm predict CLIP.mp4 --model YOU/REPOSITORY
  aullm push runs/casme2-ours --repo YOU/REPOSITORY --folds sub01 sub02 --no_main

A fold's model is the revision fold-NAME: `aullm predict CLIP.mp4 --model YOU/REPOSITORY --revision fold-sub01`.
The repository is private unless `--public`, and refused if it holds anything else, unless `--overwrite`. A push can be
repeated after a failure: what is there is not sent again. Log in with `hf auth login`, or set HF_TOKEN. Predictions of
licensed data go without labels. `--push_labels`, and for licensed data `--public`, need `--right "a sentence that says
by what right you publish this"`, which then stands in the card.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, DETAILS
    parser.add_argument("run", type=Path, metavar="RUN", help="the run folder")
    parser.add_argument("--repo", required=True, help="user/name or organisation/name")
    parser.add_argument(
        "--folds", nargs="+", metavar="NAME", help="only these folds: sub01 sub02, or sub01,sub02 (default: all)"
    )
    parser.add_argument("--no_main", action="store_true", help="only the folds' branches")
    parser.add_argument("--public", action="store_true", help="make a new repository public")
    parser.add_argument("--overwrite", action="store_true", help="write over what else the repository holds")
    parser.add_argument("--push_labels", action="store_true", help="publish the labels of licensed data too")
    parser.add_argument("--right", default="", metavar="SENTENCE", help="by what right licensed data is published")


def run(options: argparse.Namespace) -> int:
    from ..hub import HubPushError, push_run

    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    folds = split_names(options.folds) if options.folds else None
    try:
        push = push_run(
            options.run,
            options.repo,
            folds=folds,
            main=not options.no_main,
            private=not options.public,
            push_labels=options.push_labels,
            right=options.right,
            overwrite=options.overwrite,
        )
    except HubPushError as error:
        print(f"aullm push: {error}", file=sys.stderr)
        return 1
    for branch, result in push.branches.items():
        left_out = f", left out: {', '.join(result.left_out)}" if result.left_out else ""
        print(f"{branch}: {len(result.uploaded)} files sent, {result.unchanged} already there{left_out}")
    if push.advice:
        print(f"aullm push: {push.advice}", file=sys.stderr)
    print(push.url)
    return 0
