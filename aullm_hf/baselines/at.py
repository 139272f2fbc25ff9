"""AT: a student that looks where its teacher looks (Zagoruyko and Komodakis, "Paying More Attention to Attention",
ICLR 2017, arXiv 1612.03928).

Input: as ResNet18's. A ResNet34 is trained in the fold first; then a ResNet18 learns from the labels, and its
teacher's attention: the sum over channels of a map's squares, flattened and divided by its norm, Q.

    L = L_ASL + sum over the four stages of w / N || Q_student - Q_teacher ||^2,  averaged over clips.

Both networks, w = 1000 and the number N of positions in a stage's map are those of the source's ResNets at 224 pixels.
At 64 pixels a map has a twelfth as many or fewer: divided by those, the term was so heavy that the labels stayed
unlearned (F1 of 59 % on easy synthetic clips, where always saying yes has 50 %). What the published row used is not
stated.
"""

import torch
from torch.nn.functional import normalize

from .resnet import ResNet18

POSITIONS = (56**2, 28**2, 14**2, 7**2)  # of the source's maps


class AT(ResNet18):
    title = "AT"
    teachers = ("resnet34",)
    weight = 1000.0

    def imitation(self, own: tuple[torch.Tensor, ...], taught: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
        terms = zip(own, taught[0], POSITIONS, strict=True)
        return sum(
            (attention(mine) - attention(theirs)).square().sum(dim=1).mean() / positions
            for mine, theirs, positions in terms
        )


def attention(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, HW): where a map is strong, of length one."""
    return normalize(maps.square().sum(dim=1).flatten(1), dim=1)


__all__ = ["AT", "attention"]
