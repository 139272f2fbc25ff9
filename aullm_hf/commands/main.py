"""The `aullm` command: finds the verb, and says what is wrong with a command in one line, with exit status 2."""

import argparse
import atexit
import gc
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from ..data.errors import escape_control

EXAMPLES = """examples:
  aullm train quickstart                                               (a first run: no data, no network)
  aullm data check casme2 CASME2_FOLDER
  aullm train casme2-ours --root CASME2_FOLDER --final_fit
  aullm evaluate runs/casme2-ours
  aullm predict "TALKS/*.mp4" --model runs/casme2-ours/final/checkpoint --out aus.csv
  aullm push runs/casme2-ours --repo YOU/REPOSITORY

`aullm VERB --help` says more."""

# What each verb does is known here, so that the help of the whole costs nothing: its module comes when it is named.
VERBS = {
    "predict": "clips to a table: a probability, an activity and a threshold per AU",
    "spot": "long recordings to the expressions in them: onset, apex, offset",
    "explain": "clips to pictures: where on the face, when and why",
    "info": "what a model is: its AUs and muscles, thresholds, calibration, LLM and face recipe",
    "demo": "a page to try a model on",
    "train": "train and test an AU detector, fold by fold",
    "evaluate": "score a run again from its tables",
    "compare": "the table of many runs, with paired differences and figures",
    "sweep": "a list of recipes over seeds and settings, then the comparison",
    "push": "a run to the Hub: one branch per fold, and the model to ship on main",
    "export": "a self-contained checkpoint, with the LLM inside",
    "data": "check, build and preview clips; other tools' tables",
}
TAKES_FIELDS = ("sweep",)  # what the verb's own parser does not know are fields of a run


def main(arguments: list[str] | None = None) -> int:
    own_process, arguments = arguments is None, sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["train"]:  # a parser of its own, which imports nothing before a launcher's variables are read
        return import_module("aullm_hf.training.launch").main(arguments[1:])
    if own_process:  # half a million objects come with the libraries and stay: at Python's own threshold, a quarter of
        gc.set_threshold(50_000, 20, 50)  # the time that importing them takes is the collector's; at the end it would
        atexit.register(gc.freeze)  # look at each of them once more, for a second, before the system takes them all
    parser = argparse.ArgumentParser(
        prog="aullm",
        description="Facial Action Units in micro-expression clips.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{" + ",".join(VERBS) + "}")
    named = next((name for name in arguments if not name.startswith("-")), None)
    for name, does in VERBS.items():
        command = verbs.add_parser(
            name, help=does, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )
        if name == named:
            import_module(f".{name}", __package__).add_arguments(command)
    options, fields = parser.parse_known_args(arguments)
    if fields and options.verb not in TAKES_FIELDS:
        parser.error(f"unrecognized arguments: {' '.join(fields)}")
    options.fields = fields
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_warn, options.verb, warnings.showwarning)
            status = import_module(f".{options.verb}", __package__).run(options)
            sys.stdout.flush()
            return status
    except BrokenPipeError:  # `aullm predict .. | head -1` has all that it wants
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
        return 0
    except (ValueError, TypeError, OSError, ImportError) as error:  # wrong settings, no such model, a missing extra
        print(f"aullm {options.verb}: {escape_control(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\naullm {options.verb}: stopped", file=sys.stderr)
        return 130


def _warn(command: str, otherwise: Callable, message: Warning, category: type[Warning], *where: Any) -> None:
    """A warning of this package is for its user, to whom the line of code it comes from says nothing."""
    if category is UserWarning:
        print(f"aullm {command}: warning: {escape_control(' '.join(str(message).split()))}", file=sys.stderr)
    else:
        otherwise(message, category, *where)


if __name__ == "__main__":
    sys.exit(main())
