"""The classification head, and what it reads of a clip: the LLM's last state, the clip's tokens, or both.

The papers' head reads the LLM's last state. A head that reads the tokens beside it starts as if there were no LLM, and
can only earn what the LLM adds: its weights on the state start at zero. Both are brought to a root mean square of one.
"""

import torch
from torch import nn

from .configuration_aullm import AULLMConfig


class Classifier(nn.Linear):
    """One linear layer, from what `head_reads` names to a logit per AU."""

    def __init__(self, config: AULLMConfig):
        super().__init__(config.head_input, config.num_labels)
        self.state_width = config.text_config.hidden_size if config.head_reads == "both" else 0

    @torch.no_grad()
    def silence_state(self) -> None:
        """Start without the LLM's state where the tokens are read beside it."""
        self.weight[:, : self.state_width] = 0


def head_features(state: torch.Tensor | None, tokens: torch.Tensor) -> torch.Tensor:
    """The LLM's last state (B, d), where there is one, and then the clip's tokens (B, slots, d): (B, all together)."""
    parts = [tokens] if state is None else [state[:, None], tokens]
    return torch.cat([nn.functional.rms_norm(part.float(), part.shape[-1:]) for part in parts], dim=1).flatten(1)


__all__ = ["Classifier", "head_features"]
