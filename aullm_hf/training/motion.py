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

from ..model import AULLMConfig
from ..model.flow import face_motion
from .batches import Batches
from .clips import to_device
from .sampling import Draw
from .settings import TrainSettings
from .uniforms import uniforms

AT_ONCE = 32  # clips


def reads_fixed_motion(config, training: TrainSettings, longest: int) -> bool:
    """Whether the model sees the same motion of a clip in every step, but for mirroring.

    Args:
        config: the model's configuration.
        training: the recipe's training section.
        longest: frames of the longest clip; up to one more than the model reads, none is drawn.
    """
    changed = training.augment_shift or training.augment_zoom or training.augment_brightness
    is_flow = isinstance(config, AULLMConfig) and config.motion == "flow"
    return is_flow and not changed and longest <= config.num_frames + 1


class Motions:
    """The motion of all clips (n, T-1, 3, H, W), and batches of it.

    Args:
        batches: makes the frames, as a run without this would.
    """

    def __init__(self, batches: Batches):
        self.clips, self.flip, self.key = batches.clips, 0.0, (0, 0)
        rows, motion = range(len(batches.clips)), []
        for start in range(0, len(rows), AT_ONCE):
            frames = batches.whole(rows[start : start + AT_ONCE])["pixel_values"]  # (B, T, 1, H, W)
            motion.append(face_motion(frames.float()).half())
        self.motion, self.labels = torch.cat(motion), batches.resident.labels

    def drawing(self, *, seed: int, fold: str, flip: float) -> "Motions":
        """The same motion, with the draws of one training."""
        drawing = copy.copy(self)
        drawing.key, drawing.flip = (seed, zlib.crc32(fold.encode())), flip
        return drawing

    def __call__(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        """A training batch."""
        names = np.empty((len(draws), 5), dtype=np.int64)  # as Batches: the same clips are mirrored
        names[:, :2], names[:, 2:] = self.key, np.asarray(draws)[:, [1, 0, 2]]
        batch = self.whole(names[:, 3])
        mirrored = uniforms(to_device(torch.from_numpy(names), self.motion.device), 6)[:, 1] < self.flip
        motion = batch["pixel_values"]
        batch["pixel_values"] = torch.where(mirrored[:, None, None, None, None], mirror(motion), motion)
        return batch

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """A batch to predict."""
        rows = to_device(torch.from_numpy(np.asarray(rows, dtype=np.int64)), self.motion.device)
        return {"pixel_values": self.motion[rows].float(), "labels": self.labels[rows]}


def mirror(motion: torch.Tensor) -> torch.Tensor:
    """(.., 3, H, W): left and right change places, and what went right goes left."""
    return motion.flip(-1) * motion.new_tensor([-1.0, 1.0, 1.0])[:, None, None]


__all__ = ["Motions", "mirror", "reads_fixed_motion"]
