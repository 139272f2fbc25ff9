"""A list of recipes over seeds and variations: read, planned, run. `aullm sweep --help` shows the list's form."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .settings import STRUCTURED

KEYS = {"out", "reference", "seeds", "set", "vary", "runs"}
RUN_KEYS = {"name", "recipe", "set"}


class SweepError(ValueError):
    """A list that cannot be understood."""


@dataclass(frozen=True)
class Planned:
    """One run of the sweep: the name of its row, its recipe and folder, and what is set besides."""

    name: str
    recipe: Path
    folder: Path
    fields: dict[str, Any]

    def command(self, extra: list[str]) -> list[str]:
        words = [word for name, value in self.fields.items() for word in (f"--{name}", *_words(name, value))]
        train = [sys.executable, "-m", "aullm_hf.training"]
        return [*train, "--config", str(self.recipe), "--output_dir", str(self.folder), *words, *extra]

    @property
    def log(self) -> Path:
        return self.folder.parent / "logs" / f"{self.folder.name}.log"


# -------------------------------------------------------------------- the list


def read_sweep(path: Path) -> dict[str, Any]:
    """The list, with unknown keys refused."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SweepError(f"cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the parser, the text's encoding, a date or a number that is none, nesting too deep
        raise SweepError(f"is not YAML ({type(error).__name__}: {' '.join(str(error).split())[:500]})") from error
    if not isinstance(content, dict) or not isinstance(content.get("runs"), list) or not content["runs"]:
        raise SweepError("it must hold `runs`, a list with a recipe each")
    for known, given in [(KEYS, content), *((RUN_KEYS, run) for run in content["runs"])]:
        if not isinstance(given, dict) or set(given) - known:
            raise SweepError(f"it holds {given if not isinstance(given, dict) else sorted(set(given) - known)[0]!r}; "
                             f"allowed: {', '.join(sorted(known))}")  # fmt: skip
    varied, kept, seeds = (
        content.get(name) or kind() for name, kind in (("vary", dict), ("set", dict), ("seeds", list))
    )
    if not isinstance(varied, dict) or not all(isinstance(values, list) for values in varied.values()):
        raise SweepError(f"its `vary` is {varied!r}; expected fields, each with a list of values")
    if not isinstance(kept, dict) or not isinstance(seeds, list):
        raise SweepError(f"its `set` is {kept!r} and its `seeds` {seeds!r}; expected fields with values, and a list")
    return content


def plan(content: dict[str, Any], home: Path) -> Iterator[Planned]:
    """Every run of the list, once for each combination of what varies."""
    out = Path(content.get("out") or Path("runs") / "sweeps" / home.stem)
    seeds = {"seeds": content["seeds"]} if content.get("seeds") else {}
    varied = content.get("vary") or {}
    folders: set[Path] = set()
    for combination in itertools.product(*varied.values()):
        variation = dict(zip(varied, combination, strict=True))
        for run in content["runs"]:
            recipe = home / str(run.get("recipe"))
            if not recipe.is_file():
                raise SweepError(f"there is no recipe {recipe}; recipes are given relative to the list")
            name = str(run.get("name") or recipe.stem)
            folder = out / _slug("-".join([name, *map(str, combination)]))
            if folder in folders:
                raise SweepError(f"two runs would go to {folder}; give them different names")
            folders.add(folder)
            yield Planned(
                name, recipe, folder, {**(content.get("set") or {}), **(run.get("set") or {}), **variation, **seeds}
            )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _words(name: str, value: Any) -> list[str]:
    """A field's value as train.py's command line takes it."""
    if name in STRUCTURED:
        return [json.dumps(value)]
    if isinstance(value, list):
        return [word for one in value for word in _words(name, one)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


# -------------------------------------------------------------------- running


def run_all(planned: list[Planned], extra: list[str], jobs: int) -> list[Planned]:
    """Run them, `jobs` at a time; those that failed."""
    threads = max((os.cpu_count() or 1) // jobs, 1)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    done, failed = 0, []
    with ThreadPoolExecutor(jobs) as pool:
        for run, code, seconds in pool.map(lambda one: run_one(one, extra, environment), planned):
            done += 1
            ended = "finished" if code == 0 else f"FAILED (exit {code})"
            print(f"{done}/{len(planned)} {run.folder.name}: {ended} after {seconds / 60:.1f} min", flush=True)
            if code:
                failed.append(run)
    return failed


def run_one(run: Planned, extra: list[str], environment: dict[str, str]) -> tuple[Planned, int, float]:
    """train.py in a process of its own, what it says in a log. It is finished once its results are there."""
    begun = time.perf_counter()
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("w", encoding="utf-8") as log:
        code = subprocess.run(run.command(extra), stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    if code == 0 and not (run.folder / "results.json").is_file():
        code = 3  # some folds are in other hands, or were left out by an option
    return run, code, time.perf_counter() - begun


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing."
