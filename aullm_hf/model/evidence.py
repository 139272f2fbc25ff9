"""F_mid as evidence: how far each of its cells counts, and the cells as vectors with a learned position.

A cell is one position of F_mid in time and space. `pixel_map` says which pixels it covers.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional, init
from transformers.utils import ModelOutput

from .configuration_aullm import AULLMConfig

HALF_OPEN, SLOPE = math.log(2.0), 4.0  # a fresh gate is half open at twice the clip's noise
MEAN_MOMENTUM = 0.1  # of the running mean of F_mid, as batch norm's


@dataclass
class EvidenceOutput(ModelOutput):
    """What a prediction rests on, as far as the model has it. `pixel_map` lines maps up with the pixels.

    tokens (B, slots, d): the projector's, and before it the graph's.
    channel_attention (B, T-2, C): of the 3D-CNN, for each time step.
    mid_map (B, C, T', H', W'): F_mid as the gate left it.
    gates (B, T', H', W'): of F_mid's cells, in (0, 1).
    content_attention (B, T', H', W'): of the projector to the cells; sums to 1.
    au_attention (B, n_AU, T', H', W'): of each AU's node to the cells; sums to 1.
    relation_strengths (B, n_AU, n_AU, relations): of each node to the others; rows sum to 1.
    aux_logits (B, n_AU): of each node, after it has attended to the others.
    evidence_logits (B, n_AU): of each AU's own evidence alone.
    """

    tokens: torch.Tensor | None = None
    channel_attention: torch.Tensor | None = None
    mid_map: torch.Tensor | None = None
    gates: torch.Tensor | None = None
    content_attention: torch.Tensor | None = None
    au_attention: torch.Tensor | None = None
    relation_strengths: torch.Tensor | None = None
    aux_logits: torch.Tensor | None = None
    evidence_logits: torch.Tensor | None = None


class EvidenceGate(nn.Module):
    """How far each finest cell counts, in (0, 1): by how much it differs from the rest of its clip.

    What every cell of a clip holds alike, and the noise around it, is background: a cell's difference from the clip's
    typical cell (its median, channel by channel, with learned weights) is measured in units of the median difference.
    A gate that was free to use the cells in any way closed the strong ones: a small gate on a large value works too.

    It also keeps the running mean of F_mid, which stands for "another clip" where a batch of CCR has one only.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.mid_shape[0]))  # of each channel, through a softmax
        self.threshold = nn.Parameter(torch.zeros(()))  # the logarithm of the difference at which it is half open
        self.slope = nn.Parameter(torch.zeros(()))
        self.register_buffer("mean", torch.zeros(config.mid_shape))

    def reset_parameters(self) -> None:
        init.zeros_(self.weight)
        init.constant_(self.threshold, HALF_OPEN)
        init.constant_(self.slope, SLOPE)
        init.zeros_(self.mean)

    def forward(self, f_mid: torch.Tensor) -> torch.Tensor:
        cells = f_mid.float().flatten(2)  # (B, C, N)
        apart = cells - typical(cells)
        difference = (apart.square() * self.weight.softmax(dim=0)[:, None]).sum(dim=1).add(1e-8).sqrt()  # (B, N)
        gate = (self.slope * ((difference / typical(difference)).log() - self.threshold)).sigmoid()
        return gate.unflatten(1, f_mid.shape[2:])  # (B, T', H', W'), float32: rounded, the strongest would tie at 1

    def remember(self, f_mid: torch.Tensor) -> None:
        """Let the running mean follow these clips."""
        self.mean += MEAN_MOMENTUM * (f_mid.detach().mean(dim=0) - self.mean)


class EvidenceCells(nn.Module):
    """F_mid at several granularities, as evidence vectors: each cell's content, and its learned position."""

    def __init__(self, config: AULLMConfig, width: int, grids: list[int]):
        super().__init__()
        channels, self.time, self.side, _ = config.mid_shape
        self.grids = grids
        self.content = nn.Linear(channels, width, bias=False)  # without a bias a closed cell is zero
        self.place = nn.Parameter(torch.zeros(self.time * sum(grid**2 for grid in grids), width))

    def reset_parameters(self) -> None:
        init.normal_(self.place, std=0.5)

    def forward(self, f_mid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, T', H', W') -> contents (B, N, w) and places (N, w); N counts the cells of all granularities."""
        pooled = [
            functional.adaptive_avg_pool3d(f_mid, (self.time, grid, grid)).flatten(2)  # (B, C, T' grid^2)
            for grid in self.grids
        ]
        return self.content(torch.cat(pooled, dim=2).transpose(1, 2)), self.place

    def on_finest(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights of all cells (B, N) -> where they lie (B, T', H', W'): a coarse cell's is spread over its area."""
        every = torch.eye(self.side**2, dtype=weights.dtype, device=weights.device).view(-1, 1, self.side, self.side)
        total, start = 0, 0
        for grid in self.grids:
            count = self.time * grid**2
            share = functional.adaptive_avg_pool2d(every, grid).flatten(1)  # (cells, grid^2): columns sum to 1
            coarse = weights[:, start : start + count].unflatten(1, (self.time, grid**2))
            start += count
            total = total + (coarse @ share.T).unflatten(2, (self.side, self.side))
        return total


def typical(values: torch.Tensor) -> torch.Tensor:
    """The median over the last dimension (.., 1), by a sort: torch.median is not deterministic on GPUs."""
    return values.sort(dim=-1).values[..., (values.shape[-1] - 1) // 2, None]


def pixel_map(cells: torch.Tensor, image_size: int) -> torch.Tensor:
    """A map over F_mid's cells (.., H', W') as one over the input's pixels (.., H, W), lined up with them.

    Cell i of F_mid sees the pixels 6 i .. 6 i + 15 (kernel 5, pooling 3, kernel 3, pooling 2), so its centre is
    6 i + 7.5. Between centres the map is interpolated; beyond the outermost it goes on as it is there.
    """
    for dim in (-2, -1):
        count = cells.shape[dim]
        where = ((torch.arange(image_size, device=cells.device) - 7.5) / 6).clamp(0, count - 1)
        low = where.floor().long().clamp(max=max(count - 2, 0))
        high = (low + 1).clamp(max=count - 1)
        share = (where - low).to(cells.dtype)
        share = share[:, None] if dim == -2 else share
        cells = cells.index_select(dim, low) * (1 - share) + cells.index_select(dim, high) * share
    return cells


__all__ = ["EvidenceCells", "EvidenceGate", "EvidenceOutput", "pixel_map", "typical"]
