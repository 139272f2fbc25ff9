"""LBP-TOP + SVM: texture on three orthogonal planes (Zhao and Pietikainen, 2007) and support vector machines.

Input: 10 frames, their local binary patterns (scikit-image) as histograms over 8 x 8 blocks (views.py). The published
row's radii, blocks and machine are not stated: radius 1, 8 neighbours, uniform patterns, a linear machine per AU
(scikit-learn) are ours.
"""

import torch

from .configuration_baseline import BaselineConfig
from .linear_svm import LinearSVM
from .views import lbp_top_size


class LBPTOPSVM(LinearSVM):
    title = "LBP-TOP + SVM"
    view = "lbp-top"

    def __init__(self, config: BaselineConfig):
        super().__init__(lbp_top_size())

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return pixel_values


__all__ = ["LBPTOPSVM"]
