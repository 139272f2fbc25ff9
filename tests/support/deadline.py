"""What might wait for ever, with an end to it."""

import threading
from collections.abc import Callable
from typing import Any


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """The function's result or its error; an error of our own where it does not come in time."""
    ended: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            ended.append((function(), None))
        except BaseException as error:
            ended.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert ended, f"not over after {seconds} s"
    result, error = ended[0]
    if error is not None:
        raise error
    return result
