"""ResNet18 and ResNet34 (He et al., 2016) on transformers' own ResNet, trained from scratch.

Input: the onset frame, the middle frame and their difference as the three channels. That the published rows used
these networks is known, what they were shown is not: onset and middle frame are our choice, and so is the difference,
which the first convolution could form by itself and from a hundred clips does not.
"""

import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from .configuration_baseline import BaselineConfig


class ResNet18(nn.Module):
    title = "ResNet18"
    view = "pair"
    depths = (2, 2, 2, 2)

    def __init__(self, config: BaselineConfig):
        super().__init__()
        self.scale = nn.BatchNorm2d(3, affine=False)  # frames and their difference differ a hundredfold
        self.backbone = resnet(config, self.depths, channels=3)
        self.width = config.resnet_widths[-1]

    def pictures(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, 2, 1, H, W) -> (B, 3, H, W)."""
        onset, middle = pixel_values[:, 0], pixel_values[:, 1]
        return self.scale(torch.cat([onset, middle, middle - onset], dim=1))

    def maps(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The four stages' outputs, (B, C, H', W') each: what a student compares with its teacher's."""
        return self.backbone(self.pictures(pixel_values), output_hidden_states=True).hidden_states[1:]

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return pooled(self.maps(pixel_values))  # (B, 512)


class ResNet34(ResNet18):
    title = "ResNet34"
    depths = (3, 4, 6, 3)


def resnet(config: BaselineConfig, depths: tuple[int, ...], channels: int) -> ResNetModel:
    """transformers' ResNet with basic blocks and the configuration's widths."""
    widths = list(config.resnet_widths)
    return ResNetModel(
        ResNetConfig(
            num_channels=channels,
            embedding_size=widths[0],
            hidden_sizes=widths,
            depths=list(depths),
            layer_type="basic",
        )
    )


def pooled(maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The mean of the last stage's map, (B, C)."""
    return maps[-1].mean(dim=(2, 3))


__all__ = ["ResNet18", "ResNet34", "pooled", "resnet"]
