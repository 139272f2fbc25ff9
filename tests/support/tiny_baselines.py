"""Baselines of the smallest sizes, and what they see of random clips."""

import numpy as np
import torch

from aullm_hf.baselines import BaselineConfig, BaselineForAUDetection, BaselineVideoProcessor

TINY = {
    "aus": [1, 4, 12],
    "image_size": 32,
    "backbone_channels": [4, 8],
    "high_dim": 16,
    "resnet_widths": [4, 8, 8, 8],
}


def tiny_baseline(name: str, seed: int = 0, **fields) -> BaselineForAUDetection:
    """In eval mode, its weights from `seed`."""
    model = BaselineForAUDetection(BaselineConfig(architecture=name, **{**TINY, **fields}))
    model.reset_trained(seed)
    return model.eval()


def random_clips(count: int = 5, size: int = 32, seed: int = 0) -> list[np.ndarray]:
    """Clips of 4 to 29 random frames."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (length, size, size), dtype=np.uint8) for length in rng.integers(4, 30, count)]


def seen(model: BaselineForAUDetection, count: int = 5, seed: int = 0) -> torch.Tensor:
    """pixel_values of random clips, in the model's own view."""
    processor = BaselineVideoProcessor.for_config(model.config, view=model.view)
    return processor(random_clips(count, model.config.image_size, seed))["pixel_values"]


def targets(count: int = 5, aus: int = 3) -> torch.Tensor:
    return torch.randint(0, 2, (count, aus), generator=torch.Generator().manual_seed(1)).float()
