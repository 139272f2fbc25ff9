"""DVASP: dual-view attentive similarity-preserving distillation (Li, Peng and Zhao, FG 2021).

Input: as ResNet18's. Known to us by its abstract: teachers learn from ordinary facial expressions in the wild, with
and without labels, by co-training two views; a student for micro-expressions then keeps the similarities of features
that attention has weighed. Ours, under that name: two ResNet18s, the views, are trained in the fold one after the
other, each from its own start and in its own order; then a ResNet18 learns from the labels and from both:

    F' = F x attention(F) for the last stage, G' = F' F'^T with rows of length one;
    L = L_ASL + w / B^2  mean over both views of || G'_view - G'_student ||_F^2.

Departures: no faces in the wild and no clips without labels are at hand, so the teachers see what the student sees
and nothing is co-trained; w = 3000 is SP's; attention is AT's (a map's squares summed over channels).
"""

import torch

from .at import attention
from .resnet import ResNet18
from .sp import similarities


class DVASP(ResNet18):
    title = "DVASP"
    teachers = ("resnet18", "resnet18")
    weight = 3000.0

    def imitation(self, own: tuple[torch.Tensor, ...], taught: list[tuple[torch.Tensor, ...]]) -> torch.Tensor:
        mine = similarities(attended(own[-1]))
        return sum((mine - similarities(attended(view[-1]))).square().mean() for view in taught) / len(taught)


def attended(maps: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W), each position weighed by its share of the attention."""
    return maps * attention(maps).view(len(maps), 1, *maps.shape[2:])


__all__ = ["DVASP", "attended"]
