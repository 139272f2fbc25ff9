"""Dropout whose noise can be shared, so that two passes over one clip differ only by what was changed in it."""

import torch
from torch import nn
from torch.nn import functional


class PairedDropout(nn.Dropout):
    """`nn.Dropout`; where `owner` is set, row i of the input gets the noise of row owner[i].

    The leading dimensions of the input that `owner` has are its rows. It stays set until the next training pass sets
    it anew, because activation checkpointing runs the forward pass again during the backward one: with checkpointing,
    each forward pass must be followed by its own backward pass before the next, as in every usual training loop.
    """

    owner: torch.Tensor | None = None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if self.owner is None or not self.training or self.p == 0:
            return super().forward(values)
        rows = values.flatten(0, self.owner.ndim - 1)
        noise = functional.dropout(torch.ones_like(rows), self.p)
        return (rows * noise[self.owner.flatten().to(noise.device)]).view_as(values)


def share_noise(module: nn.Module, owner: torch.Tensor | None) -> None:
    """Set for every dropout of `module` from which row each row gets its noise (None: from itself)."""
    for part in module.modules():
        if isinstance(part, PairedDropout):
            part.owner = owner


__all__ = ["PairedDropout", "share_noise"]
