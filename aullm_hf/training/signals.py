"""SIGTERM (a scheduler takes the machine back) and SIGHUP (a terminal closes): end soon without losing a step.

While a fold trains, the step is finished and a checkpoint written; everywhere else, and at a second signal, the
process ends at once. What is being written at that moment is either whole or not there.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from transformers import TrainerCallback

SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


class Stopped(BaseException):
    """The process was asked to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Stopper:
    """Whether this process was asked to end, and whether it must finish a training step first."""

    def __init__(self):
        self.number: int | None = None
        self.stepping = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals, but those that are handled or ignored already, as under `nohup`."""
        self.number, self.stepping = None, 0
        here = threading.current_thread() is threading.main_thread()
        handled = [number for number in SIGNALS if here and signal.getsignal(number) is signal.SIG_DFL]
        for number in handled:
            signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number in handled:
                signal.signal(number, signal.SIG_DFL)

    @contextmanager
    def finishing_steps(self) -> Iterator[None]:
        """Inside, StopOnRequest ends the training after a step; the process ends when the block is left."""
        self.stepping += 1
        try:
            yield
        finally:
            self.stepping -= 1
        if self.number is not None:
            raise Stopped(self.number)

    def _handle(self, number: int, _frame) -> None:
        again, self.number = self.number is not None, number
        if again or not self.stepping:
            raise Stopped(number)


STOPPER = Stopper()


class StopOnRequest(TrainerCallback):
    """Ends a training after the step in which the process was asked to end, with a checkpoint."""

    def on_step_end(self, args, state, control, **kwargs):
        if STOPPER.number is not None:
            control.should_save = args.save_strategy != "no"
            control.should_training_stop = True
