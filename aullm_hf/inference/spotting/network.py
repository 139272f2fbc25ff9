"""The network that tells expressions from blinks, talk and turns of the head: 1-D convolutions over five seconds.

It reads the motion of a face's regions at 50 steps per second and says 25 times per second how likely the middle of an
expression is here, and how long before and after its onset and offset are. Its weights come with the package; they
were fitted on synthetic recordings (`training/fit_spotter.py`).
"""

from functools import lru_cache
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from .region_motion import CHANNELS, N_REGIONS

WEIGHTS = Path(__file__).with_name("spotter.safetensors")
WIDTH, KERNEL, DILATIONS = 40, 5, (1, 2, 4, 8, 16)
STRIDE = 2  # steps of the signal per step of what is said
BASELINE = 101  # steps over which the mean is taken out: two seconds
CONTEXT = 180  # steps before and after a moment that what is said of it depends on, rounded up
SCALES = (
    0.15,
    0.02,
    0.3,
    0.03,
)  # at which motion (pixels), tone, pose and light begin to be compressed
OUTPUTS = 4  # middle, seconds since the onset, seconds to the offset (logarithms), share of it at which the apex is


class Block(nn.Module):
    """A residual step: along time by channel, then across channels."""

    def __init__(self, dilation: int):
        super().__init__()
        self.along = nn.Conv1d(
            WIDTH, WIDTH, KERNEL, padding=dilation * (KERNEL // 2), dilation=dilation, groups=WIDTH,
            padding_mode="replicate",
        )  # fmt: skip
        self.norm = nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Conv1d(WIDTH, 2 * WIDTH, 1), nn.Conv1d(2 * WIDTH, WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.along(x).transpose(1, 2)).transpose(1, 2)
        return x + self.down(functional.gelu(self.up(y)))


class Spotter(nn.Module):
    """(B, T, CHANNELS) motion -> (B, ceil(T / 2), 4)."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (2 * N_REGIONS, N_REGIONS, 4, 1)
        scales = torch.cat([torch.full((size,), scale) for size, scale in zip(sizes, SCALES, strict=True)])
        self.register_buffer("scales", scales)
        self.stem = nn.Conv1d(CHANNELS, WIDTH, KERNEL, stride=STRIDE)
        self.blocks = nn.Sequential(*(Block(dilation) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, OUTPUTS)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([-4.0, -1.5, -1.5, 0.0]))

    def forward(self, motion: torch.Tensor) -> torch.Tensor:
        x = motion.transpose(1, 2)
        half = BASELINE // 2
        x = x - functional.avg_pool1d(functional.pad(x, (half, half), mode="replicate"), BASELINE, stride=1)
        x = (x / self.scales[:, None]).asinh()
        x = self.stem(functional.pad(x, (KERNEL // 2, KERNEL // 2), mode="replicate"))
        x = self.blocks(x).transpose(1, 2)
        return self.head(self.norm(x))


@lru_cache(maxsize=1)
def load_spotter() -> Spotter:
    """The network with the package's weights."""
    spotter = Spotter()
    spotter.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    return spotter.eval()


__all__ = ["CONTEXT", "STRIDE", "WEIGHTS", "Spotter", "load_spotter"]
