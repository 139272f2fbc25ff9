r"""The `aullm` command.

aullm predict /data/clips --model me/casme2-aullm --out aus.parquet
aullm predict "talks/*.mp4" --model me/casme2-aullm --out aus.csv --window 0.5 --stride 0.25
aullm explain clip.mp4 --model me/casme2-aullm --out pictures
aullm info me/casme2-aullm
aullm demo --model me/casme2-aullm

What is wrong with a command is said in one line, with exit status 2.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from ..data.errors import tame

# What each does is known here, so that the help of the whole costs nothing: a command's module comes when it is named.
COMMANDS = {
    "predict": "clips to a table: a probability, an activity and a threshold per AU",
    "explain": "clips to pictures: where on the face, when and why",
    "info": "what a model is: its AUs and muscles, thresholds, calibration, LLM and face recipe",
    "demo": "a page to try a model on",
}


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        prog="aullm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="{" + ",".join(COMMANDS) + "}")
    named = next((name for name in arguments if not name.startswith("-")), None)
    for name, does in COMMANDS.items():
        command = commands.add_parser(name, help=does, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == named:
            import_module(f".{name}_command", __package__).add_arguments(command)
    options = parser.parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(_warn, options.command, warnings.showwarning)
            return import_module(f".{options.command}_command", __package__).run(options)
    except (ValueError, OSError, ImportError) as error:  # wrong settings, no such model, something not installed
        print(f"aullm {options.command}: {tame(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\naullm {options.command}: stopped", file=sys.stderr)
        return 130


def _warn(command: str, otherwise: Callable, message: Warning, category: type[Warning], *where: Any) -> None:
    """Ours are for a person, who does not care where in the code they come from."""
    if category is UserWarning:
        print(f"aullm {command}: warning: {tame(' '.join(str(message).split()))}", file=sys.stderr)
    else:
        otherwise(message, category, *where)


if __name__ == "__main__":
    sys.exit(main())
