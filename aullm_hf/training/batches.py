"""All clips of a run in memory, and batches made of them at once: frames chosen, flipped, shifted, normalised.

Nothing here has a state. What is drawn for a clip follows from (seed, fold, epoch, clip, how often it came up before
in the epoch) alone, so a run that was interrupted, accumulates, or is spread over processes sees the very same draws.

The frames lie as bytes on the device that trains, and everything that is done to them is done there: of a batch only
the numbers that name its draws are sent, and the host waits for nothing.
"""

import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from ..baselines import BaselineVideoProcessor
from ..data.labels import label_matrix
from ..model.processing_aullm import AULLMVideoProcessor, evenly_spaced
from .uniforms import uniforms

DEVICE_SHARE = 0.25  # of an accelerator's free memory, the most that the clips may take of it
Draw = tuple[int, int, int]  # a row of the clips, the epoch, how often the clip came up before in it


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


def sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; the host does not wait for it to arrive."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()  # from pageable memory it would
    return tensor.to(device, non_blocking=True)


def home_of(clips: Clips, device: torch.device) -> torch.device:
    """Where the clips' frames are to lie for training on `device`: there, unless they take too much of its memory."""
    if device.type == "cpu":
        return device
    free, _ = torch.accelerator.get_memory_info(device)
    if clips.frames.nbytes <= DEVICE_SHARE * free:
        return device
    print(
        f"The clips are {clips.frames.nbytes / 2**20:.0f} MiB, more than {DEVICE_SHARE:.0%} of the {free / 2**20:.0f} "
        f"MiB that are free on {device}: they stay in the host's memory, and every batch is sent."
    )
    return torch.device("cpu")


@dataclass(frozen=True)
class Resident:
    """The clips as tensors where batches are made of them, and the device that the batches are for."""

    frames: torch.Tensor  # (all frames, H, W) uint8; on the CPU the memory of the clips' own array
    starts: torch.Tensor  # (n,)
    lengths: torch.Tensor  # (n,)
    labels: torch.Tensor  # (n, n_AU) float32
    device: torch.device

    @classmethod
    def of(cls, clips: Clips, device: torch.device | str = "cpu") -> "Resident":
        device = torch.device(device)
        home = home_of(clips, device)
        with warnings.catch_warnings():  # nobody writes to them
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            arrays = (clips.frames, clips.starts[:-1], clips.lengths, clips.labels)
            return cls(*(sent(torch.from_numpy(array), home) for array in arrays), device=device)


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a training clip; the same to all of its frames, so no motion comes of it."""

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

    `resident` is the clips where the run keeps them; without it they stay on the CPU.
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
        self.chosen = sent(chosen, self.resident.frames.device)  # (longest, T): frames up to `last`

    def __call__(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        """A training batch."""
        drawn_for = np.empty((len(draws), 5), dtype=np.int64)
        drawn_for[:, :2], drawn_for[:, 2:] = self.key, np.asarray(draws)[:, [1, 0, 2]]  # seed, fold, epoch, row, again
        words = self._sent(drawn_for)
        rows, drawn = words[:, 3], uniforms(words, 6)
        frames = self._frames(rows, self._last(rows, drawn[:, 0]))
        return self._finish(self.augmentation(frames, drawn[:, 1:]), rows)

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        """A batch to predict: frames spread over the whole clip, nothing drawn."""
        rows = self._sent(np.asarray(rows, dtype=np.int64))
        return self._finish(self._frames(rows, self.resident.lengths[rows] - 1), rows)

    def _sent(self, numbers: np.ndarray) -> torch.Tensor:
        return sent(torch.from_numpy(numbers), self.resident.frames.device)

    def _last(self, rows: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        """Where each sample ends; the rule is `sample_last_frame`'s, for a whole batch."""
        lengths, shortest = self.resident.lengths[rows], self.processor.num_frames
        end = lengths if self.processor.include_last else lengths - 1
        drawn = shortest + (uniform * (end - shortest)).long()
        return torch.where(lengths - 1 <= shortest, lengths - 1, drawn)

    def _frames(self, rows: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        index = self.resident.starts[rows][:, None] + self.chosen[last]  # (B, T)
        return self.processor.normalize_frames(self.resident.frames[index])  # (B, T, H, W)

    def _finish(self, frames: torch.Tensor, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        batch = {"pixel_values": frames[:, :, None].contiguous(), "labels": self.resident.labels[rows]}
        return {name: sent(tensor, self.resident.device) for name, tensor in batch.items()}


class Views:
    """Batches of what a baseline sees of each clip where nothing of it is drawn: made once a run, then resident."""

    def __init__(
        self,
        clips: Clips,
        processor: BaselineVideoProcessor,
        *,
        device: torch.device | str = "cpu",
        only_onset: bool = False,
    ):
        self.clips = clips
        begun, seen = time.perf_counter(), []
        for start, length in zip(clips.starts, clips.lengths, strict=False):
            chosen = processor.frame_indices(length - 1)
            seen.append(processor.view_of(clips.frames[start + (0 * chosen if only_onset else chosen)]))
        self.seconds_per_clip = (time.perf_counter() - begun) / len(seen)
        self.seen = sent(torch.stack(seen), torch.device(device))  # (n, ..)
        self.labels = sent(torch.from_numpy(clips.labels), self.seen.device)

    def __call__(self, draws: Sequence[Draw]) -> dict[str, torch.Tensor]:
        return self.whole(np.asarray(draws)[:, 0])

    def whole(self, rows: Sequence[int]) -> dict[str, torch.Tensor]:
        rows = sent(torch.from_numpy(np.asarray(rows, dtype=np.int64)), self.seen.device)
        return {"pixel_values": self.seen[rows], "labels": self.labels[rows]}


class Draws(Dataset):
    """What the Trainer takes for its data set: it hands on what the sampler drew, a batch at once."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    def __getitems__(self, draws: list[Draw]) -> list[Draw]:
        return draws


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

    def order(self, epoch: int) -> np.ndarray:
        """The rows of an epoch, as they come."""
        rng = np.random.default_rng([*self.key, epoch])
        if self.share is None:
            return self.rows[rng.permutation(len(self.rows))]
        return self.rows[rng.choice(len(self.rows), size=len(self.rows), p=self.share)]

    def __iter__(self) -> Iterator[Draw]:
        rows = self.order(self.epoch)
        return zip(rows.tolist(), repeat(self.epoch), _times_before(rows).tolist(), strict=False)


def _times_before(rows: np.ndarray) -> np.ndarray:
    """For each entry, how many before it are the same."""
    order = np.argsort(rows, kind="stable")
    grouped = rows[order]
    before = np.empty(len(rows), dtype=np.int64)
    before[order] = np.arange(len(rows)) - np.searchsorted(grouped, grouped)  # its place, less its group's first
    return before


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """How often to draw each clip: by the mean rarity of its AUs; a clip without any counts like the commonest AU."""
    counts = np.maximum(labels.sum(axis=0), 1)
    rarity = counts.max() / counts  # (n_AU,)
    shown = labels.sum(axis=1)
    return np.where(shown > 0, labels @ rarity / np.maximum(shown, 1), 1.0)
