"""Checks of what a caller gave, with messages that name the argument, the value and what is allowed.

For every room but `model`, whose own (`model/arguments.py`) travels to the Hub with it.
"""

import os
from collections.abc import Collection, Iterable, Set
from numbers import Real
from typing import Any

SHOWN = 160  # characters of a value in a message


def shown(value: Any) -> str:
    """`repr` on one line, cut where it is long: a table or a page of text would bury the message."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}.. ({type(value).__name__})"


def first_few(items: Iterable[Any], limit: int = 5) -> str:
    """The first items, and how many more there are; those of a set are sorted."""
    items = sorted(items) if isinstance(items, Set) else list(items)
    return ", ".join(map(str, items[:limit])) + (f" and {len(items) - limit} more" if len(items) > limit else "")


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 source, 2 sources."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def split_names(words: Iterable[str]) -> list[str]:
    """Names given as several words, with commas, or both: ["a", "b,c"] -> ["a", "b", "c"]."""
    return [name for word in words for name in word.split(",") if name]


def check_choice(name: str, value: Any, allowed: Collection[str | None]) -> None:
    if not isinstance(value, str | None) or value not in allowed:
        raise ValueError(f"{name}={shown(value)} is not allowed; choose one of {', '.join(map(repr, allowed))}")


def check_flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name}={shown(value)} is not allowed; give True or False")


def check_whole(name: str, value: Any, low: int, high: int = 1 << 63) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < high:
        allowed = f"of at least {low}" if high == 1 << 63 else f"from {low} to {high - 1}"
        raise ValueError(f"{name}={shown(value)} is not allowed; give a whole number {allowed}")


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """A finite number strictly between the two, Python's or NumPy's."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low < value < high:
        raise ValueError(f"{name}={shown(value)} is not allowed; give a number between {low:g} and {high:g}")


def check_path(name: str, value: Any, what: str) -> None:
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{name}={shown(value)} is not allowed; give {what}")
    if b"\0" in (encoded := os.fsencode(value)) or any(len(part) > 255 for part in encoded.split(b"/")):
        raise ValueError(f"{name}={shown(value)} is no path; give {what}")
