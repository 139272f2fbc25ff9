"""Asymmetric loss for multi-label problems with few positives (Ridnik et al., 2021, https://arxiv.org/abs/2009.14119).

With p = sigmoid(z) and p_m = max(p - m, 0):

    L = - [ y (1 - p)^g+ log p + (1 - y) p_m^g- log(1 - p_m) ],  summed over AUs, averaged over clips.

The published AU-LLM code weights its negatives by (1 - p_m)^g-, which is not this formula; the formula is followed
here.
"""

import torch
from torch.nn.functional import logsigmoid

from .configuration_aullm import AULLMConfig


def _focus(base: torch.Tensor, exponent: float, with_gradient: bool) -> torch.Tensor | float:
    if exponent == 0:
        return 1.0
    return (base if with_gradient else base.detach()) ** exponent


def asymmetric_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    gamma_pos: float = 0.0,
    gamma_neg: float = 4.0,
    margin: float = 0.05,
    focus_gradient: bool = False,
) -> torch.Tensor:
    """Logits and 0/1 labels, both (B, n_AU) -> scalar, finite for any logit.

    Computed in float32 whatever the autocast (in float64 if the logits are).

    The focusing weights carry no gradient unless `focus_gradient`, as in the loss's original code. With both exponents
    and the margin 0 this is binary cross-entropy summed over AUs.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits if logits.dtype == torch.float64 else logits.float()
        labels = labels.to(logits.dtype)
        p, q = logits.sigmoid(), (-logits).sigmoid()  # q = 1 - p, without cancellation
        positive = _focus(q, gamma_pos, focus_gradient) * logsigmoid(logits)
        if margin > 0:
            p_m = (p - margin).clamp(min=0)
            # 1 - p_m = min(q + m, 1) is at least m, so its logarithm is finite.
            log_negative = (q + margin).clamp(max=1).log()
        else:
            p_m, log_negative = p, logsigmoid(-logits)
        negative = _focus(p_m, gamma_neg, focus_gradient) * log_negative
        return -(labels * positive + (1 - labels) * negative).sum(dim=-1).mean()


def configured_loss(config: AULLMConfig, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The asymmetric loss with the configuration's settings."""
    return asymmetric_loss(
        logits,
        labels,
        gamma_pos=config.loss_gamma_pos,
        gamma_neg=config.loss_gamma_neg,
        margin=config.loss_margin,
        focus_gradient=config.loss_focus_gradient,
    )


__all__ = ["asymmetric_loss", "configured_loss"]
