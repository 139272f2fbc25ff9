r"""A whole leave-one-subject-out run: this package against the published loop's shape, and folds side by side.

    python training/benchmark.py loso --subjects 3 --clips_per_subject 4 --epochs 1         # to try it
    python training/benchmark.py loso --subjects 26 --clips_per_subject 10
    python training/benchmark.py loso --subjects 26 --clips_per_subject 10 --ways package side_by_side

The quickstart's recipe (tiny LLM, `inner: none`) on synthetic clips; every way but `side_by_side` has one core, to
which it is pinned where the system can:

reference             plain Trainer runs in one process, the LLM loaded in each (benchmarks/loso_reference.py)
one_process_per_fold  `train.py --fold_shard i/n`
package               `train.py`, one process for all folds
side_by_side          `train.py --fold_parallel`, two processes, one core each

`training` is from the first fold's start to the last fold's end; `whole` is the wall time, processes, data, tables and
report included. The clips are drawn once before, into the data sets' cache.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

CLONE = Path(__file__).parents[2]
SCRIPTS = CLONE / "training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what is compared")
    parser.add_argument("--subjects", type=int, default=26, help="number of subjects, and of folds")
    parser.add_argument("--clips_per_subject", default="10", help="CASME II has 10 on average")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1], help="the two cores that are used")
    parser.set_defaults(repeats=1)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    """The ways alternately; medians."""
    draw_clips(args)
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in args.ways}
    for _ in range(args.repeats):
        for way in args.ways:
            whole, training = seconds_of(way, args)
            seconds[way].append((whole, training))
            print(f"{way}: whole {whole:.1f} s, training {training:.1f} s", flush=True)
    medians = {way: [statistics.median(one) for one in zip(*values, strict=True)] for way, values in seconds.items()}
    package = medians.get("package")
    rows = [
        {
            "folds": args.subjects,
            "clips": f"{args.subjects} x {args.clips_per_subject}",
            "epochs": args.epochs,
            "way": way,
            "whole, s": whole,
            "training, s": training,
            **(
                {"whole / package": whole / package[0], "training / package": training / package[1]} if package else {}
            ),
        }
        for way, (whole, training) in medians.items()
    ]
    return {"leave-one-subject-out": rows}


def draw_clips(args: argparse.Namespace) -> None:
    """Into the cache: otherwise the way that comes first would draw them for all."""
    with TemporaryDirectory() as folder:
        run_processes([train_command(args, Path(folder) / "run", "--folds", "none")], args.cores)


def seconds_of(way: str, args: argparse.Namespace) -> tuple[float, float]:
    """(whole, training) seconds of a run."""
    with TemporaryDirectory() as folder:
        run, begun = Path(folder) / "run", time.time()
        WAYS[way](args, run)
        whole = time.time() - begun
        folds = list(run.glob("folds/*/fold.json"))
        if len(folds) != args.subjects:
            raise RuntimeError(f"{way} left {len(folds)} folds of {args.subjects}")
        return whole, training_span(folds)


def training_span(folds: list[Path]) -> float:
    """Seconds from the first fold's start to the last fold's end; each is written when it ends, with its duration."""
    ends = {path: path.stat().st_mtime for path in folds}
    starts = [end - json.loads(path.read_text(encoding="utf-8"))["seconds"] for path, end in ends.items()]
    return max(ends.values()) - min(starts)


# -------------------------------------------------------------------- the ways


def run_reference(args: argparse.Namespace, run: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.loso_reference", *recipe(args), "--output_dir", str(run)]
    run_processes([command], args.cores)


def run_one_process_per_fold(args: argparse.Namespace, run: Path) -> None:
    for number in range(1, args.subjects + 1):
        run_processes([train_command(args, run, "--fold_shard", f"{number}/{args.subjects}")], args.cores)


def run_package(args: argparse.Namespace, run: Path) -> None:
    run_processes([train_command(args, run)], args.cores)


def run_side_by_side(args: argparse.Namespace, run: Path) -> None:
    """As torchrun would start them, but for the core."""
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]
    run_processes([train_command(args, run, "--fold_parallel")] * 2, args.cores, ranks)


WAYS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "reference": run_reference,
    "one_process_per_fold": run_one_process_per_fold,
    "package": run_package,
    "side_by_side": run_side_by_side,
}


def train_command(args: argparse.Namespace, run: Path, *options: str) -> list[str]:
    return [sys.executable, str(SCRIPTS / "train.py"), *recipe(args), "--output_dir", str(run), *options]


def recipe(args: argparse.Namespace) -> list[str]:
    """The quickstart's, with these changes."""
    return [
        *("--config", "quickstart", "--inner", "none"),
        *("--subjects", str(args.subjects), "--clips_per_subject", args.clips_per_subject),
        *("--num_train_epochs", str(args.epochs)),
    ]


def run_processes(commands: list[list[str]], cores: list[int], ranks: list[dict[str, str]] | None = None) -> None:
    """All at once, each on a core of its own with one thread."""
    path = os.pathsep.join([str(CLONE), str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    processes = []
    for command, rank, core in zip(commands, ranks or [{}], cores, strict=False):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | rank
        pinned = ["taskset", "-c", str(core)] if sys.platform == "linux" else []
        processes.append(
            subprocess.Popen(
                [*pinned, *command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(process.args)} failed: {errors[-2000:]}")
