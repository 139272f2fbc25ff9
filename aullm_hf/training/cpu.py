"""What a CPU needs to train quickly: arithmetic that it has, and memory that it keeps.

A processor without instructions for bfloat16 or float16 emulates them, many times slower than float32, whose values
hold all of theirs: there the frozen LLM is widened while it trains. It predicts as its checkpoint will, in its dtype.
One that has them multiplies quickly, but torch's fused attention in these dtypes is made for long texts: on a prompt's
fifty tokens its steps one by one take half the time or less.
"""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import psutil
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..model import AULLMForAUDetection

# The instructions of x86 processors that multiply matrices of a dtype, as `torch.cpu.get_capabilities` calls them.
INSTRUCTIONS = {torch.bfloat16: ("avx512_bf16", "amx_bf16"), torch.float16: ("avx512_fp16", "amx_fp16")}
SHARE_OF_MEMORY = 0.5  # of the machine's memory, the most that a widened LLM may take
M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of glibc's mallopt


@contextmanager
def suited_llm(model: nn.Module, training) -> Iterator[None]:
    """Train within: the frozen weights that are emulated here are float32, and afterwards what they were; attention in
    bfloat16 or float16 is not fused.

    Args:
        model: the network.
        training: TrainingArguments. With autocast nothing would be gained by wider weights; those that are saved stay
            as they are.
    """
    autocast, widened, fused = training.bf16 or training.fp16, {}, True
    if isinstance(model, AULLMForAUDetection) and training.device.type == "cpu":
        llm = model.model.llm
        values = sum(weight.numel() for weight in llm.parameters())
        kept = autocast or model.config.save_base_weights
        if not kept and 4 * values <= SHARE_OF_MEMORY * psutil.virtual_memory().total:
            widened = {weight: weight.dtype for weight in llm.parameters() if is_emulated(weight.dtype)}
        fused = not autocast and (bool(widened) or llm.dtype not in INSTRUCTIONS)
    for weight in widened:
        weight.data = weight.data.float()
    try:
        with nullcontext() if fused else sdpa_kernel(SDPBackend.MATH):
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


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks: it would return those of every step to the system, which clears them each time."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
