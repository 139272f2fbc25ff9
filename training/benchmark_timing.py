"""Taking times by turns, and putting rows of figures where people and programs read them."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def wait_for(device: torch.device | str) -> None:
    """Until a GPU has done what it was given; a CPU is never behind."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def by_turns(
    passes: dict[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Median seconds of each, run A B A B .. after a warm-up, so that a drifting machine hits both."""
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for run in range(repeats + 1):
        for name, one_pass in passes.items():
            wait_for(device)
            start = time.perf_counter()
            one_pass()
            wait_for(device)
            if run:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def table(rows: list[dict]) -> str:
    """Rows of the same keys as Markdown."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_rows(folder: Path, name: str, rows: object, markdown: str) -> None:
    """`name`.json for programs and `name`.md for people."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
    (folder / f"{name}.md").write_text(markdown + "\n", encoding="utf-8")
