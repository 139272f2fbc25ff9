"""SSSNet, the shallow single-stream network (Varanka, Peng and Zhao, 2021), on optical flow.

Input: 3 x 64 x 64 optical flow (u, v, strain) from the onset to the middle frame. The layers and their sizes are the
source's: 5x5 convolution, pooling by 3, batch norm; 3x3 convolution, pooling by 2, batch norm; 256 units; dropout
0.5 after each. The source computes the flow by another method, to the apex frame, and stretches each clip's to 0..1;
ours is in pixels, divided by a batch norm without weights, so that strong and weak motion stay apart.
"""

import torch
from torch import nn

from .configuration_baseline import BaselineConfig


class SSSNet(nn.Module):
    title = "SSSNet on optical flow"
    view = "flow"

    def __init__(self, config: BaselineConfig):
        super().__init__()
        low, mid = config.backbone_channels
        self.scale = nn.BatchNorm2d(3, affine=False)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, low, kernel_size=5),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=3),
            nn.BatchNorm2d(low),
            nn.Dropout2d(config.dropout),  # (B, 32, 20, 20)
            nn.Conv2d(low, mid, kernel_size=3),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2),
            nn.BatchNorm2d(mid),
            nn.Dropout2d(config.dropout),  # (B, 64, 9, 9)
        )
        side = ((config.image_size - 4) // 3 - 2) // 2
        self.high = nn.Linear(mid * side**2, config.high_dim)
        self.drop = nn.Dropout(config.dropout)
        self.width = config.high_dim

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        flow = self.scale(pixel_values[:, 0])  # (B, 3, H, W)
        return self.drop(self.high(self.backbone(flow).flatten(1)).relu())  # (B, 256)


__all__ = ["SSSNet"]
