"""Reading ahead: the order of the sources, a bounded number waiting, errors where they belong, real overlap."""

import threading
import time

import pytest

from aullm_hf.inference.reading.prefetching import prefetch


def flat(entries):
    return [(source, item) for source, item, last in entries if not last]


@pytest.mark.parametrize("workers", [1, 3])
def test_everything_comes_in_the_order_of_the_sources(workers):
    def read(source):
        for item in range(source % 4):
            time.sleep(0.001 * ((source * 7) % 3))
            yield item

    got = list(prefetch(range(20), read, workers, 2))
    assert flat(got) == [(source, item) for source in range(20) for item in range(source % 4)]
    assert [source for source, _, last in got if last] == list(range(20))


@pytest.mark.parametrize(("workers", "length"), [(1, 100), (1, 1), (3, 1), (3, 20)])
def test_no_more_than_asked_for_waits(workers, length):
    made, taken = [], 0

    def read(source):
        for item in range(length):
            made.append(item)
            yield item

    for _, _, last in prefetch(range(300 // length), read, workers, 5):
        taken += not last
        if taken % 50 == 1:
            time.sleep(0.05)
        assert len(made) - taken <= 5 + workers * (5 + 1) + 1
    assert taken == 300


def test_a_long_source_comes_out_while_it_is_read():
    go = threading.Event()

    def read(source):
        yield "first"
        assert go.wait(10)
        yield "second"

    entries = prefetch([0], read, 1, 4)
    assert next(entries)[1] == "first"
    go.set()
    assert next(entries)[1] == "second"


def test_an_error_reaches_the_caller_after_what_came_before_it():
    def read(source):
        yield "good"
        if source == 1:
            raise RuntimeError("broken")

    seen = []
    with pytest.raises(RuntimeError, match="broken"):
        for source, item, _ in prefetch(range(5), read, 2, 4):
            seen.append((source, item))
    assert seen[:3] == [(0, "good"), (0, None), (1, "good")]


def test_threads_end_when_the_caller_goes():
    before = threading.active_count()
    entries = prefetch(range(1000), lambda source: range(1000), 3, 4)
    next(entries)
    entries.close()
    assert threading.active_count() == before


def test_reading_and_the_model_run_at_the_same_time():
    """Both wait as if for a disk and a GPU: end to end costs the slower of the two, not their sum."""

    def read(source):
        time.sleep(0.02)
        yield source

    start = time.perf_counter()
    for _, _, last in prefetch(range(30), read, 1, 4):
        time.sleep(0 if last else 0.02)
    assert 30 * 0.02 / (time.perf_counter() - start) >= 0.75  # of 0.5 without overlap
