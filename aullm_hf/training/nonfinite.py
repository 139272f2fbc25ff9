"""Non-finite losses and weights, detected without waiting for the device.

The latest loss is kept on its device, and the first one that is nan or infinite is not replaced. It is fetched when
the device is waited for anyway: when something is logged, before a checkpoint is written, at the end.
"""

import math
from collections.abc import Mapping

import torch

STATISTICS = ("running_mean", "running_var")  # of batch norm, which can be non-finite although no gradient is


class NotFinite(ArithmeticError):
    """A loss, a weight or a logit is nan or infinite.

    Args:
        message: what is.
        step: the training step, from 1.
        clips: the step's clips.
        terms: the step's loss, and the terms of the loss.
    """

    def __init__(
        self, message: str, *, step: int | None = None, clips: list[str] | None = None, terms: dict | None = None
    ):
        super().__init__(message)
        self.step, self.clips, self.terms = step, clips or [], terms or {}


class LossWatch:
    """Keeps the latest loss with its step and terms, or the first that is not finite."""

    def __init__(self):
        self.names: tuple[str, ...] = ()
        self.latest: torch.Tensor | None = None  # (2 + terms,): step, loss, terms

    def update(self, step: int, loss: torch.Tensor, parts: Mapping[str, torch.Tensor]) -> None:
        self.names = ("loss", *parts)
        number = torch.full((), step, dtype=torch.float32, device=loss.device)  # exact up to 16 million steps
        new = torch.stack([number, *(one.detach().float() for one in (loss, *parts.values()))])
        self.latest = new if self.latest is None else torch.where(self.latest.isfinite().all(), new, self.latest)

    def first_nonfinite(self, gather) -> tuple[int, dict[str, float]] | None:
        """(step, its loss and terms) of the first loss that was not finite, in any process."""
        if self.latest is None:
            return None
        for step, *values in gather(self.latest[None]).tolist():  # (processes, 2 + terms)
            if not all(map(math.isfinite, values)):
                return int(step), dict(zip(self.names, values, strict=True))
        return None


def nonfinite_weights(model: torch.nn.Module) -> list[str]:
    """Names of trained parameters and norm statistics with nan or infinite values; waits for the device."""
    tensors = {name: one for name, one in model.named_parameters() if one.requires_grad}
    tensors |= {name: one for name, one in model.named_buffers() if name.rpartition(".")[2] in STATISTICS}
    if not tensors:
        return []
    finite = torch.stack([one.detach().isfinite().all() for one in tensors.values()]).tolist()
    return [name for name, ok in zip(tensors, finite, strict=True) if not ok]
