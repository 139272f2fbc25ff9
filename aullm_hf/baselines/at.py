"""AT: a student that looks where its teacher looks (Zagoruyko and Komodakis, "Paying More Attention to Attention",
ICLR 2017, arXiv 1612.03928).

Input: as ResNet18's. A ResNet34 is trained in the fold first; then a ResNet18 learns from the labels, and its
teacher's attention: the sum over channels of a map's squares, flattened and divided by its norm, Q.

    L = L_ASL + w sum over the four stages of mean (Q_student - Q_teacher)^2,  w = 1000 as in the source's code.

Which networks the published row used is not stated.
"""

import torch
from torch.nn.functional import normalize

from .resnet import ResNet18


class AT(ResNet18):
    title = "AT"
    teachers = ("resnet34",)
    weight = 1000.0

    def imitation(self, own: tuple[torch.Tensor, ...], taught: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
        pairs = zip(own, taught[0], strict=True)
        return sum((attention(mine) - attention(theirs)).square().mean() for mine, theirs in pairs)


def attention(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, HW): where a map is strong, of length one."""
    return normalize(maps.square().sum(dim=1).flatten(1), dim=1)


__all__ = ["AT", "attention"]
