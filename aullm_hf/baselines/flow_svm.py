"""Optical flow + SVM: where the face moved, and linear support vector machines.

Input: optical flow from the onset to the middle frame (OpenCV), as in SSSNet: the mean of u, v and strain in each of
8 x 8 blocks, 192 numbers. No published row of ours has it; it is here because simple flow beats learned filters in
the public leave-one-data-set-out benchmark, and a table without it would flatter the networks.
"""

import torch
from torch.nn.functional import adaptive_avg_pool2d

from .configuration_baseline import BaselineConfig
from .linear_svm import LinearSVM

BLOCKS = 8


class FlowSVM(LinearSVM):
    title = "optical flow + SVM"
    view = "flow"

    def __init__(self, config: BaselineConfig):
        super().__init__(3 * BLOCKS**2)

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return adaptive_avg_pool2d(pixel_values[:, 0], BLOCKS).flatten(1)  # (B, 192)


__all__ = ["FlowSVM"]
