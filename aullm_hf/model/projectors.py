"""From the backbone's features to the LLM's visual token: the Enhanced Fusion Projector and its ablations.

All of them make one token per clip, except `prompt`, whose learned tokens are the same for every clip: there the
classifier reads F_high itself. `mge`, of AULLM++, is our design under its name: only the abstract is known.
"""

import math

import torch
from torch import nn
from torch.nn import init

from .configuration_aullm import AULLMConfig
from .dropout import PairedDropout
from .evidence import EvidenceCells

ACTIVATIONS = {"none": nn.Identity, "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


class FusionProjector(nn.Module):
    """The token is an MLP of the concatenated features: both levels (EFP) or one of them (`high`, `mid`)."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        width_in, width_out = config.projector_input, config.text_config.hidden_size
        hidden = config.projector_hidden or (width_in + width_out) // 2
        self.layers = nn.Sequential(
            nn.Linear(width_in, hidden),
            nn.ReLU(),
            PairedDropout(config.projector_dropout),
            nn.Linear(hidden, width_out),
            ACTIVATIONS[config.projector_activation](),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layers(features)  # (B, features) -> (B, d)


class LinearProjector(nn.Module):
    """EFP-: one linear layer, to see what the non-linearity is worth."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.linear = nn.Linear(config.projector_input, config.text_config.hidden_size)
        self.activation = ACTIVATIONS[config.projector_activation]()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.activation(self.linear(features))  # (B, features) -> (B, d)


class PromptTokens(nn.Module):
    """Prompt learning: n tokens shared by every clip, so the LLM runs once per step."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(config.num_prompt_tokens, config.text_config.hidden_size))

    def reset_parameters(self) -> None:
        init.normal_(self.tokens, std=0.02)  # about the size of a text embedding

    def forward(self) -> torch.Tensor:
        return self.tokens  # (n, d)


class MultiGranularityProjector(nn.Module):
    """MGE-EFP: F_high attends to the evidence cells of all granularities, and an MLP fuses the result with it.

    A fraction of EFP's weights (a 38th at d = 1536): the same weights serve every cell of F_mid.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        width, out = config.evidence_width, config.text_config.hidden_size
        self.heads = config.evidence_heads
        self.cells = EvidenceCells(config, width, config.grids)
        self.query = nn.Linear(config.high_dim, width)
        self.key = nn.Linear(width, width, bias=False)  # it would cancel in the softmax
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        fused = config.high_dim + width
        hidden = config.projector_hidden or (fused + out) // 2
        self.fuse = nn.Sequential(
            nn.Linear(fused, hidden),
            nn.ReLU(),
            PairedDropout(config.projector_dropout),
            nn.Linear(hidden, out),
            ACTIVATIONS[config.projector_activation](),
        )

    def forward(self, f_mid: torch.Tensor, f_high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, C, T', H', W'), (B, high) -> the token (B, d) and the attention to the cells (B, T', H', W')."""
        contents, places = self.cells(f_mid)  # (B, N, w), (N, w)
        cells = contents + places
        batch, count, width = cells.shape
        size = width // self.heads
        query = self.query(f_high).view(batch, self.heads, 1, size)
        key = self.key(cells).view(batch, count, self.heads, size).permute(0, 2, 3, 1)
        value = self.value(cells).view(batch, count, self.heads, size).transpose(1, 2)
        attention = (query @ key / math.sqrt(size)).softmax(dim=-1)  # (B, heads, 1, N)
        attended = self.out((attention @ value).reshape(batch, width))
        on_cells = self.cells.on_finest(attention.mean(dim=1).squeeze(1))
        return self.fuse(torch.cat([f_high, attended], dim=1)), on_cells


PROJECTORS = {
    "efp": FusionProjector,
    "high": FusionProjector,
    "mid": FusionProjector,
    "linear": LinearProjector,
    "prompt": PromptTokens,
    "mge": MultiGranularityProjector,
}

__all__ = [
    "ACTIVATIONS",
    "PROJECTORS",
    "FusionProjector",
    "LinearProjector",
    "MultiGranularityProjector",
    "PromptTokens",
]
