"""How strong an AU is, 0 (absent) or 1 to 5 (A to E of FACS), as an ordinal output beside its logit.

Proportional odds (McCullagh, 1980), one score for all levels as in CORAL (https://arxiv.org/abs/1901.07884):

    P(level >= k) = sigmoid(s - c_k),  c_1 < c_2 < .. < c_5,     E(level) = P(level >= 1) + .. + P(level >= 5)

The score s is linear in what the detection head reads. c_1 is 0, since s has a bias, and each further cut point lies
above the one before it whatever is learned.
"""

import torch
from torch import nn
from torch.nn import functional

from .arguments import check_dense, check_within
from .configuration_aullm import AULLMConfig
from .head import Classifier

STRONGEST = 5  # E


class IntensityHead(nn.Module):
    """What the classifier reads (B, features) -> the logits of `level >= k`, (B, n_AU, 5), falling with k."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.score = Classifier(config)
        self.gaps = nn.Parameter(torch.empty(config.num_labels, STRONGEST - 1))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """The cut points; the score is a classifier, which starts as one."""
        self.gaps.zero_()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        score = self.score(features.to(self.score.weight.dtype))  # (B, n_AU)
        cuts = functional.pad(functional.softplus(self.gaps).cumsum(dim=1), (1, 0))  # (n_AU, 5), from 0 up
        return score[..., None] - cuts


def expected_level(cumulative: torch.Tensor) -> torch.Tensor:
    """The logits of `level >= k` (B, n_AU, 5) -> the expected level (B, n_AU), 0 to 5."""
    return cumulative.float().sigmoid().sum(dim=-1)


def intensity_loss(cumulative: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of `level >= k` over the AUs of clips whose level is known; 0 where none is.

    Computed in float32 whatever the autocast (in float64 if the logits are).

    Args:
        cumulative: the logits of `level >= k`, (B, n_AU, 5).
        levels: (B, n_AU), 0 to 5; NaN: not known. 1.5 (A/B) is half of `level >= 2`.
    """
    with torch.autocast(cumulative.device.type, enabled=False):
        cumulative = cumulative if cumulative.dtype == torch.float64 else cumulative.float()
        known = ~levels.isnan()
        below = torch.arange(STRONGEST, device=levels.device)
        targets = (levels.nan_to_num()[..., None] - below).clamp(0, 1).to(cumulative.dtype)  # (B, n_AU, 5)
        each = functional.binary_cross_entropy_with_logits(cumulative, targets, reduction="none")
        return (each * known[..., None]).sum() / (STRONGEST * known.sum()).clamp(min=1)


def check_intensities(
    config: AULLMConfig, intensities: torch.Tensor | None, labels: torch.Tensor | None, *, training: bool
) -> None:
    """Refuse intensities that the model has no output for, or that are no levels; in training, their absence too."""
    if intensities is None:
        if config.intensity and training and labels is not None:
            raise ValueError(
                "intensities is None, but the model has an output for them (config.intensity) that would not be "
                "trained: give (clips, AUs) from 0 to 5, NaN where not known."
            )
        return
    if not config.intensity or labels is None:
        missing = "no labels beside them" if config.intensity else "no output for them (config.intensity is False)"
        raise ValueError(f"intensities were given, but there is {missing}.")
    check_dense("intensities", intensities, "a tensor (clips, AUs)")
    if intensities.shape != labels.shape:
        raise ValueError(
            f"intensities has shape {tuple(intensities.shape)}, labels {tuple(labels.shape)}: one for each label."
        )
    check_within("intensities", intensities.nan_to_num(), 0, STRONGEST, "0 (absent) to 5 (E), or NaN where not known")


__all__ = ["STRONGEST", "IntensityHead", "check_intensities", "expected_level", "intensity_loss"]
