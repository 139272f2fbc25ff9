"""The 3D-CNN of AU-LLM: a small 3D SSSNet with squeeze-and-excitation over its channels, step by step in time.

Its map with the channel attention, x_att, pooled, is F_mid, where the motion is; F_high is what that amounts to.
Every size follows from the configuration. Pooling and dropout are left to the model, which may fuse x_att first.

The first convolution and its pooling look at one frame at a time, so they run in two dimensions with time in the
batch, and with the channels last in memory: the same sums, for which CPUs have fast kernels, in bfloat16 too. The
second convolution, over pairs of frames, is quick as it is.
"""

import torch
from torch import nn
from torch.nn import functional

from .configuration_aullm import AULLMConfig


class SqueezeExcitation(nn.Module):
    """Channel attention (Hu et al., 2018), a vector of its own for each time step."""

    def __init__(self, channels: int, reduction: int):
        super().__init__()
        self.squeeze = nn.Linear(channels, max(channels // reduction, 1))
        self.excite = nn.Linear(max(channels // reduction, 1), channels)

    def forward(self, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pooled = maps.mean(dim=(3, 4)).transpose(1, 2)  # (B, C, T, H, W) -> (B, T, C)
        attention = self.excite(self.squeeze(pooled).relu()).sigmoid()  # (B, T, C)
        return maps * attention.transpose(1, 2)[..., None, None], attention


class MotionBackbone(nn.Module):
    """(B, channels, T-1, H, W) motion -> x_att (B, C, T-2, H", W"), the map with channel attention, and the attention
    (B, T-2, C). `pool2` makes F_mid (B, C, T', H', W') of it.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        low, mid = config.backbone_channels
        self.conv1 = nn.Conv3d(config.motion_channels, low, kernel_size=(1, 5, 5))
        self.pool1 = nn.MaxPool3d(kernel_size=(1, 3, 3), stride=(1, 3, 3))
        self.norm1 = nn.BatchNorm3d(low)
        self.drop1 = nn.Dropout3d(config.vision_dropout)
        self.conv2 = nn.Conv3d(low, mid, kernel_size=(2, 3, 3))
        self.norm2 = nn.BatchNorm3d(mid)
        self.attention = SqueezeExcitation(mid, config.se_reduction)
        self.pool2 = nn.MaxPool3d(kernel_size=(2, 2, 2))

    def forward(self, motion: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        low = self.drop1(self.norm1(self._each_frame(motion)))  # (B, 32, 5, 20, 20)
        mid = self.norm2(self.conv2(low).relu())  # (B, 64, 4, 18, 18)
        return self.attention(mid)  # (B, 64, 4, 18, 18), (B, 4, 64)

    def _each_frame(self, motion: torch.Tensor) -> torch.Tensor:
        """`pool1(conv1(motion).relu())`: rectified maxima are maxima of rectified values, for a ninth of the work."""
        frames = motion.transpose(1, 2).flatten(0, 1).to(memory_format=torch.channels_last)  # (B 5, channels, 64, 64)
        maps = functional.conv2d(frames, self.conv1.weight.squeeze(2), self.conv1.bias)  # (B 5, 32, 60, 60)
        maps = functional.max_pool2d(maps, self.pool1.kernel_size[1:]).relu()  # (B 5, 32, 20, 20)
        return maps.unflatten(0, (motion.shape[0], -1)).transpose(1, 2)  # laid out with its channels last as well


class HighLevelHead(nn.Module):
    """F_high: the flattened mid-level map through one layer."""

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.linear = nn.Linear(config.mid_features, config.high_dim)
        self.drop = nn.Dropout(config.vision_dropout)

    def forward(self, f_mid: torch.Tensor) -> torch.Tensor:
        return self.drop(self.linear(f_mid.flatten(1)).relu())  # (B, 256)


__all__ = ["HighLevelHead", "MotionBackbone", "SqueezeExcitation"]
