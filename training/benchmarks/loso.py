r"""A whole leave-one-subject-out run: this package against the published loop's shape, and folds side by side.

    python training/benchmarks/loso.py --subjects 3 --clips_per_subject 4 --epochs 1        # to try it
    python training/benchmarks/loso.py --subjects 26 --clips_per_subject 10                 # the figures of the README
    python training/benchmarks/loso.py --subjects 26 --clips_per_subject 10 --way package side_by_side

The quickstart's recipe (tiny LLM, `inner: none`) on synthetic clips; every way but `side_by_side` has one core, to
which it is pinned where the system can:

reference       a loop of plain Trainer runs in one process, the LLM loaded in each (benchmarks/loso_reference.py)
a_process_each  `train.py --fold_shard i/n`, a process a fold
package         `train.py`, one process for all folds
side_by_side    `train.py --fold_parallel`, two processes, a core each

`training` is from the first fold's start to the last fold's end; `whole` is the wall time of the way, processes, data,
tables and report included. The clips are drawn once before, into the data sets' cache.
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

from benchmarks.timing import table, write_rows

ROOT = Path(__file__).parent.parent
WAYS = ("reference", "a_process_each", "package", "side_by_side")


def recipe(args: argparse.Namespace) -> list[str]:
    """The quickstart's, with these changes."""
    return [
        *("--config", str(ROOT / "hub_configs" / "quickstart.yaml"), "--inner", "none"),
        *("--subjects", str(args.subjects), "--clips_per_subject", args.clips_per_subject),
        *("--num_train_epochs", str(args.epochs)),
    ]


def in_processes(commands: list[list[str]], places: list[dict[str, str]], cores: list[int]) -> None:
    """All at once, each on a core of its own and one thread."""
    running = []
    for command, place, core in zip(commands, places, cores, strict=True):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": _python_path()} | place
        pinned = ["taskset", "-c", str(core)] if sys.platform == "linux" else []
        said = subprocess.PIPE
        running.append(subprocess.Popen([*pinned, *command], env=environment, stdout=said, stderr=said, text=True))
    for process in running:
        _, complaint = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(process.args)} failed: {complaint[-2000:]}")


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def train(args: argparse.Namespace, run: Path, *options: str) -> list[str]:
    return [sys.executable, str(ROOT / "training" / "train.py"), *recipe(args), "--output_dir", str(run), *options]


def reference(args: argparse.Namespace, run: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.loso_reference", *recipe(args)]
    in_processes([[*command, "--output_dir", str(run)]], [{}], args.cores[:1])


def a_process_each(args: argparse.Namespace, run: Path) -> None:
    for number in range(1, args.subjects + 1):
        shard = f"{number}/{args.subjects}"
        in_processes([train(args, run, "--fold_shard", shard)], [{}], args.cores[:1])


def package(args: argparse.Namespace, run: Path) -> None:
    in_processes([train(args, run)], [{}], args.cores[:1])


def side_by_side(args: argparse.Namespace, run: Path) -> None:
    """As torchrun would start them, but for the core."""
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"} for rank in range(2)]
    in_processes([train(args, run, "--fold_parallel")] * 2, places, args.cores[:2])


def time_of(way: Callable[[argparse.Namespace, Path], None], args: argparse.Namespace) -> tuple[float, float]:
    """(whole, training) seconds."""
    with TemporaryDirectory() as folder:
        run, begun = Path(folder) / "run", time.time()
        way(args, run)
        whole = time.time() - begun
        folds = list(run.glob("folds/*/fold.json"))
        if len(folds) != args.subjects:
            raise RuntimeError(f"{way.__name__} left {len(folds)} folds of {args.subjects}")
        return whole, _training_span(folds)


def _training_span(folds: list[Path]) -> float:
    """From the first fold's start to the last fold's end: what is written when it ends, and how long it took."""
    ends = {path: path.stat().st_mtime for path in folds}
    starts = [end - json.loads(path.read_text(encoding="utf-8"))["seconds"] for path, end in ends.items()]
    return max(ends.values()) - min(starts)


def draw_clips(args: argparse.Namespace) -> None:
    """Into the cache: otherwise the way that comes first would draw them for all."""
    with TemporaryDirectory() as folder:
        in_processes([train(args, Path(folder) / "run", "--folds", "none")], [{}], args.cores[:1])


def measure(args: argparse.Namespace) -> list[dict]:
    """The ways by turns; medians."""
    draw_clips(args)
    seen: dict[str, list[tuple[float, float]]] = {way: [] for way in args.way}
    for _ in range(args.repeats):
        for way in args.way:
            seen[way].append(time_of(globals()[way], args))
            print(f"{way}: whole {seen[way][-1][0]:.1f} s, training {seen[way][-1][1]:.1f} s", flush=True)
    medians = {way: [statistics.median(one) for one in zip(*values, strict=True)] for way, values in seen.items()}
    against = medians.get("package")
    said = {"folds": args.subjects, "clips": f"{args.subjects} x {args.clips_per_subject}", "epochs": args.epochs}
    return [
        said
        | {"way": way, "whole, s": whole, "training, s": training}
        | ({"whole / package": whole / against[0], "training / package": training / against[1]} if against else {})
        for way, (whole, training) in medians.items()
    ]


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--subjects", type=int, default=26, help="as many folds")
    parser.add_argument("--clips_per_subject", default="10", help="CASME II has 10 on average")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder for loso.json and loso.md")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    rows = measure(args)
    print(table(rows))
    if args.out:
        write_rows(args.out, "loso", rows, table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
