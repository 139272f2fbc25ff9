"""MGE: x_att, the 3D-CNN's map with its channel attention, at several granularities; and what a prediction rests on.

As AULLM++'s authors draw it, four branches stand on x_att, two with kernels of a middle size, a global one and a
Laplacian; a harmonisation layer follows, a gate weighs the branches, and x_att itself goes into the sum. Kernels,
norm, gate and start are ours: a fresh block gives x_att back, so what it changes it has learned.

A cell is one position of F_mid in time and space. `pixel_map` says which pixels it covers.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional, init
from transformers.utils import ModelOutput

from .configuration_aullm import AULLMConfig

BRANCHES = ("3 x 3", "5 x 5", "global", "Laplacian")


@dataclass
class EvidenceOutput(ModelOutput):
    """What a prediction rests on, as far as the model has it. `pixel_map` lines maps up with the pixels.

    tokens (B, slots, d): the projector's, and before it the graph's.
    channel_attention (B, T-2, C): of the 3D-CNN, for each time step.
    mid_map (B, C, T', H', W'): F_mid.
    branch_weights (B, 4): MGE's gate over its branches (`BRANCHES`); sums to 1.
    branch_shares (B, 4, T', H', W'): each branch's share of the fused map, the rest is x_att's own. Not in training.
    au_attention (B, n_AU, T', H', W'): where each AU's node has its evidence from; sums to 1.
    relation_strengths (B, n_AU, n_AU, relations): of each node to the others; rows sum to 1.
    aux_logits (B, n_AU): of each node, after it has attended to the others.
    evidence_logits (B, n_AU): of each AU's own evidence alone.
    """

    tokens: torch.Tensor | None = None
    channel_attention: torch.Tensor | None = None
    mid_map: torch.Tensor | None = None
    branch_weights: torch.Tensor | None = None
    branch_shares: torch.Tensor | None = None
    au_attention: torch.Tensor | None = None
    relation_strengths: torch.Tensor | None = None
    aux_logits: torch.Tensor | None = None
    evidence_logits: torch.Tensor | None = None


class Harmonisation(nn.Sequential):
    """A norm over each frame, and a mix of its channels: what makes the branches comparable."""

    def __init__(self, channels: int):
        super().__init__(nn.GroupNorm(1, channels), nn.Conv2d(channels, channels, kernel_size=1))


class MultiGranularityEvidence(nn.Module):
    """x_att (B, C, T, H, W) -> x_fused of the same shape, the gate (B, 4) and the branches' shares (B, 4, T', H', W').

    Each branch looks at one frame of the map at a time, so time goes with the batch.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        channels = config.mid_shape[0]
        self.meso3 = nn.Conv2d(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False)
        self.meso5 = nn.Conv2d(channels, channels, kernel_size=5, padding=2, groups=channels, bias=False)
        self.gain = nn.Parameter(torch.ones(channels))  # of the Laplacian
        self.harmonise = nn.ModuleList(Harmonisation(channels) for _ in BRANCHES)
        self.gate = nn.Linear(len(BRANCHES) * channels, len(BRANCHES))
        self.scale = nn.Parameter(torch.zeros(channels))  # of all that is added to x_att

    def reset_parameters(self) -> None:
        init.ones_(self.gain)
        init.zeros_(self.scale)

    def forward(self, x_att: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        batch, steps = x_att.shape[0], x_att.shape[2]
        frames = x_att.transpose(1, 2).flatten(0, 1)  # (B T, C, H, W)
        frames = frames.contiguous(memory_format=torch.channels_last)  # depthwise kernels are quicker so on CPUs
        context = frames.mean(dim=(2, 3), keepdim=True)  # the same at every place
        looks = (self.meso3(frames), self.meso5(frames), context, laplacian(frames) * self.gain[:, None, None])
        maps = [part(look) for part, look in zip(self.harmonise, looks, strict=True)]
        sizes = [one.abs().mean(dim=(2, 3)).unflatten(0, (batch, steps)).mean(dim=1) for one in maps]  # each (B, C)
        weights = self.gate(torch.cat(sizes, dim=1)).softmax(dim=-1)  # (B, 4)
        scales = weights.repeat_interleave(steps, dim=0)[..., None] * self.scale  # (B T, 4, C)
        parts = [one * scales[:, k, :, None, None] for k, one in enumerate(maps)]
        fused = x_att + sum(parts).unflatten(0, (batch, steps)).transpose(1, 2)
        return fused, weights, None if self.training else _shares(frames, parts, batch)


@torch.no_grad()
def _shares(frames: torch.Tensor, parts: list[torch.Tensor], batch: int) -> torch.Tensor:
    """How much of x_fused comes from each branch (B, 4, T', H', W'), by the length of what is added over channels."""
    sizes = torch.stack([one.norm(dim=1).expand(frames[:, 0].shape) for one in (frames, *parts)], dim=1)
    shares = sizes[:, 1:] / sizes.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return functional.avg_pool3d(shares.unflatten(0, (batch, -1)).transpose(1, 2), 2)


def laplacian(frames: torch.Tensor) -> torch.Tensor:
    """(.., H, W) -> the sum of a value's four neighbours minus four times itself; the edge is repeated outside."""
    around = functional.pad(frames, (1, 1, 1, 1), mode="replicate")
    rows, columns = around[..., 1:-1], around[..., 1:-1, :]
    return rows[..., :-2, :] + rows[..., 2:, :] + columns[..., :-2] + columns[..., 2:] - 4 * frames


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


__all__ = ["BRANCHES", "EvidenceOutput", "MultiGranularityEvidence", "laplacian", "pixel_map", "typical"]
