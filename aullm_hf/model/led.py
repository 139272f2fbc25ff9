"""LED, the learnable temporal filter (Varanka et al., "Learnable Eulerian Dynamics for Micro-Expression Action Unit
Detection").

Each output frame is a weighted sum of the input frames up to it. The weights are `alpha` times the difference of two
one-pole low-pass filters with poles r1 and r2, so what does not change in time cancels, and dividing by the weighted
brightness removes the lighting. The published code learns the logarithms of all three scalars; here alpha is kept
positive through a logarithm and r1, r2 inside (0, 1) through a logit, where the filter is a filter.
"""

import math

import torch
from torch import nn
from torch.nn import init

from .configuration_aullm import AULLMConfig


class TemporalFilter(nn.Module):
    """(B, T, C, H, W) frames -> (B, T, C, H, W); frame 0 is the input's own, the others are normalised motion."""

    eps = 1e-8

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.num_frames = config.num_frames
        self.initial = (config.led_alpha, config.led_r1, config.led_r2)
        self.log_alpha = nn.Parameter(torch.zeros(()))
        self.logit_r1 = nn.Parameter(torch.zeros(()))
        self.logit_r2 = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        alpha, r1, r2 = self.initial
        init.constant_(self.log_alpha, math.log(alpha))
        init.constant_(self.logit_r1, math.log(r1 / (1 - r1)))
        init.constant_(self.logit_r2, math.log(r2 / (1 - r2)))

    def weights(self) -> torch.Tensor:
        """The upper-triangular filter matrix W, (T, T) in float64, with gradient to the three scalars."""
        alpha = self.log_alpha.double().exp()
        r1, r2 = self.logit_r1.double().sigmoid(), self.logit_r2.double().sigmoid()
        step = torch.arange(self.num_frames, device=alpha.device)
        lag = (step[None, :] - step[:, None]).clamp(min=0)  # (T, T): j - i

        def low_pass(r: torch.Tensor) -> torch.Tensor:
            # The first frame stands for everything before it, so it is not scaled by r.
            gain = torch.where(step > 0, r, torch.ones_like(r))[:, None]  # (T, 1): r ** min(1, i)
            return (1 - r) ** lag * gain

        # On the diagonal the formula is r1 - r2 for every frame, the first one too (where low_pass would cancel).
        off_diagonal = torch.triu(low_pass(r1) - low_pass(r2), diagonal=1)
        return alpha * (off_diagonal + (r1 - r2) * torch.eye(self.num_frames, dtype=r1.dtype, device=r1.device))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        # In bfloat16 a still clip would leave a motion of the size of a real one: always float32, autocast off.
        with torch.autocast(frames.device.type, enabled=False):
            frames = frames.float()
            weights = self.weights().float()  # (T, T)
            motion = torch.einsum("bi...,ij->bj...", frames, weights)
            brightness = torch.einsum("bi...,ij->bj...", frames.abs(), weights.abs())
            return torch.cat([frames[:, :1], (motion / (brightness + self.eps))[:, 1:]], dim=1)  # (B, T, C, H, W)


__all__ = ["TemporalFilter"]
