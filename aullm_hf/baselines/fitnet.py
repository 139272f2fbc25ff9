"""Fitnet: a student led by hints (Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, arXiv 1412.6550).

Input: as ResNet18's. A ResNet34 is trained in the fold first; then a ResNet18 learns from the labels and, through a
learned regressor, from the middle of its teacher:

    L = L_ASL + w/2 || r(student's second stage) - teacher's second stage ||^2,  averaged over clips and elements.

The source trains the hint first and the task afterwards, against softened targets as well. Here both losses are
minimised together and the labels alone are the targets: one training per student, as for the other three. w = 1 and
the layers are our choice; the published row states none.
"""

import torch
from torch import nn

from .configuration_baseline import BaselineConfig
from .resnet import ResNet18

HINTED = 1  # of the stages 0..3: the middle one, as the source advises


class Fitnet(ResNet18):
    title = "Fitnet"
    teachers = ("resnet34",)
    weight = 1.0

    def __init__(self, config: BaselineConfig):
        super().__init__(config)
        width = config.resnet_widths[HINTED]
        self.regressor = nn.Conv2d(width, width, kernel_size=1)

    def imitation(self, own: tuple[torch.Tensor, ...], taught: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
        return (self.regressor(own[HINTED]) - taught[0][HINTED]).square().mean() / 2


__all__ = ["Fitnet"]
