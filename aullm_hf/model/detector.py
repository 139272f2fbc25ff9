"""What every AU detector does with its logits: AU-LLM's and the baselines'."""

import torch
from torch import nn

from .arguments import check_dense, check_within
from .losses import configured_loss


class AUDetectorMixin:
    """Loss, calibrated probabilities and trained parameters of a model whose configuration is an AUDetectorConfig."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The asymmetric loss with the configuration's settings, of logits and labels (B, n_AU)."""
        names = self.config.labels
        for name, given in (("logits", logits), ("labels", labels)):
            check_dense(name, given, f"a tensor (clips, {len(names)})")
        if labels.shape != logits.shape:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)}, the logits {tuple(logits.shape)}: one row per clip, one "
                f"column for each of {', '.join(names)}."
            )
        check_within("labels", labels, 0, 1, "0 where an AU is absent and 1 where it is active")
        return configured_loss(self.config, logits, labels)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities (B, n_AU): sigmoid(a z + b) with the configuration's (a, b) per AU."""
        names = self.config.labels
        check_dense("logits", logits, "a tensor (clips, AUs)")
        if logits.ndim == 0 or logits.shape[-1] != len(names):
            raise ValueError(
                f"logits has shape {tuple(logits.shape)}; expected (clips, {len(names)}): one column for each of "
                f"{', '.join(names)}."
            )
        pairs = torch.tensor([self.config.calibration[name] for name in names], device=logits.device)
        return (logits.float() * pairs[:, 0] + pairs[:, 1]).sigmoid()

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What the optimizer updates, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}


__all__ = ["AUDetectorMixin"]
