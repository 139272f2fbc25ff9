"""LED-SSSNet: the learnable temporal filter before a 3-D SSSNet (Varanka et al., Learnable Eulerian Dynamics).

Input: frames, filtered (T-1 maps of normalised motion). AU-LLM's backbone without its squeeze-and-excitation:
pooling comes before batch norm, dropout is 0.5, then 256 units and the head. The layers are the source's; training
settings are not known here.
"""

import torch
from torch import nn

from ..model.led import TemporalFilter
from .configuration_baseline import BaselineConfig


class LEDSSSNet(nn.Module):
    title = "LED-SSSNet"
    view = "frames"

    def __init__(self, config: BaselineConfig):
        super().__init__()
        low, mid = config.backbone_channels
        self.led = TemporalFilter(config)
        self.backbone = nn.Sequential(
            nn.Conv3d(1, low, kernel_size=(1, 5, 5)),
            nn.ReLU(),
            nn.MaxPool3d(kernel_size=(1, 3, 3)),
            nn.BatchNorm3d(low),
            nn.Dropout3d(config.dropout),  # (B, 32, 5, 20, 20)
            nn.Conv3d(low, mid, kernel_size=(2, 3, 3)),
            nn.ReLU(),
            nn.MaxPool3d(kernel_size=2),
            nn.BatchNorm3d(mid),
            nn.Dropout3d(config.dropout),  # (B, 64, 2, 9, 9)
        )
        side = ((config.image_size - 4) // 3 - 2) // 2
        self.high = nn.Linear(mid * ((config.num_frames - 2) // 2) * side**2, config.high_dim)
        self.drop = nn.Dropout(config.dropout)
        self.width = config.high_dim

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        motion = self.led(pixel_values)[:, 1:].transpose(1, 2)  # (B, 1, T-1, H, W)
        return self.drop(self.high(self.backbone(motion).flatten(1)).relu())  # (B, 256)


__all__ = ["LEDSSSNet"]
