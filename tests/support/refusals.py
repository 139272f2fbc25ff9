"""What a refusal is: an error of the promised type that this package raised itself, in words that name the input."""

import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / room) for room in ("aullm_hf", "training"))
TALLY: Counter = Counter()  # outcomes of this process
TYPES = (ValueError, TypeError, OSError)
LONGEST = 3000  # characters of a message: more is a value that was printed whole


def flaw(error: Exception, types: tuple[type, ...] = TYPES) -> str:
    """What is wrong with an error as a refusal; empty where nothing is.

    The innermost frame must be a `raise` of this package's: an inner library's error, and one that Python itself
    raised in our code, were not written for the caller.
    """
    (frame,) = traceback.extract_tb(error.__traceback__, limit=-1)
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    if not isinstance(error, types):
        return f"{type(error).__name__} at {where}: {error}"
    if not frame.filename.startswith(OURS) or not (frame.line or "").startswith("raise"):
        return f"{type(error).__name__} of {where}, not of this package: {error}"
    if not str(error).strip() or len(str(error)) > LONGEST:
        return f"{type(error).__name__} at {where} with {len(str(error))} characters"
    return ""


def outcome(call: Callable[[], Any], *names: str, types: tuple[type, ...] = TYPES) -> str:
    """ "answered", or "refused" with a message that says one of `names`; anything else fails."""
    try:
        call()
    except Exception as error:
        said = flaw(error, types)
        assert not said, said
        assert not names or any(name in str(error) for name in names), f"none of {names} in: {error}"
        TALLY["refused"] += 1
        return "refused"
    TALLY["answered"] += 1
    return "answered"
