"""SP: a student that keeps its teacher's similarities (Tung and Mori, "Similarity-Preserving Knowledge Distillation",
ICCV 2019, arXiv 1907.09682).

Input: as ResNet18's. A ResNet34 is trained in the fold first; then a ResNet18 learns from the labels, and that clips
which its teacher finds alike are alike to it:

    G = F F^T over the batch, each row divided by its norm, F the flattened last stage;
    L = L_ASL + w / B^2 || G_teacher - G_student ||_F^2,  w = 3000 as in the source.

Which networks the published row used is not stated.
"""

import torch
from torch.nn.functional import normalize

from .resnet import ResNet18


class SP(ResNet18):
    title = "SP"
    teachers = ("resnet34",)
    weight = 3000.0

    def imitation(self, own: tuple[torch.Tensor, ...], taught: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
        return (similarities(own[-1]) - similarities(taught[0][-1])).square().mean()


def similarities(maps: torch.Tensor) -> torch.Tensor:
    """(B, ..) -> (B, B): how alike the clips of a batch are, rows of length one."""
    flat = maps.flatten(1)
    return normalize(flat @ flat.T, dim=1)


__all__ = ["SP", "similarities"]
