"""SCA: spatial and channel attention from second-order statistics (Li, Huang and Zhao, Neurocomputing 2021).

Input: the onset frame, the middle frame and their difference, as ResNet18's. From the paper's abstract: the statistics
of a map's positions with each other, and of its channels with each other, are its spatial and channel attention, so
that regions of the face support each other where clips are few. Ours, where it is silent: both stand after the second
stage of a ResNet18 (8 x 8 positions at 64 pixels), each is a softmax over the rows of a correlation matrix, and what
they gather is added with a learned weight that starts at zero, so that training begins with a plain ResNet18.
"""

import torch
from torch import nn

from .configuration_baseline import BaselineConfig
from .resnet import ResNet18


class SecondOrderAttention(nn.Module):
    """(B, C, H, W) -> the same: to each position, and to each channel, those that resemble it are added."""

    def __init__(self):
        super().__init__()
        self.spatial = nn.Parameter(torch.zeros(()))
        self.channel = nn.Parameter(torch.zeros(()))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        channels = maps.flatten(2)  # (B, C, HW)
        positions = channels.transpose(1, 2)  # (B, HW, C)
        by_position = (_attention(positions) @ positions).transpose(1, 2)  # (B, C, HW)
        by_channel = _attention(channels) @ channels  # (B, C, HW)
        return (channels + self.spatial * by_position + self.channel * by_channel).view_as(maps)


def _attention(rows: torch.Tensor) -> torch.Tensor:
    """(B, N, D) -> (B, N, N): softmax over the correlations of each row with the others."""
    centred = rows - rows.mean(dim=2, keepdim=True)
    normal = nn.functional.normalize(centred, dim=2)
    return (rows.shape[1] ** 0.5 * normal @ normal.transpose(1, 2)).softmax(dim=2)


class SCA(ResNet18):
    title = "SCA"

    def __init__(self, config: BaselineConfig):
        super().__init__(config)
        self.attention = SecondOrderAttention()

    def maps(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        hidden = self.backbone.embedder(self.pictures(pixel_values))
        maps = []
        for place, stage in enumerate(self.backbone.encoder.stages):
            hidden = stage(hidden)
            if place == 1:
                hidden = self.attention(hidden)
            maps.append(hidden)
        return tuple(maps)


__all__ = ["SCA", "SecondOrderAttention"]
