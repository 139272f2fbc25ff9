"""A list of recipes over seeds and variations: read, planned, checked, run. `aullm sweep --help` shows its form."""

import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data import check_data
from .launch import parse
from .model import check_llm
from .parsing import load_run_config
from .recipes import read_yaml
from .settings import STRUCTURED, ConfigError

TRAIN = (sys.executable, "-m", "aullm_hf.training")
KEYS = {"out", "reference", "seeds", "set", "vary", "runs"}
RUN_KEYS = {"name", "recipe", "set"}


class SweepError(ValueError):
    """A list of runs that cannot be used."""


@dataclass(frozen=True)
class Planned:
    """One run of the sweep: its row's name, its recipe and folder, the fields set for it, those of them that vary."""

    name: str
    recipe: Path
    folder: Path
    fields: dict[str, Any]
    variation: dict[str, Any]

    def command(self, extra: list[str]) -> list[str]:
        words = [word for name, value in self.fields.items() for word in (f"--{name}", *_words(name, value))]
        return [*TRAIN, "--config", str(self.recipe), "--output_dir", str(self.folder), *words, *extra]

    @property
    def log(self) -> Path:
        return self.folder.parent / "logs" / f"{self.folder.name}.log"


# -------------------------------------------------------------------- the list


def read_sweep(path: Path) -> dict[str, Any]:
    """The list; unknown keys are errors."""
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("runs"), list) or not content["runs"]:
        raise SweepError(f"{path} must hold `runs`, a list with a recipe each.")
    for known, given in [(KEYS, content), *((RUN_KEYS, run) for run in content["runs"])]:
        if not isinstance(given, dict):
            raise SweepError(f"{path} holds {given!r}; expected: fields, of {', '.join(sorted(known))}.")
        if unknown := sorted(set(given) - known):
            raise SweepError(f"{path} holds {unknown[0]!r}; allowed: {', '.join(sorted(known))}.")
    for name, kind, expected in (
        ("vary", dict, "fields, each with a list of values"),
        ("set", dict, "fields with values"),
        ("seeds", list, "a list of numbers"),
    ):
        if not isinstance(content.get(name) or kind(), kind):
            raise SweepError(f"{path}: `{name}` is {content[name]!r}; expected: {expected}.")
    for name, values in (content.get("vary") or {}).items():
        if not isinstance(values, list):
            raise SweepError(f"{path}: `vary: {name}` is {values!r}; expected: a list of values.")
    return content


def plan(content: dict[str, Any], path: Path) -> Iterator[Planned]:
    """Every run of the list at `path`, once for each combination of what varies."""
    out = Path(content.get("out") or Path("runs") / "sweeps" / path.stem)
    seeds = {"seeds": content["seeds"]} if content.get("seeds") else {}
    varied = content.get("vary") or {}
    folders: set[Path] = set()
    for combination in itertools.product(*varied.values()):
        variation = {}  # a mapping sets several fields at once
        for field, value in zip(varied, combination, strict=True):
            variation |= value if isinstance(value, dict) else {field: value}
        for run in content["runs"]:
            recipe = path.parent / str(run.get("recipe"))
            if not recipe.is_file():
                raise SweepError(f"{path}: there is no recipe {recipe}; recipes are given relative to the list.")
            name = str(run.get("name") or recipe.stem)
            folder = out / _slug("-".join([name, *map(str, variation.values())]))
            if folder in folders:
                raise SweepError(f"{path}: two runs would go to {folder}; give them different names.")
            folders.add(folder)
            fields = {**(content.get("set") or {}), **(run.get("set") or {}), **variation, **seeds}
            yield Planned(name, recipe, folder, fields, variation)


def check_runs(planned: Sequence[Planned], extra: list[str]) -> None:
    """Refuse what every run would fail at: settings, data that is not there, an LLM that cannot be had.

    Raises:
        ConfigError, DataError: the run and what is wrong with it, before anything is run.
    """
    checked = set()
    for run in planned:
        launch, overrides = parse(run.command(extra)[len(TRAIN) :])
        try:
            config = load_run_config(launch.config, overrides)
            for name, check, settings in (("data", check_data, config.data), ("model", check_llm, config.model)):
                if (name, repr(settings)) not in checked:
                    check(settings)
                    checked.add((name, repr(settings)))
        except ConfigError as error:
            raise ConfigError(f"{run.name}: {error} Nothing was run.") from error


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")


def _words(name: str, value: Any) -> list[str]:
    """A field's value as words of a command line."""
    if name in STRUCTURED:
        return [json.dumps(value)]
    if isinstance(value, list):
        return [word for one in value for word in _words(name, one)]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


# -------------------------------------------------------------------- running


def run_all(planned: list[Planned], extra: list[str], jobs: int) -> list[Planned]:
    """Run them, `jobs` at a time, and return those that failed."""
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
    """Train in a process of its own, with its output in a log. A run is finished once its results are there."""
    begun = time.perf_counter()
    run.log.parent.mkdir(parents=True, exist_ok=True)
    with run.log.open("w", encoding="utf-8") as log:
        code = subprocess.run(run.command(extra), stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    if code == 0 and not (run.folder / "results.json").is_file():
        code = 3  # other processes have some folds, or an option left some out
    return run, code, time.perf_counter() - begun


def last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty."
