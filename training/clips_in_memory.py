"""All clips of a run in memory, and batches made of them at once: frames chosen, flipped, shifted, normalised.

Nothing here has a state. What is drawn for a clip follows from (seed, fold, epoch, clip, how often it came up before
in the epoch) alone, so a run that was interrupted, accumulates, or is spread over processes sees the very same draws.
"""

import hashlib
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from aullm_hf.baselines import BaselineVideoProcessor
from aullm_hf.data.labels import label_matrix
from aullm_hf.model.processing_aullm import AULLMVideoProcessor, evenly_spaced


@dataclass(frozen=True)
class Clips:
    """The frames of all clips in one array, and what is known of each clip. Row i is clip i of the data set."""

    frames: np.ndarray  # (all frames, H, W) uint8, clip after clip
    starts: np.ndarray  # (n + 1,): clip i is frames[starts[i] : starts[i + 1]]
    labels: np.ndarray  # (n, n_AU) float32
    table: dict[str, list]  # clip_id, dataset, subject and aus of every clip

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)

    def fingerprint(self) -> str:
        """SHA-256 over every clip's name, labels and pixels."""
        digest = hashlib.sha256()
        for row in range(len(self)):
            name = [self.table[key][row] for key in ("dataset", "clip_id", "subject")]
            digest.update(repr((name, self.labels[row].tolist())).encode())
            digest.update(np.ascontiguousarray(self.frames[self.starts[row] : self.starts[row + 1]]))
        return digest.hexdigest()


def clips_of(dataset, aus: Sequence[int]) -> Clips:
    """Clips out of a `datasets.Dataset`, straight from its Arrow buffers."""
    column = dataset.select_columns("frames").with_format("arrow")[:]["frames"]
    frames, lengths = [], []
    for chunk in column.chunks:
        storage = getattr(chunk, "storage", chunk)  # list of (H lists of W bytes) a clip
        lengths.append(np.diff(storage.offsets.to_numpy()))
        rows = storage.flatten()
        pixels = rows.flatten().flatten().to_numpy()
        height = len(rows.flatten()) and int(np.diff(rows.offsets.to_numpy()[:2])[0])
        frames.append(pixels.reshape(len(rows), height, -1))
    table = {key: list(dataset[key]) for key in ("clip_id", "dataset", "subject", "aus")}
    starts = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return Clips(
        frames=frames[0] if len(frames) == 1 else np.concatenate(frames),
        starts=starts,
        labels=label_matrix(dataset, aus),
        table=table,
    )


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a training clip; the same to all of its frames, so no motion comes of it."""

    flip: float = 0.0
    shift: int = 0
    zoom: float = 0.0
    brightness: float = 0.0

    def __call__(self, frames: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        """frames (B, T, H, W) float, draws (B, 5) uniform in [0, 1)."""
        draw = torch.from_numpy(draws.astype(np.float32))
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
        theta = torch.zeros(len(frames), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = scale
        theta[:, 0, 2], theta[:, 1, 2] = 2 * pixels[:, 0] / width, 2 * pixels[:, 1] / height
        grid = functional.affine_grid(theta, [len(frames), 1, height, width], align_corners=False)
        return functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)


class Batches:
    """Rows of clips -> what the model takes: the collator of training, and the batches of prediction."""

    def __init__(
        self,
        clips: Clips,
        processor: AULLMVideoProcessor,
        *,
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
        self.key = (seed, zlib.crc32(fold.encode()))
        self.augmentation = augmentation or Augmentation()
        longest = int(clips.lengths.max())
        chosen = [evenly_spaced(processor.num_frames, last) for last in range(longest)]
        self.chosen = np.zeros_like(chosen) if only_onset else np.stack(chosen)  # (longest, T): frames up to `last`

    def __call__(self, draws: Sequence[tuple[int, int, int]]) -> dict[str, torch.Tensor]:
        """A training batch of (row, epoch, how often the clip came up before in the epoch)."""
        rows = np.array([row for row, _, _ in draws])
        drawn = [np.random.default_rng([*self.key, epoch, row, again]).random(6) for row, epoch, again in draws]
        drawn = np.stack(drawn)  # (B, 6) uniform
        frames = self._frames(rows, self._last(rows, drawn[:, 0]))
        return self._finish(self.augmentation(frames, drawn[:, 1:]), rows)

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """A batch to predict: frames spread over the whole clip, nothing drawn."""
        rows = np.asarray(rows)
        return self._finish(self._frames(rows, self.clips.lengths[rows] - 1), rows)

    def _last(self, rows: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Where each sample ends; the rule is `sample_last_frame`'s, for a whole batch."""
        lengths, shortest = self.clips.lengths[rows], self.processor.num_frames
        end = lengths if self.processor.include_last else lengths - 1
        drawn = shortest + np.floor(uniform * (end - shortest)).astype(np.int64)
        return np.where(lengths - 1 <= shortest, lengths - 1, drawn)

    def _frames(self, rows: np.ndarray, last: np.ndarray) -> torch.Tensor:
        index = self.clips.starts[rows][:, None] + self.chosen[last]  # (B, T)
        return self.processor.normalize_frames(torch.from_numpy(self.clips.frames[index]))  # (B, T, H, W)

    def _finish(self, frames: torch.Tensor, rows: np.ndarray) -> dict[str, torch.Tensor]:
        return {"pixel_values": frames[:, :, None].contiguous(), "labels": torch.from_numpy(self.clips.labels[rows])}


class Views:
    """Batches of what a baseline sees of each clip where nothing of it is drawn: made once a run, then resident."""

    def __init__(self, clips: Clips, processor: BaselineVideoProcessor, *, only_onset: bool = False):
        self.clips = clips
        begun, seen = time.perf_counter(), []
        for start, length in zip(clips.starts, clips.lengths, strict=False):
            chosen = processor.choose(length - 1)
            seen.append(processor.see(clips.frames[start + (0 * chosen if only_onset else chosen)]))
        self.seen = torch.stack(seen)  # (n, ..)
        self.seconds_a_clip = (time.perf_counter() - begun) / len(seen)

    def __call__(self, draws: Sequence[tuple[int, int, int]]) -> dict[str, torch.Tensor]:
        return self.whole([row for row, _, _ in draws])

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        rows = np.asarray(rows)
        return {"pixel_values": self.seen[rows], "labels": torch.from_numpy(self.clips.labels[rows])}


class Draws(Dataset):
    """What the Trainer takes for its data set: it hands on what the sampler drew."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, draw: tuple[int, int, int]) -> tuple[int, int, int]:
        return draw


class ClipSampler(Sampler):
    """The order of an epoch's clips, from (seed, fold, epoch) alone; yields (row, epoch, how often before)."""

    def __init__(self, rows: Sequence[int], *, seed: int, fold: str, weights: np.ndarray | None = None):
        self.rows = np.asarray(rows)
        self.key = (seed, zlib.crc32(fold.encode()))
        self.share = None if weights is None else weights / weights.sum()
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.rows)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        rng = np.random.default_rng([*self.key, self.epoch])
        if self.share is None:
            order = rng.permutation(len(self.rows))
        else:
            order = rng.choice(len(self.rows), size=len(self.rows), p=self.share)
        before: dict[int, int] = {}
        for row in self.rows[order].tolist():
            yield row, self.epoch, before.get(row, 0)
            before[row] = before.get(row, 0) + 1


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """How often to draw each clip: by the mean rarity of its AUs; a clip without any counts like the commonest AU."""
    counts = np.maximum(labels.sum(axis=0), 1)
    rarity = counts.max() / counts  # (n_AU,)
    shown = labels.sum(axis=1)
    return np.where(shown > 0, labels @ rarity / np.maximum(shown, 1), 1.0)
