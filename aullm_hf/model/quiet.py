"""Loading without what transformers prints of it: a bar per model, and a report of weights that are not needed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers.utils import logging

_LOCK = threading.RLock()  # transformers' verbosity and bars are global: one load at a time changes them

_set_hook = getattr(logging, "set_tqdm_hook", lambda hook: None)  # older transformers draw no bar for weights


@contextmanager
def quiet_loading(*, reports: bool = False) -> Iterator[None]:
    """Around `from_pretrained`: no bar for weights; `reports=False`: no report of missing or unused weights either.

    Bars of downloads stay.
    """
    with _LOCK:
        verbosity = logging.get_verbosity()
        before = _set_hook(_without_weights_bar)
        if not reports:
            logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)
            _set_hook(before)


def _without_weights_bar(make_bar: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    return make_bar(*args, **kwargs | ({"disable": True} if kwargs.get("desc") == "Loading weights" else {}))


__all__ = ["quiet_loading"]
