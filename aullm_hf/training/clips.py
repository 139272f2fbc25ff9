"""All clips of a run in memory: the frames in one array, on the device that trains where there is room.

The frames are stored as bytes. What is done to a batch is done on the device: of a batch only the numbers that name
its draws are sent, and the host does not wait.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..data.labels import intensity_matrix, label_matrix

DEVICE_SHARE = 0.25  # of an accelerator's free memory, the most that the clips may take of it


@dataclass(frozen=True)
class Clips:
    """The frames of all clips in one array, and a table of the clips. Row i is clip i of the data set."""

    frames: np.ndarray  # (all frames, H, W) uint8, clip after clip
    starts: np.ndarray  # (n + 1,): clip i is frames[starts[i] : starts[i + 1]]
    labels: np.ndarray  # (n, n_AU) float32
    table: dict[str, list]  # clip_id, dataset, subject and aus of every clip
    intensities: np.ndarray | None = None  # (n, n_AU) float32, NaN where not known; None: of no use to the model

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


def clips_of(dataset, aus: Sequence[int], *, intensities: bool = False) -> Clips:
    """The clips of a `datasets.Dataset`, straight from its Arrow buffers; `aus` in the order of the labels."""
    column = dataset.select_columns("frames").with_format("arrow")[:]["frames"]
    frames, lengths = [], []
    for chunk in column.chunks:
        storage = getattr(chunk, "storage", chunk)  # per clip a list of frames, each H lists of W bytes
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
        intensities=intensity_matrix(dataset, aus) if intensities else None,
    )


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; the host does not wait for it to arrive."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()  # from pageable memory the host would wait
    return tensor.to(device, non_blocking=True)


def storage_device(clips: Clips, device: torch.device) -> torch.device:
    """Where to keep the frames for training on `device`: there, unless they take too much of its memory."""
    if device.type == "cpu":
        return device
    free, _ = torch.accelerator.get_memory_info(device)
    if clips.frames.nbytes <= DEVICE_SHARE * free:
        return device
    print(
        f"The clips are {clips.frames.nbytes / 2**20:.0f} MiB, more than {DEVICE_SHARE:.0%} of the {free / 2**20:.0f} "
        f"MiB that are free on {device}: they stay in the host's memory, and every batch is sent to the device."
    )
    return torch.device("cpu")


@dataclass(frozen=True)
class Resident:
    """The clips as tensors where batches are made of them, and the device that the batches are for."""

    frames: torch.Tensor  # (all frames, H, W) uint8; on the CPU the memory of the clips' own array
    starts: torch.Tensor  # (n,)
    lengths: torch.Tensor  # (n,)
    labels: torch.Tensor  # (n, n_AU) float32
    intensities: torch.Tensor | None  # the same, NaN where not known
    device: torch.device

    def targets(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """What of a batch the loss needs."""
        levels = {} if self.intensities is None else {"intensities": self.intensities[rows]}
        return {"labels": self.labels[rows], **levels}

    @classmethod
    def of(cls, clips: Clips, device: torch.device | str = "cpu") -> "Resident":
        device = torch.device(device)
        home = storage_device(clips, device)
        with warnings.catch_warnings():  # no code writes to the arrays
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            arrays = (clips.frames, clips.starts[:-1], clips.lengths, clips.labels, clips.intensities)
            held = (None if array is None else to_device(torch.from_numpy(array), home) for array in arrays)
            return cls(*held, device=device)
