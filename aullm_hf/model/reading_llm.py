"""One call of the LLM for the rows that are read of it: the numbers of a plain call, less work.

Two things are spared. Of the last layer only some rows are read, and its MLP works row by row, so it sees those alone.
And torch's fused attention for CPUs works in blocks: over a short sequence its bfloat16 backward pass takes two to
three times as long as the plain one's, which is taken there.
"""

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

# Tokens of a sequence up to which plain attention is the faster one to train through, in bfloat16 on a CPU.
SHORT = 192


def read_llm(llm: nn.Module, inputs_embeds: torch.Tensor, rows: torch.Tensor, **inputs: Any) -> torch.Tensor:
    """The last hidden states (n, d) of `rows` (n): places in (sequences, length), counted through."""
    if torch.compiler.is_compiling():  # a compiler makes its own choices, and follows no other thread's
        out = llm(inputs_embeds=inputs_embeds, **inputs)
    else:
        with (
            only(rows) if len(rows) < inputs_embeds[..., 0].numel() and not is_checkpointed(llm) else nullcontext(),
            plain_attention() if trains_short(inputs_embeds) else nullcontext(),
        ):
            out = llm(inputs_embeds=inputs_embeds, **inputs)
    # A copy: a strided input to a bfloat16 layer is slow beyond belief on CPUs.
    hidden = out.last_hidden_state
    return hidden.flatten(0, 1)[rows.to(hidden.device)]


def is_checkpointed(llm: nn.Module) -> bool:
    """Whether layers run again in the backward pass, when nobody says any more which rows are read."""
    return any(getattr(part, "gradient_checkpointing", False) for part in llm.modules())


# -------------------------------------------------------------------- the last MLP

_read = threading.local()  # what this thread's call reads, while it runs


@contextmanager
def only(rows: torch.Tensor) -> Iterator[None]:
    """While it lasts, a spared MLP sees these rows alone; the others come out of it as zeros."""
    _read.rows = rows
    try:
        yield
    finally:
        del _read.rows


def spare_last_mlp(llm: nn.Module) -> None:
    """Have the last layer's MLP listen to `only`, where that is exact: it is given nothing but the rows (BLOOM's adds
    the residual itself), has no experts to spread them over, and no adapters, whose dropout may be told which rows
    there are."""
    lists = [part for part in llm.modules() if isinstance(part, nn.ModuleList) and len(part)]
    mlp = next((layers[-1].mlp for layers in lists if hasattr(layers[-1], "mlp")), None)
    if mlp is None or _take in mlp._forward_pre_hooks.values():
        return
    if len(inspect.signature(type(mlp).forward).parameters) != 2:  # itself, and the rows
        return
    if not any(isinstance(part, LoraLayer) or hasattr(part, "experts") for part in mlp.modules()):
        mlp.register_forward_pre_hook(_take)
        mlp.register_forward_hook(_put_back)


def _rows() -> torch.Tensor | None:
    return None if torch.compiler.is_compiling() else getattr(_read, "rows", None)


def _take(mlp: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor] | None:
    rows = _rows()
    if rows is None:
        return None
    _read.shape = inputs[0].shape  # (sequences, length, d)
    return (inputs[0].flatten(0, 1)[rows.to(inputs[0].device)][None],)


def _put_back(mlp: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor | None:
    rows = _rows()
    if rows is None:
        return None
    whole = output.new_zeros(_read.shape).flatten(0, 1)
    return whole.index_copy(0, rows.to(output.device), output[0]).view(_read.shape)


# -------------------------------------------------------------------- attention


def trains_short(inputs_embeds: torch.Tensor) -> bool:
    """Whether a backward pass through a short bfloat16 sequence on a CPU is to come."""
    if inputs_embeds.device.type != "cpu" or not torch.is_grad_enabled() or inputs_embeds.shape[1] > SHORT:
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs_embeds.dtype
    return dtype == torch.bfloat16


_switch = threading.Lock()
_inside: list[Any] = []  # the switch that is on, once for each thread that wants it


@contextmanager
def plain_attention() -> Iterator[None]:
    """torch's choice of attention is the process's: it is made by the first thread to come, undone by the last."""
    with _switch:
        if not _inside:
            chosen = sdpa_kernel(SDPBackend.MATH)
            chosen.__enter__()
        else:
            chosen = _inside[0]
        _inside.append(chosen)
    try:
        yield
    finally:
        with _switch:
            _inside.pop()
            if not _inside:
                chosen.__exit__(None, None, None)


__all__ = ["plain_attention", "read_llm", "spare_last_mlp"]
