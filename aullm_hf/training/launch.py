"""The command line of a training run. Imports nothing that reads the variables of torchrun or `accelerate launch`:
`--fold_parallel` takes them away first."""

import argparse
import sys
from dataclasses import dataclass

from . import distributed

PROG = "aullm train"

EXAMPLES = """examples:
  aullm train quickstart
  aullm train casme2-deepseek-r1-code --dry_run
  aullm train casme2-deepseek-r1-code --root /data/CASME2
  accelerate launch -m aullm_hf.training --config casme2-deepseek-r1-code --root /data/CASME2
  accelerate launch --num_processes 4 -m aullm_hf.training --config .. --fold_parallel
  aullm train .. --fold_shard 3/26          (a job array; or --folds sub01,sub02)
  aullm train .. --final_fit                (also train the model to ship)

Any field of the file can be overridden by its name: `--num_train_epochs 3 --projector mid`; they are listed below.
A run that was stopped, however rudely, goes on where it was when the same command is given again."""


@dataclass
class Launch:
    """How this process takes part in the run."""

    config: str
    folds: list[str] | None
    shard: tuple[int, int] | None
    fold_parallel: bool
    final_fit: bool
    retrain_damaged: bool
    dry_run: bool
    place: distributed.Place


def main(argv: list[str] | None = None) -> int:
    launch, overrides = parse(sys.argv[1:] if argv is None else argv)
    from .loop import main as train  # imports transformers, which reads the rank's variables once and for all

    return train(launch, overrides)


def parse(argv: list[str]) -> tuple[Launch, list[str]]:
    """The options of this launch, and what is left for the run's configuration."""
    parser = argparse.ArgumentParser(
        prog=PROG, description="Train and test an AU detector, fold by fold. One YAML file is one run.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, add_help=False,
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="store_true", help="this text and every field of the configuration")
    parser.add_argument(
        "--config", metavar="RECIPE", help="the run: a recipe that comes with the package, by name, or a YAML file"
    )
    parser.add_argument("--folds", help="only these folds, by name: sub01,sub02; `none` for none")
    parser.add_argument("--fold_shard", help="only the i-th of n parts of the folds: 3/26")
    parser.add_argument("--fold_parallel", action="store_true", help="each process takes folds of its own")
    parser.add_argument("--final_fit", action="store_true", help="also train on all subjects: the model to ship")
    parser.add_argument(
        "--retrain_damaged", action="store_true", help="train damaged folds again; the old files are kept in damaged/"
    )
    parser.add_argument("--dry_run", action="store_true", help="print the plan and do nothing")
    if argv and not argv[0].startswith("-"):
        argv = ["--config", *argv]
    given, overrides = parser.parse_known_args(argv)
    place = distributed.leave_group() if given.fold_parallel else distributed.place_of()
    if given.help:
        from .parsing import help_text

        print(parser.format_help(), help_text(), sep="\n")
        raise SystemExit(0)
    if given.config is None:
        parser.error("no recipe is given; `aullm train quickstart` is the smallest run")
    launch = Launch(
        config=given.config,
        folds=given.folds.split(",") if given.folds else None,
        shard=_shard(given.fold_shard, parser),
        fold_parallel=given.fold_parallel,
        final_fit=given.final_fit,
        retrain_damaged=given.retrain_damaged,
        dry_run=given.dry_run,
        place=place,
    )
    return launch, overrides


def _shard(text: str | None, parser: argparse.ArgumentParser) -> tuple[int, int] | None:
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        parser.error(f"--fold_shard is {text!r}; expected i/n with i from 1 to n, such as 1/4")
    return int(part), int(parts)
