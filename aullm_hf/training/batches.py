"""Batches of clips, made at once: frames chosen, flipped, shifted, normalised.

No object here has a state. What is drawn for a clip follows from (seed, fold, epoch, clip, how often it was drawn
before in the epoch) alone, so a run that was interrupted, accumulates, or is spread over processes has the same draws.
"""

import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..baselines import BaselineVideoProcessor
from ..model.processing_aullm import AULLMVideoProcessor, evenly_spaced
from .clips import Clips, Resident, to_device
from .sampling import Draw
from .uniforms import uniforms


@dataclass(frozen=True)
class Augmentation:
    """Changes of a training clip; the same for all of its frames, so that they add no motion."""

    flip: float = 0.0
    shift: int = 0
    zoom: float = 0.0
    brightness: float = 0.0

    def __call__(self, frames: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        """frames (B, T, H, W) float, draw (B, 5) uniform in [0, 1)."""
        if self.flip:
            mirrored = draw[:, 0] < self.flip
            frames = torch.where(mirrored[:, None, None, None], frames.flip(-1), frames)
        if self.shift or self.zoom:
            frames = self._move(frames, draw)
        if self.brightness:
            gain = 1 + self.brightness * (2 * draw[:, 4] - 1)
            frames = frames * gain[:, None, None, None]
        return frames

    def _move(self, frames: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        height, width = frames.shape[-2:]
        # Whole pixels: without a zoom nothing is interpolated, so nothing is blurred.
        pixels = (draw[:, 1:3] * (2 * self.shift + 1)).floor().clamp(max=2 * self.shift) - self.shift  # (B, 2)
        scale = 1 + self.zoom * (2 * draw[:, 3] - 1)
        theta = torch.zeros(len(frames), 2, 3, device=frames.device)
        theta[:, 0, 0] = theta[:, 1, 1] = scale
        theta[:, 0, 2], theta[:, 1, 2] = 2 * pixels[:, 0] / width, 2 * pixels[:, 1] / height
        grid = functional.affine_grid(theta, [len(frames), 1, height, width], align_corners=False)
        return functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)


class Batches:
    """Rows of clips -> what the model takes: the collator of training, and the batches of prediction.

    Args:
        clips: the clips of the run.
        processor: normalises frames, as it does at inference.
        resident: the clips where the run keeps them; None: on the CPU.
        seed, fold: what the draws follow from, beside epoch and clip.
        augmentation: changes of training clips.
        only_onset: the first frame stands for all of them, as a control.
    """

    def __init__(
        self,
        clips: Clips,
        processor: AULLMVideoProcessor,
        *,
        resident: Resident | None = None,
        seed: int = 0,
        fold: str = "",
        augmentation: Augmentation | None = None,
        only_onset: bool = False,
    ):
        size = clips.frames.shape[1:]
        if size != (processor.size, processor.size):
            raise ValueError(
                f"The clips' frames are {size[0]} x {size[1]}, the model reads {processor.size} x {processor.size}: "
                "set image_size to the size that the clips were loaded in."
            )
        self.clips, self.processor = clips, processor
        self.resident = Resident.of(clips) if resident is None else resident
        self.key = (seed, zlib.crc32(fold.encode()))
        self.augmentation = augmentation or Augmentation()
        longest = int(clips.lengths.max())
        chosen = [evenly_spaced(processor.num_frames, last) for last in range(longest)]
        chosen = torch.from_numpy(np.zeros_like(chosen) if only_onset else np.stack(chosen))
        self.chosen = to_device(chosen, self.resident.frames.device)  # (longest, T): frames up to `last`

    def __call__(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        """A training batch."""
        names = np.empty((len(draws), 5), dtype=np.int64)  # seed, fold, epoch, row, how often before
        names[:, :2], names[:, 2:] = self.key, np.asarray(draws)[:, [1, 0, 2]]
        names = self._to_device(names)
        rows, drawn = names[:, 3], uniforms(names, 6)
        frames = self._frames(rows, self._last(rows, drawn[:, 0]))
        return self._finish(self.augmentation(frames, drawn[:, 1:]), rows)

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """A batch to predict: frames spread over the whole clip, without draws."""
        rows = self._to_device(np.asarray(rows, dtype=np.int64))
        return self._finish(self._frames(rows, self.resident.lengths[rows] - 1), rows)

    def _to_device(self, numbers: np.ndarray) -> torch.Tensor:
        return to_device(torch.from_numpy(numbers), self.resident.frames.device)

    def _last(self, rows: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """The last frame of each sample; the rule of `sample_last_frame`, for a whole batch."""
        lengths, shortest = self.resident.lengths[rows], self.processor.num_frames
        end = lengths if self.processor.include_last else lengths - 1
        drawn = shortest + (uniform * (end - shortest)).long()
        return torch.where(lengths - 1 <= shortest, lengths - 1, drawn)

    def _frames(self, rows: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        index = self.resident.starts[rows][:, None] + self.chosen[last]  # (B, T)
        return self.processor.normalize_frames(self.resident.frames[index])  # (B, T, H, W)

    def _finish(self, frames: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        batch = {"pixel_values": frames[:, :, None].contiguous(), **self.resident.targets(rows)}
        return {name: to_device(tensor, self.resident.device) for name, tensor in batch.items()}


class Views:
    """Batches for baselines that see the same of a clip in every step: computed once per run, then resident."""

    def __init__(
        self,
        clips: Clips,
        processor: BaselineVideoProcessor,
        *,
        device: torch.device | str = "cpu",
        only_onset: bool = False,
    ):
        self.clips = clips
        begun, views = time.perf_counter(), []
        for start, length in zip(clips.starts, clips.lengths, strict=False):
            chosen = processor.frame_indices(length - 1)
            views.append(processor.view_of(clips.frames[start + (0 * chosen if only_onset else chosen)]))
        self.seconds_per_clip = (time.perf_counter() - begun) / len(views)
        self.views = to_device(torch.stack(views), torch.device(device))  # (n, ..)
        self.labels = to_device(torch.from_numpy(clips.labels), self.views.device)

    def __call__(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        return self.whole(np.asarray(draws)[:, 0])

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        rows = to_device(torch.from_numpy(np.asarray(rows, dtype=np.int64)), self.views.device)
        return {"pixel_values": self.views[rows], "labels": self.labels[rows]}
