"""What every public call does with a wrong value: it says which argument it is, what came, and what may come."""

import os
from typing import Any

import torch

SHOWN = 160  # characters of a value in a message
SEEDS = 1 << 63


def shown(value: Any) -> str:
    """`repr` on one line, cut where it is long: an array or a page of text would bury the message."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype} on {value.device}"
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}.. ({type(value).__name__})"


def check_text(name: str, value: Any, allowed: str, *, paths: bool = False) -> None:
    """None, or text, or with `paths` a path."""
    if value is not None and not isinstance(value, (str, os.PathLike) if paths else str):
        raise TypeError(f"{name} is {shown(value)}; allowed: {allowed}.")


def check_seed(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < SEEDS:
        raise ValueError(f"{name} is {shown(value)}; allowed: a whole number from 0 to {SEEDS - 1}.")


def check_dense(name: str, value: Any, allowed: str) -> None:
    """A tensor of real numbers that lie in memory one after the other."""
    if not isinstance(value, torch.Tensor):
        raise ValueError(f"{name} is {type(value).__name__}; expected {allowed}.")
    real = not (value.is_complex() or value.is_quantized) and not (
        value.is_floating_point() and value.dtype.itemsize < 2  # eight bits, which have no arithmetic
    )
    if value.layout is not torch.strided or value.is_meta or not real:
        raise ValueError(f"{name} is {shown(value)} ({value.layout}); expected {allowed}, dense and of real numbers.")


def check_within(name: str, value: torch.Tensor, low: float, high: float, allowed: str) -> None:
    """Every number within [low, high]; NaN is not.

    An accelerator in training is not waited for: there a step must not stop to look at its input.
    """
    if torch.compiler.is_compiling() or (value.device.type != "cpu" and torch.is_grad_enabled()):
        return
    if value.is_floating_point():  # to float16 a limit that it cannot hold is infinity, and infinity within it
        most = torch.finfo(value.dtype).max
        low, high = max(low, -most), min(high, most)
    wrong = ~((value >= low) & (value <= high))
    if bool(wrong.any()):
        found = value[wrong][0].item()
        raise ValueError(f"{name} holds {found}; expected {allowed}.")


__all__ = ["check_dense", "check_seed", "check_text", "check_within", "shown"]
