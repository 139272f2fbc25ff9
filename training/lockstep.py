"""Several folds of one process by turns: a thread each, of which one runs at a time, in an order that never changes.

A thread runs until it needs the others (`meet`) or has ended; then the next one runs. When all that are left need the
others, one of them holds the meeting for all. Nothing is concurrent, so nothing races: threads are here because an
ordinary training is a call that can be left in its middle and come back to.

What a process has one of and every training changes (random generators, Accelerate's gradient state) is put away with
a thread and brought back with it, so that each fold draws what it would draw alone.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import torch
from accelerate.state import GradientState


class _Stopped(BaseException):
    """Ends a thread whose launch was interrupted."""


@dataclass
class _Member:
    """A thread of the lockstep, and what is its own while another one runs."""

    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    world: dict[str, Any] = field(default_factory=dict)
    done: bool = False
    seconds: float = 0.0  # of its turns so far, and of its shares of meetings
    since: float | None = None  # when the turn that it has began


class Lockstep:
    """`count` threads that take turns, and meet.

    `hold` is given the open requests by member, and returns the answers by member: to one of them at least. It runs in
    the thread of one who waits, with nobody's world in place. Where it fails, all who wait get its error.
    """

    def __init__(self, count: int, hold: Callable[[dict[int, Any]], dict[int, Any]], device: torch.device):
        self._count = count
        self._hold = hold
        self._parts = _parts_of_the_world(device)
        self._members: list[_Member] = []
        self._requests: dict[int, Any] = {}
        self._answers: dict[int, Any] = {}
        self._errors: list[BaseException] = []
        self._over = threading.Event()
        self._stopping = False

    def run(self, work: Callable[[int], None]) -> None:
        """`work(i)` for every member. An error ends its own thread, and is raised when the others have ended theirs.

        Ctrl-C ends every thread where it next needs the others.
        """
        here = self._world()
        self._members = [_Member(world=dict(here)) for _ in range(self._count)]
        threads = [threading.Thread(target=self._live, args=(me, work), daemon=True) for me in range(self._count)]
        self._over.clear()
        for thread in threads:
            thread.start()
        self._members[0].turn.release()
        try:
            self._over.wait()
        except BaseException:
            self._stopping = True
            self._over.wait()
            raise
        finally:
            self._bring_back(here)
        for thread in threads:
            thread.join()
        if self._errors:
            first, *others = self._errors
            for other in others:
                if other is not first:
                    first.add_note(f"Beside it {type(other).__name__}: {other}")
            raise first

    def meet(self, me: int, request: Any) -> Any:
        """Called by member `me` in its turn: wait until everybody waits or has ended, then have the answer."""
        self._requests[me] = request
        self._pass_on(me)
        while me in self._requests:  # nobody can go on without a meeting
            self._hold_meeting(me)
            if me in self._requests:
                self._pass_on(me)
        answer = self._answers.pop(me)
        if isinstance(answer, _Failure):
            raise answer.error.with_traceback(answer.traceback)  # each its own: raising adds to it
        return answer

    def clock(self, me: int) -> float:
        """Seconds that member `me` has had: its own turns, and its shares of meetings."""
        member = self._members[me]
        return member.seconds + (0.0 if member.since is None else time.perf_counter() - member.since)

    @contextmanager
    def noise_of(self, member: int, device: torch.device) -> Iterator[None]:
        """Within a meeting: what torch draws on `device` comes from the member's stream, and moves it on."""
        get, put = self._parts[device.type]
        world = self._members[member].world
        put(world[device.type])
        yield
        world[device.type] = get()

    # ---------------------------------------------------------------- turns

    def _live(self, me: int, work: Callable[[int], None]) -> None:
        self._members[me].turn.acquire()
        self._enter(me)
        try:
            if not self._stopping:
                work(me)
        except _Stopped:
            pass
        except BaseException as error:
            self._errors.append(error)
        self._members[me].done = True
        self._leave(me)
        following = self._following(me)
        if following is None:
            self._over.set()
        else:
            self._members[following].turn.release()

    def _pass_on(self, me: int) -> None:
        """Let others run until it is this member's turn again."""
        following = self._following(me)
        if following != me:
            self._leave(me)
            self._members[following].turn.release()
            self._members[me].turn.acquire()
            self._enter(me)
        if self._stopping:
            raise _Stopped

    def _following(self, me: int) -> int | None:
        """Who runs next: the next in the circle that can go on; else one that waits, and will hold the meeting."""
        circle = [*range(me + 1, len(self._members)), *range(me + 1)]
        alive = [member for member in circle if not self._members[member].done]
        ready = [member for member in alive if member not in self._requests]
        if not ready and me in alive:
            return me  # saves a change of hands
        return next(iter(ready or alive), None)

    def _hold_meeting(self, me: int) -> None:
        self._leave(me)
        begun = time.perf_counter()
        try:
            answers = self._hold(dict(self._requests))
        except BaseException as error:
            answers = dict.fromkeys(self._requests, _Failure(error, error.__traceback__))
        share = (time.perf_counter() - begun) / len(answers)
        for member in answers:
            del self._requests[member]
            self._members[member].seconds += share
        self._answers |= answers
        self._enter(me)

    # ---------------------------------------------------------------- worlds

    def _world(self) -> dict[str, Any]:
        return {name: get() for name, (get, _) in self._parts.items()}

    def _bring_back(self, world: dict[str, Any]) -> None:
        for name, (_, put) in self._parts.items():
            put(world[name])

    def _enter(self, me: int) -> None:
        self._bring_back(self._members[me].world)
        self._members[me].since = time.perf_counter()

    def _leave(self, me: int) -> None:
        member = self._members[me]
        member.seconds, member.since = self.clock(me), None
        member.world = self._world()


@dataclass
class _Failure:
    error: BaseException
    traceback: TracebackType | None


def _parts_of_the_world(device: torch.device) -> dict[str, tuple[Callable, Callable]]:
    """How to take, and how to put back, each thing that a process has one of and a training changes."""
    parts = {
        "python": (random.getstate, random.setstate),
        "numpy": (np.random.get_state, np.random.set_state),
        "cpu": (torch.get_rng_state, torch.set_rng_state),
        "accelerate": (_gradient_state, _put_gradient_state),
    }
    if device.type != "cpu":
        module = torch.get_device_module(device)
        parts[device.type] = (module.get_rng_state, module.set_rng_state)
    return parts


def _gradient_state() -> dict[str, Any]:
    """Whether this micro-batch ends a step, and which loader is being read: one dictionary for all Accelerators."""
    return {name: list(value) if isinstance(value, list) else value for name, value in vars(GradientState()).items()}


def _put_gradient_state(state: dict[str, Any]) -> None:
    shared = vars(GradientState())
    shared.clear()
    shared.update(state)
