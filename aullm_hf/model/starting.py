"""A fresh start that is the same on every device: an accelerator draws other numbers from a seed than the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def drawn_on_the_cpu(model: nn.Module) -> Iterator[None]:
    """While it lasts, what is trained lies on the CPU; what it is given there is then taken to where it was."""
    away = [
        (part, name, parameter)
        for part in model.modules()
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.requires_grad and parameter.device.type != "cpu"
    ]
    for part, name, parameter in away:
        part.register_parameter(name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype)))
    try:
        yield
        with torch.no_grad():
            for part, name, parameter in away:
                parameter.copy_(part.get_parameter(name))
    finally:
        for part, name, parameter in away:
            part.register_parameter(name, parameter)


__all__ = ["drawn_on_the_cpu"]
