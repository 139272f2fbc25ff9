"""From the backbone's features to the LLM's visual token: the Enhanced Fusion Projector and its ablations.

All of them make one token per clip, except `prompt`, whose learned tokens are the same for every clip: there the
classifier reads F_high itself.
"""

import torch
from torch import nn
from torch.nn import init

from .configuration_aullm import AULLMConfig

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
            nn.Dropout(config.projector_dropout),
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


PROJECTORS = {
    "efp": FusionProjector,
    "high": FusionProjector,
    "mid": FusionProjector,
    "linear": LinearProjector,
    "prompt": PromptTokens,
}

__all__ = [
    "ACTIVATIONS",
    "PROJECTORS",
    "FusionProjector",
    "LinearProjector",
    "PromptTokens",
]
