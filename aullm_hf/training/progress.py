"""Progress of a run: a bar over all steps of all folds on a terminal, one line per fold elsewhere."""

import sys
import time

from tqdm.auto import tqdm
from transformers import TrainerCallback


class Progress:
    """Counts steps over all folds that this process may still train. Shows nothing unless `enabled`."""

    def __init__(self, folds: int, steps_per_fold: int, *, enabled: bool):
        self.folds, self.steps_per_fold = folds, steps_per_fold
        self.done, self.begun = 0, time.perf_counter()
        self.counts: dict[str, _Steps] = {}  # of the folds in training
        self.enabled = enabled
        terminal = enabled and sys.stderr.isatty()
        self.bar = tqdm(total=folds * steps_per_fold, unit="step", dynamic_ncols=True) if terminal else None

    def start(self, name: str) -> TrainerCallback:
        """A callback for the fold's Trainer."""
        self.counts[name] = _Steps(self.bar)
        if self.bar is not None:
            self.bar.set_description(f"fold {self.done + 1}/{self.folds} {' '.join(self.counts)}")
        return self.counts[name]

    def finish(self, name: str, seconds: float, *, skipped: bool = False) -> None:
        """The fold is done, by this process or by another."""
        self.done += 1
        counted = self.counts.pop(name).count if name in self.counts else 0
        if self.bar is not None:
            self.bar.update(self.steps_per_fold - counted)
        elif self.enabled and not skipped:
            left = (time.perf_counter() - self.begun) / self.done * (self.folds - self.done)
            print(f"fold {self.done}/{self.folds} {name}: {seconds:.1f} s; {_clock(left)} left", flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


class _Steps(TrainerCallback):
    """Counts the steps of one fold."""

    def __init__(self, bar: tqdm | None):
        self.bar, self.count = bar, 0

    def on_step_end(self, args, state, control, **kwargs):
        self.count += 1
        if self.bar is not None:
            self.bar.update()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
