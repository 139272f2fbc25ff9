"""Turns: one at a time, in one order, each with its own random stream; no way of ending leaves another waiting."""

import random
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import GradientState
from hypothesis import given, settings
from hypothesis import strategies as st
from lockstep import Lockstep

from support.deadline import within

CPU = torch.device("cpu")


def _answer(requests):
    return requests


def _draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def _seed(number):
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_each_draws_what_it_would_alone_however_many_meetings_it_has(meetings):
    drawn, crowds = {}, []

    def hold(requests):
        crowds.append(sorted(requests))
        for member in requests:
            with steps.noise_of(member, CPU):
                drawn[member].append(float(torch.rand(())))
        return _answer(requests)

    steps = Lockstep(len(meetings), hold, CPU)

    def work(me):
        _seed(me)
        drawn[me] = []
        for meeting in range(meetings[me]):
            drawn[me].append(_draw())
            assert steps.meet(me, (me, meeting)) == (me, meeting)
        drawn[me].append(_draw())

    _seed(99)
    before = torch.get_rng_state()
    within(20, lambda: steps.run(work))
    assert torch.equal(torch.get_rng_state(), before)
    for me, count in enumerate(meetings):
        _seed(me)
        alone = []
        for _ in range(count):
            alone += [_draw(), float(torch.rand(()))]
        assert drawn[me] == [*alone, _draw()]
    # The k-th meeting is of all who have as many.
    assert crowds == [[m for m, count in enumerate(meetings) if count > k] for k in range(max(meetings))]


def test_the_order_is_the_same_every_time_and_one_runs_at_a_time():
    def trace():
        steps, seen, running = Lockstep(3, _answer, CPU), [], []

        def work(me):
            for step in range(4):
                running.append(me)
                assert running == [me]
                seen.append((me, step))
                running.remove(me)
                steps.meet(me, step)

        within(20, lambda: steps.run(work))
        return seen

    assert trace() == trace() and trace()[:3] == [(0, 0), (1, 0), (2, 0)]


def test_whether_a_micro_batch_ends_a_step_is_each_ones_own():
    steps = Lockstep(2, _answer, CPU)

    def work(me):
        GradientState()._set_sync_gradients(bool(me))
        steps.meet(me, None)
        assert GradientState().sync_gradients is bool(me)

    within(20, lambda: steps.run(work))


def test_who_comes_late_waits_for_the_next_meeting():
    """Answers may be given to some: the others meet again."""
    crowds = []

    def first_the_urgent(requests):
        urgent = {member: request for member, request in requests.items() if request == "urgent"}
        crowds.append(sorted(urgent or requests))
        return urgent or requests

    steps = Lockstep(3, first_the_urgent, CPU)

    def work(me):
        steps.meet(me, "urgent" if me == 1 else "calm")
        if me == 1:
            steps.meet(me, "calm")

    within(20, lambda: steps.run(work))
    assert crowds == [[1], [0, 1, 2]]


def test_an_error_ends_its_own_thread_and_is_raised_at_the_end():
    steps, met = Lockstep(3, _answer, CPU), {0: 0, 1: 0, 2: 0}

    def work(me):
        for step in range(4):
            if me and step == me:
                raise ValueError(f"member {me}")
            steps.meet(me, step)
            met[me] += 1

    with pytest.raises(ValueError, match="member 1") as caught:
        within(20, lambda: steps.run(work))
    assert met == {0: 4, 1: 1, 2: 2}
    assert caught.value.__notes__ == ["Beside it ValueError: member 2"]


def test_a_meeting_that_fails_fails_for_everybody():
    def fails(requests):
        raise MemoryError("too much")

    steps, met = Lockstep(3, fails, CPU), []

    def work(me):
        try:
            steps.meet(me, None)
        finally:
            met.append(me)

    with pytest.raises(MemoryError, match="too much"):
        within(20, lambda: steps.run(work))
    assert sorted(met) == [0, 1, 2]


def test_the_seconds_of_all_are_those_that_passed(monkeypatch):
    now = [0.0]

    def hold(requests):
        now[0] += 6.0
        return requests

    monkeypatch.setattr("lockstep.time", SimpleNamespace(perf_counter=lambda: now[0]))
    steps, clocks = Lockstep(2, hold, CPU), {}

    def work(me):
        now[0] += 1.0 + me
        steps.meet(me, None)
        now[0] += 10.0
        clocks[me] = steps.clock(me)

    within(20, lambda: steps.run(work))
    assert clocks == {0: 1.0 + 3.0 + 10.0, 1: 2.0 + 3.0 + 10.0} and now == [29.0]


def test_an_interrupt_ends_all_of_them_where_they_next_meet(monkeypatch):
    steps, ended, begun = Lockstep(2, _answer, CPU), [], threading.Event()

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            if not begun.is_set():
                begun.wait()
                raise KeyboardInterrupt  # as Ctrl-C in the main thread does
            return super().wait(timeout)

    steps._over = Interrupted()

    def work(me):
        try:
            for step in range(10**9):
                steps.meet(me, step)
                begun.set()
        finally:
            ended.append(me)

    with pytest.raises(KeyboardInterrupt):
        within(20, lambda: steps.run(work))
    assert sorted(ended) == [0, 1]
