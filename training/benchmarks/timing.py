"""Times of passes that take turns in one process, so that a drifting machine hits all of them alike."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn


def synchronize(device: torch.device | str) -> None:
    """Wait until a GPU has done what it was given; a CPU is never behind."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(
    passes: dict[str, Callable[[], object]], repeats: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Median seconds of each pass, run alternately: A B A B ..

    The first pass of every turn is not counted: it finds the other's data in the caches and the other's blocks in the
    allocator, as no loop does that runs by itself. A quick pass is then taken several times, up to a slow one's time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    first = {name: _seconds_of(run, device) for name, run in passes.items()}
    times = {name: min(max(round(max(first.values()) / spent), 1), 5) for name, spent in first.items()}
    for _ in range(repeats):
        for name, run in passes.items():
            run()
            seconds[name] += [_seconds_of(run, device) for _ in range(times[name])]
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds_of(run: Callable[[], object], device: torch.device | str) -> float:
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


STEP_PARTS = ("batch", "LED", "3D-CNN", "projector", "LLM", "head, loss", "optimizer")


class StepClock:
    """How long each part of a training step takes, forward and backward together, measured from inside the step.

    Parts follow each other, so a part ends where the next begins: forward when a module has given its output, backward
    when that output has got its gradient. Their sum is the step. What lies between the 3D-CNN and the token (MGE,
    dropout, F_high) counts as projector.
    """

    def __init__(self, device: torch.device | str = "cpu"):
        self.device, self.hooks = device, []
        self.start()

    def start(self) -> None:
        self.seconds = dict.fromkeys(STEP_PARTS, 0.0)
        synchronize(self.device)
        self.last = time.perf_counter()

    def mark(self, part: str) -> None:
        """Count the time since the last mark as `part`."""
        synchronize(self.device)
        now = time.perf_counter()
        self.seconds[part] += now - self.last
        self.last = now

    def attach(self, led: nn.Module, backbone: nn.Module, projector: nn.Module, classifier: nn.Module) -> None:
        """Mark the parts of every step that goes through these modules, until `close`."""

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


def median_seconds_of_parts(
    steps: dict[str, Callable[[], object]], clocks: dict[str, StepClock], repeats: int
) -> dict[str, dict[str, float]]:
    """Median seconds of every part of each step, run alternately; the first turn is not counted."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    for turn in range(repeats + 1):
        for name, step in steps.items():
            clocks[name].start()
            step()
            if turn:
                measured[name].append(clocks[name].seconds)
    return {
        name: {part: statistics.median(turn[part] for turn in turns) for part in STEP_PARTS}
        for name, turns in measured.items()
    }
