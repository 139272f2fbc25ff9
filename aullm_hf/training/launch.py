"""The command line of a training run.

Imports nothing that reads the variables of torchrun or `accelerate launch`: `--fold_parallel` removes them first.
"""

import argparse
import sys
from dataclasses import dataclass

from ..arguments import split_names
from . import distributed

PROG = "aullm train"

EXAMPLES = """examples:
  aullm train quickstart
  aullm train casme2-deepseek-r1-code --dry_run
  aullm train casme2-deepseek-r1-code --root CASME2_FOLDER
  accelerate launch -m aullm_hf.training --config casme2-deepseek-r1-code --root CASME2_FOLDER
  accelerate launch --num_processes 4 -m aullm_hf.training --config .. --fold_parallel
  aullm train .. --fold_shard 3/26          (a job array; or --folds sub01 sub02)
  aullm train .. --final_fit                (also train the model to publish)

Any field of the recipe can be overridden by its name: `--num_train_epochs 3 --projector mid`; they are listed below.
A run that was stopped or killed goes on where it was when the same command is given again."""


@dataclass
class Launch:
    """How this process takes part in the run."""

    config: str
    folds: list[str] | None  # by name; ["none"] for none
    fold_shard: tuple[int, int] | None
    fold_parallel: bool
    final_fit: bool | None  # None: as the recipe says
    retrain_damaged: bool
    dry_run: bool
    process: distributed.ProcessRank


def main(argv: list[str] | None = None) -> int:
    launch, overrides = parse(sys.argv[1:] if argv is None else argv)
    from .loop import main as train  # imports transformers, which reads the rank's variables once

    return train(launch, overrides)


def parse(argv: list[str]) -> tuple[Launch, list[str]]:
    """The options of this launch, and what is left for the run's configuration."""
    parser = argparse.ArgumentParser(
        prog=PROG, description="Train and test an AU detector, fold by fold. One YAML file is one run.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, add_help=False,
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="store_true", help="show this text and every field of a run")
    parser.add_argument(
        "--config", metavar="RECIPE", help="a recipe that comes with the package, by name, or a YAML file"
    )
    parser.add_argument(
        "--folds", nargs="+", help="take only these folds: sub01 sub02, or sub01,sub02; `none`: no fold"
    )
    parser.add_argument("--fold_shard", type=_shard, metavar="I/N", help="take only the i-th of n parts of the folds")
    parser.add_argument("--fold_parallel", action="store_true", help="let every process take folds of its own")
    parser.add_argument(
        "--final_fit", type=_flag, nargs="?", const=True, metavar="BOOL",
        help="also train on all subjects: the model to publish (default: as the recipe says)",
    )  # fmt: skip
    parser.add_argument(
        "--retrain_damaged", action="store_true", help="train damaged folds again; the old files are kept in damaged/"
    )
    parser.add_argument("--dry_run", action="store_true", help="print the plan and do nothing")
    if argv and not argv[0].startswith("-"):
        argv = ["--config", *argv]
    options, overrides = parser.parse_known_args(argv)
    process = distributed.leave_group() if options.fold_parallel else distributed.process_rank()
    if options.help:
        from .parsing import help_text

        print(parser.format_help(), help_text(), sep="\n")
        raise SystemExit(0)
    if options.config is None:
        parser.error("no recipe is given; `aullm train quickstart` is the smallest run")
    del options.help
    if options.folds is not None:
        options.folds = split_names(options.folds)
    if options.final_fit is not None:
        overrides += ["--final_fit", str(options.final_fit)]
    return Launch(**vars(options), process=process), overrides


def _shard(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give i/n with i from 1 to n, such as 1/4")
    return int(part), int(parts)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give true or false")
    return text.lower() == "true"
