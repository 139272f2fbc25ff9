"""The order of an epoch's clips. It follows from (seed, fold, epoch) alone, so an interrupted run repeats it."""

import zlib
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
from torch.utils.data import Dataset, Sampler

Draw = tuple[int, int, int]  # a row of the clips, the epoch, how often the clip was drawn before in it


class DrawDataset(Dataset):
    """The Trainer's data set: it passes on what the sampler drew, for the collator to make a batch of."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, draw: Draw) -> Draw:
        return draw

    def __getitems__(self, draws: list[Draw]) -> list[Draw]:
        return draws


class ClipSampler(Sampler):
    """Yields (row, epoch, how often the row was drawn before in the epoch)."""

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
        """The rows of an epoch, in their order."""
        rng = np.random.default_rng([*self.key, epoch])
        if self.share is None:
            return self.rows[rng.permutation(len(self.rows))]
        return self.rows[rng.choice(len(self.rows), size=len(self.rows), p=self.share)]

    def __iter__(self) -> Iterator[Draw]:
        rows = self.order(self.epoch)
        return zip(rows.tolist(), repeat(self.epoch), _times_before(rows).tolist(), strict=False)


def _times_before(rows: np.ndarray) -> np.ndarray:
    """For each entry, how many earlier ones are equal to it."""
    order = np.argsort(rows, kind="stable")
    grouped = rows[order]
    before = np.empty(len(rows), dtype=np.int64)
    before[order] = np.arange(len(rows)) - np.searchsorted(grouped, grouped)  # place in the group of equal rows
    return before


def balanced_weights(labels: np.ndarray) -> np.ndarray:
    """Weights for drawing clips: the mean rarity of a clip's AUs; a clip without any counts like the commonest AU."""
    counts = np.maximum(labels.sum(axis=0), 1)
    rarity = counts.max() / counts  # (n_AU,)
    active = labels.sum(axis=1)
    return np.where(active > 0, labels @ rarity / np.maximum(active, 1), 1.0)
