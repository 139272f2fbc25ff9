"""Checks of arguments, with errors that say which one it is, what came and what is allowed.

Twin of `aullm_hf/arguments.py`, which the other rooms use: this room travels with every checkpoint and imports nothing
from outside.
"""

import os
from typing import Any

import torch

SHOWN = 160  # characters of a value in a message
SEEDS = 1 << 63
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def shown(value: Any) -> str:
    """`repr` on one line, cut where it is long: an array or a page of text would bury the message."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)} of {value.dtype} on {value.device}"
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}.. ({type(value).__name__})"


def some(names: list[str], most: int = 5) -> str:
    """The first few of many names."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


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

    Tensors on an accelerator are not looked at in training: the step would have to wait for them.
    """
    if torch.compiler.is_compiling() or (value.device.type != "cpu" and torch.is_grad_enabled()):
        return
    if value.is_floating_point():  # to float16 a limit that it cannot hold is infinity, and infinity within it
        most = torch.finfo(value.dtype).max
        low, high = max(low, -most), min(high, most)
    wrong = ~((value >= low) & (value <= high))
    if bool(wrong.any()):
        example = value[wrong][0].item()
        raise ValueError(f"{name} holds {example}; expected {allowed}.")


def check_pixel_values(config: Any, pixel_values: Any) -> None:
    """Clips (B, T, 1, H, W) of the sizes of an AULLMConfig, or of a model of flow their motion (B, T-1, 3, H, W)."""
    expected = (config.num_frames, 1, config.image_size, config.image_size)
    shapes = [expected]
    if config.motion == "flow":  # computed before, once for all epochs of a training
        shapes.append((config.num_frames - 1, 3, *expected[2:]))
    if not isinstance(pixel_values, torch.Tensor) or pixel_values.ndim != 5 or pixel_values.shape[1:] not in shapes:
        got = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
        raise ValueError(
            f"pixel_values is {got}; expected a tensor (clips, {', '.join(map(str, expected))}): frames, one gray "
            "channel, height, width. AULLMVideoProcessor makes it from any clip."
        )
    if pixel_values.shape[0] == 0:
        raise ValueError("pixel_values holds no clip; expected at least one.")
    if pixel_values.dtype not in FLOATS:
        raise ValueError(
            f"pixel_values has dtype {pixel_values.dtype}; expected floating point, as the processor makes."
        )
    check_dense("pixel_values", pixel_values, "a tensor of frames")
    check_within("pixel_values", pixel_values, -1e30, 1e30, "finite numbers, as the processor makes")


__all__ = ["check_dense", "check_pixel_values", "check_seed", "check_text", "check_within", "shown", "some"]
