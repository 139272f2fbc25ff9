"""Linear support vector machines on features of a clip, one per AU: what the two classical baselines share.

scikit-learn fits them; here they live as tensors (mean and scale of the features, weights and bias), so that a
checkpoint is a safetensors file like every other and nothing is unpickled. Their decision values are the logits.
"""

import numpy as np
import torch
from torch import nn

UNDECIDED = -1.0  # the decision for an AU that no training clip shows: at the margin of "absent"


class LinearSVM(nn.Module):
    """Standardised features; `fit` sets their mean and deviation and returns the head's weights."""

    def __init__(self, width: int):
        super().__init__()
        self.width = width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """(B, width): what the machines are fitted on."""
        raise NotImplementedError

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return (self.features(pixel_values) - self.mean) / self.deviation

    def fit(self, pixel_values: torch.Tensor, labels: np.ndarray, svm_c: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (n_AU, width) and biases (n_AU,) of machines fitted to labels (N, n_AU).

        Both classes have the same weight. An AU that no clip shows, or every clip, has no margin: its decision is the
        constant `UNDECIDED`, or the opposite.
        """
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        features = self.features(pixel_values).double().numpy()
        scaler = StandardScaler().fit(features)
        self.mean.copy_(torch.from_numpy(scaler.mean_))
        self.deviation.copy_(torch.from_numpy(scaler.scale_))  # 1 where a feature never changes
        features = scaler.transform(features)
        weights, biases = np.zeros((labels.shape[1], self.width)), np.full(labels.shape[1], UNDECIDED)
        for au, active in enumerate(labels.T.astype(bool)):
            if active.all():
                biases[au] = -UNDECIDED
            elif active.any():
                machine = SVC(kernel="linear", C=svm_c, class_weight="balanced").fit(features, active)
                weights[au], biases[au] = machine.coef_[0], machine.intercept_[0]
        return torch.from_numpy(weights).float(), torch.from_numpy(biases).float()


__all__ = ["UNDECIDED", "LinearSVM"]
