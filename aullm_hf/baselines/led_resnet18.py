"""LED-ResNet18: the learnable temporal filter before a ResNet18 (Varanka et al., Learnable Eulerian Dynamics).

Input: frames, filtered. That the filter stood before a ResNet18 is known; how the filtered frames entered it is not
known here: they are the channels of a 2-D ResNet18, which is trained from scratch.
"""

import torch
from torch import nn

from ..model.led import TemporalFilter
from .configuration_baseline import BaselineConfig
from .resnet import ResNet18, resnet


class LEDResNet18(nn.Module):
    title = "LED-ResNet18"
    view = "frames"

    def __init__(self, config: BaselineConfig):
        super().__init__()
        self.led = TemporalFilter(config)
        self.backbone = resnet(config, ResNet18.depths, channels=config.num_frames - 1)
        self.width = config.resnet_widths[-1]

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        motion = self.led(pixel_values)[:, 1:, 0]  # (B, T-1, H, W)
        return self.backbone(motion).pooler_output.flatten(1)  # (B, 512)


__all__ = ["LEDResNet18"]
