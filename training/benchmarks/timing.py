"""Taking times by turns, and putting rows of figures where people and programs read them."""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn


def wait_for(device: torch.device | str) -> None:
    """Until a GPU has done what it was given; a CPU is never behind."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def by_turns(
    passes: dict[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Median seconds of each, by turns A B A B .., so that a drifting machine hits both.

    Of every turn the first pass is not counted: it finds the other's data in the caches and the other's blocks in the
    allocator, as no loop does that runs by itself. A quick pass is then taken several times, up to a slow one's time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    first = {name: _time(one_pass, device) for name, one_pass in passes.items()}
    times = {name: min(max(round(max(first.values()) / spent), 1), 5) for name, spent in first.items()}
    for _ in range(repeats):
        for name, one_pass in passes.items():
            one_pass()
            seconds[name] += [_time(one_pass, device) for _ in range(times[name])]
    return {name: statistics.median(values) for name, values in seconds.items()}


def _time(one_pass: Callable[[], object], device: torch.device | str) -> float:
    wait_for(device)
    start = time.perf_counter()
    one_pass()
    wait_for(device)
    return time.perf_counter() - start


PARTS = ("batch", "LED", "3D-CNN", "projector", "LLM", "head, loss", "optimizer")


class StepClock:
    """How long each part of a training step takes, forward and backward together, seen from inside the step.

    Parts follow each other, so a part ends where the next begins: forward when a module has given its output, backward
    when that output has got its gradient. Their sum is the step. What lies between the 3D-CNN and the token (gate,
    dropout, F_high) counts as projector.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        self.device, self.hooks = device, []
        self.start()

    def start(self) -> None:
        self.seconds = dict.fromkeys(PARTS, 0.0)
        wait_for(self.device)
        self.last = time.perf_counter()

    def mark(self, part: str) -> None:
        """What has passed since the last mark was `part`."""
        wait_for(self.device)
        now = time.perf_counter()
        self.seconds[part] += now - self.last
        self.last = now

    def listen(self, led: nn.Module, backbone: nn.Module, projector: nn.Module, classifier: nn.Module) -> None:
        def ends(part: str, then: str):
            def hook(_module, _inputs, output) -> None:
                self.mark(part)
                (output[0] if isinstance(output, tuple) else output).register_hook(lambda _gradient: self.mark(then))

            return hook

        def begins(_module, inputs) -> None:
            self.mark("LLM")
            inputs[0].register_hook(lambda _gradient: self.mark("head, loss"))

        self.hooks = [
            led.register_forward_hook(ends("LED", then="3D-CNN")),
            backbone.register_forward_hook(ends("3D-CNN", then="projector")),
            projector.register_forward_hook(ends("projector", then="LLM")),
            classifier.register_forward_pre_hook(begins),
        ]

    def close(self) -> None:
        for hook in self.hooks:
            hook.remove()


def medians_by_turns(
    steps: dict[str, Callable[[], object]], clocks: dict[str, StepClock], repeats: int
) -> dict[str, dict[str, float]]:
    """As `by_turns`, part by part."""
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    for run in range(repeats + 1):
        for name, step in steps.items():
            clocks[name].start()
            step()
            if run:
                seen[name].append(clocks[name].seconds)
    return {
        name: {part: statistics.median(one[part] for one in runs) for part in PARTS} for name, runs in seen.items()
    }


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
