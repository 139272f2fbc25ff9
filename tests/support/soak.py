"""The soak's book-keeping: what was tried, what happened, and whether anything was lost. Every number is a count.

Lost is a finished fold whose files changed or went, and a final table that differs from the undisturbed run's.
How long it goes on: SOAK_KILLS tries of a fault at most (20), SOAK_SECONDS for all faults together (600).
"""

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from aullm_hf.checksums import checksums
from support.tiny_run import tables, train

TRIES = int(os.environ.get("SOAK_KILLS", 20))
SECONDS = float(os.environ.get("SOAK_SECONDS", 600))
OUT = Path(os.environ.get("SOAK_OUT", "runs/soak"))


@dataclass
class Row:
    """A fault."""

    fault: str
    tried: int = 0
    happened: Counter = field(default_factory=Counter)
    lost: int = 0


class Soak:
    def __init__(self, faults: int):
        self.rows: list[Row] = []
        self.share = SECONDS / max(faults, 1)

    def row(self, fault: str) -> Row:
        self.rows.append(Row(fault))
        return self.rows[-1]

    def tries(self, row: Row, at_most: int = TRIES) -> Iterator[random.Random]:
        """A source of chance for every try, until there were enough or the fault's share of the time is over."""
        until = time.monotonic() + self.share
        while row.tried < at_most and (row.tried == 0 or time.monotonic() < until):
            chance = random.Random(f"{row.fault} {row.tried}")
            row.tried += 1
            yield chance

    def markdown(self) -> str:
        lines = ["| fault | tried | what happened | lost |", "| --- | ---: | --- | ---: |"]
        for row in self.rows:
            happened = ", ".join(f"{what}: {count}" for what, count in sorted(row.happened.items()))
            lines.append(f"| {row.fault} | {row.tried} | {happened} | {row.lost} |")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path = OUT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{**vars(row), "happened": dict(sorted(row.happened.items()))} for row in self.rows]
        (folder / "soak.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        (folder / "soak.md").write_text(self.markdown(), encoding="utf-8")


class Disturbed:
    """A run under faults, beside what it must come to."""

    def __init__(self, config: Path, run: Path, undisturbed: Path, row: Row, options: tuple[str, ...] = ()):
        self.config, self.run, self.undisturbed, self.row, self.options = config, run, undisturbed, row, options
        self.finished: dict[str, dict] = {}

    def launch(self, *more: str) -> int:
        return train(self.config, self.run, *self.options, *more)

    def look(self) -> None:
        """Count finished folds that changed or went since they were last looked at."""
        now = {
            path.parent.name: checksums(path.parent, leave_out=("work",))
            for path in self.run.glob("folds/*/fold.json")
        }
        self.row.lost += sum(now.get(name) != files for name, files in self.finished.items())
        self.finished = now

    def end(self, *more: str) -> None:
        """Let it go on undisturbed: it must finish, with the table of the undisturbed run."""
        status = self.launch(*more)
        self.look()
        whole = status == 0 and self.same_tables()
        self.row.happened["went on to the same table" if whole else f"did not (exit {status})"] += 1
        self.row.lost += not whole

    def same_tables(self) -> bool:
        return tables(self.run) == tables(self.undisturbed)

    def begin_anew(self) -> None:
        shutil.rmtree(self.run, ignore_errors=True)
        self.finished = {}


def started(function: Callable, *args):
    """The function in a process of its own that has everything imported; it exits with what the function returns."""

    def work() -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        os._exit(_status(function, args))

    process = get_context("fork").Process(target=work)
    process.start()
    return process


def _status(function: Callable, args: tuple) -> int:
    try:
        return function(*args) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:  # before the runner listened
        return 130
    except BaseException:
        return 99  # a traceback: whatever it was, nobody had thought of it


def ended(process) -> str:
    process.join()
    return f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit {process.exitcode}"
