"""The frozen LLM in float32 where the processor only emulates its dtype, for whoever trains it and predicts with it.

A processor without instructions for bfloat16 or float16 emulates them, many times slower than float32, whose values
hold all of theirs. What it costs is memory: 4 bytes per weight of the LLM instead of 2.
"""

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch
from torch import nn

from .model import AULLMForAUDetection

# The instructions of x86 processors that multiply matrices of a dtype, as `torch.cpu.get_capabilities` calls them.
INSTRUCTIONS = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}
SHARE_OF_MEMORY = 0.5  # of the machine's memory, the most that a widened LLM may take


def widen_llm(model: nn.Module) -> dict[nn.Parameter, torch.dtype]:
    """Make float32 of the LLM's weights that are emulated here; the weights that were changed, with their dtypes."""
    if not isinstance(model, AULLMForAUDetection):
        return {}
    weights = list(model.model.llm.parameters())
    if 4 * sum(weight.numel() for weight in weights) > SHARE_OF_MEMORY * psutil.virtual_memory().total:
        return {}
    found = {weight: weight.dtype for weight in weights if weight.device.type == "cpu" and is_emulated(weight.dtype)}
    for weight in found:
        weight.data = weight.data.float()
    return found


@contextmanager
def widened_llm(model: nn.Module, *, unless: bool = False) -> Iterator[None]:
    """Within, the weights that are emulated here are float32, and afterwards what they were.

    Args:
        model: the network.
        unless: leave them: with autocast nothing would be gained, and weights that are saved stay as they are.
    """
    widened = {} if unless else widen_llm(model)
    try:
        yield
    finally:
        for weight, dtype in widened.items():
            weight.data = weight.data.to(dtype)


def is_emulated(dtype: torch.dtype) -> bool:
    """Whether this processor is known to have no instructions for the products of matrices of this dtype."""
    if platform.machine().lower() not in ("x86_64", "amd64") or dtype not in INSTRUCTIONS:
        return False
    capabilities = torch.cpu.get_capabilities()
    return not any(capabilities.get(name) for name in INSTRUCTIONS[dtype])


__all__ = ["is_emulated", "widen_llm", "widened_llm"]
