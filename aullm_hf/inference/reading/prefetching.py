"""Read ahead of the model: threads that read sources while the model works, a bounded number of clips at most.

Decoding and cropping let go of the interpreter, so threads are enough. What is read comes out in the order of the
sources, whichever thread is done first; a long source comes out while it is being read.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Any

_END = object()


class _Stopped(Exception):
    """The consumer has gone."""


def prefetch(
    sources: Iterable[Any], read: Callable[[Any], Iterable[Any]], workers: int, waiting: int
) -> Iterator[tuple[Any, Any, bool]]:
    """(source, what `read` gave, False), one after another, and (source, None, True) after a source's last.

    No source has more than `waiting` of its own waiting, and none is begun while so many wait altogether.
    """
    upcoming, take = iter(sources), threading.Lock()
    order: Queue = Queue()
    stop, room, held = threading.Event(), threading.Condition(), 0

    def hold(change: int) -> None:
        nonlocal held
        with room:
            held += change
            room.notify_all()

    def put(queue: Queue, item: Any) -> None:
        while not stop.is_set():
            try:
                queue.put(item, timeout=0.1)
                return hold(1)
            except Full:
                continue
        raise _Stopped

    def work() -> None:
        try:
            while True:
                with take:  # so that sources stand in `order` as they were named
                    with room:
                        room.wait_for(lambda: held < waiting or stop.is_set())
                    try:
                        source = next(upcoming)
                    except StopIteration:
                        return order.put(_END)
                    except BaseException as error:
                        return order.put(error)
                    mine: Queue = Queue(maxsize=waiting)
                    order.put((source, mine))
                try:
                    for item in read(source):
                        put(mine, (item, False))
                    put(mine, (None, True))
                except _Stopped:
                    raise
                except BaseException as error:
                    put(mine, error)
        except _Stopped:
            return

    def get(queue: Queue) -> Any:
        while True:
            try:  # with a timeout, so that Ctrl-C is heard
                item = queue.get(timeout=0.5)
            except Empty:
                continue
            if isinstance(item, BaseException):
                raise item
            return item

    threads = [threading.Thread(target=work, name=f"reader-{at}", daemon=True) for at in range(workers)]
    for thread in threads:
        thread.start()
    try:
        while (entry := get(order)) is not _END:
            source, queue = entry
            last = False
            while not last:
                item, last = get(queue)
                hold(-1)
                yield source, item, last
    finally:
        stop.set()
        hold(0)
        for thread in threads:
            thread.join()
