"""Batches for a model that reads optical flow alone: the flow of every clip is computed once per run.

It costs more than a training step of the 3D-CNN that reads it (13 ms of a core per clip of six frames; a step 5 to
12), and is the same in every epoch where all frames of a clip are read. A mirrored clip's flow is the mirrored flow
with the other sign along x. Kept in half precision: 120 kB per clip of six frames of 64 x 64.
"""

import copy
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ..model import AULLMConfig
from ..model.flow import face_motion, strain
from .batches import Batches
from .clips import to_device
from .sampling import Draw
from .settings import TrainSettings
from .uniforms import uniforms

AT_ONCE = 32  # clips
BENDS = 5  # places along each side of a face that bend by themselves
WARP_DRAWS = 5 + 2 * BENDS**2


def reads_fixed_motion(config, training: TrainSettings, longest: int) -> bool:
    """Whether the model sees the same motion of a clip in every step, but for mirroring.

    Args:
        config: the model's configuration.
        training: the recipe's training section.
        longest: frames of the longest clip; up to one more than the model reads, none is drawn.
    """
    changed = training.augment_shift or training.augment_zoom or training.augment_brightness
    changed = changed or training.augment_animate  # a fold's own clips join those of the run
    is_flow = isinstance(config, AULLMConfig) and config.motion == "flow"
    return is_flow and not changed and longest <= config.num_frames + 1


class Motions:
    """The motion of all clips (n, T-1, 3, H, W), and batches of it.

    Args:
        batches: makes the frames, as a run without this would.
        smoothing: the configuration's `flow_smoothing`.
    """

    def __init__(self, batches: Batches, smoothing: float = 0.0):
        self.clips, self.key = batches.clips, (0, 0)
        self.flip, self.gain, self.turn, self.warp = 0.0, 1.0, 0.0, 0.0
        self.targets, rows = batches.resident.targets, range(len(batches.clips))
        for start in range(0, len(rows), AT_ONCE):
            frames = batches.whole(rows[start : start + AT_ONCE])["pixel_values"]  # (B, T, 1, H, W)
            motion = face_motion(frames.float(), smoothing)
            if not start:  # in place: parts that are put together at the end would be there twice
                self.motion = motion.new_empty(len(rows), *motion.shape[1:], dtype=torch.float16)
            self.motion[start : start + AT_ONCE] = motion

    def drawing(
        self, *, seed: int, fold: str, flip: float, gain: float = 1.0, turn: float = 0.0, warp: float = 0.0
    ) -> "Motions":
        """The same motion, with the draws of one training: mirrored, and as `warped` and `strengthen` change it."""
        drawing = copy.copy(self)
        drawing.key = (seed, zlib.crc32(fold.encode()))
        drawing.flip, drawing.gain, drawing.turn, drawing.warp = flip, gain, turn, warp
        return drawing

    def __call__(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        """A training batch."""
        names = np.empty((len(draws), 5), dtype=np.int64)  # as Batches: the same clips are mirrored
        names[:, :2], names[:, 2:] = self.key, np.asarray(draws)[:, [1, 0, 2]]
        batch = self.whole(names[:, 3])
        draw = uniforms(to_device(torch.from_numpy(names), self.motion.device), 16 + WARP_DRAWS * (self.warp > 0))
        motion, mirrored = batch["pixel_values"], draw[:, 1] < self.flip
        motion = torch.where(mirrored[:, None, None, None, None], mirror(motion), motion)
        if self.warp:
            motion = warped(motion, draw[:, 16:], self.warp)
        if self.gain > 1 or self.turn:
            motion = strengthen(motion, draw[:, 6:16], self.gain, self.turn)
        return batch | {"pixel_values": motion}

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """A batch to predict."""
        rows = to_device(torch.from_numpy(np.asarray(rows, dtype=np.int64)), self.motion.device)
        return {"pixel_values": self.motion[rows].float(), **self.targets(rows)}


def mirror(motion: torch.Tensor) -> torch.Tensor:
    """(.., 3, H, W): left and right change places, and what went right goes left."""
    return motion.flip(-1) * motion.new_tensor([-1.0, 1.0, 1.0])[:, None, None]


def warped(motion: torch.Tensor, draw: torch.Tensor, pixels: float) -> torch.Tensor:
    """The same motion in a face whose parts lie elsewhere. What moves, and how far, stays.

    Args:
        motion: (B, T-1, 3, H, W).
        draw: (B, WARP_DRAWS) uniform in [0, 1).
        pixels: how far a face is moved at most, along each side; as far its edges by stretching and by turning it, and
            half as far by bending it.
    """
    size = motion.shape[3:]
    share = (2 * draw - 1) * 2 * pixels / size[1]  # (B, WARP_DRAWS), in units of half a side
    (across, down), (angle, x, y) = (1 + share[:, :2]).unbind(dim=1), share[:, 2:5].unbind(dim=1)
    rows = [[across * angle.cos(), -angle.sin(), x], [angle.sin(), down * angle.cos(), y]]
    matrix = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (B, 2, 3)
    bend = functional.interpolate(
        share[:, 5:].unflatten(1, (2, BENDS, BENDS)) / 2, size=size, mode="bicubic", align_corners=True
    )
    where = functional.affine_grid(matrix, [len(motion), 1, *size], align_corners=False) + bend.permute(0, 2, 3, 1)
    maps = functional.grid_sample(motion.flatten(1, 2), where, padding_mode="border", align_corners=False)
    return maps.unflatten(1, motion.shape[1:3])


def strengthen(motion: torch.Tensor, draw: torch.Tensor, gain: float, turn: float) -> torch.Tensor:
    """Motion as of a clip that moves more, in front of a head that turns.

    Args:
        motion: (B, T-1, 3, H, W).
        draw: (B, 10) uniform in [0, 1).
        gain: the largest factor of a clip's motion; factors are log-uniform from 1 on.
        turn: the largest motion, in pixels, that a turning head leaves after its affine part was taken out: a field of
            second degree. Sizes are log-uniform from a fiftieth of it on, and a third of the clips has none.
    """
    later, height, width = motion.shape[1], *motion.shape[3:]
    flow = motion[:, :, :2] * gain ** draw[:, 0, None, None, None, None]
    y, x = torch.meshgrid(
        *(torch.linspace(-1, 1, side, device=flow.device) for side in (height, width)), indexing="ij"
    )
    terms = torch.stack([x.square() - 1 / 3, x * y, y.square() - 1 / 3])  # (3, H, W), none of them affine
    weights = (2 * draw[:, 1:7] - 1).view(-1, 2, 3)
    field = torch.einsum("bck,khw->bchw", weights, terms)  # (B, 2, H, W)
    field = field / field.square().sum(dim=1, keepdim=True).sqrt().amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
    size = turn * 50 ** (draw[:, 7] - 1) * (draw[:, 8] < 2 / 3)
    time = torch.arange(1, later + 1, device=flow.device) / later
    course = torch.sin(torch.pi * (0.3 + 1.2 * draw[:, 9, None]) * time)  # (B, T-1): on, or there and back
    flow = flow + (size[:, None] * course)[:, :, None, None, None] * field[:, None]
    return torch.cat([flow, strain(flow.flatten(0, 1)).unflatten(0, (-1, later))], dim=2)


__all__ = ["Motions", "mirror", "reads_fixed_motion", "strengthen", "warped"]
