"""`augment_animate`: further training clips, made of the onset frames of the very clips that a training is given.

What a training is given are its fold's training clips. No other frame is at hand here, so none of a test subject, nor
of a subject that is held out inside the fold, can be made into a clip.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..data.synthetic.animated_clips import animated_clips
from .clips import Clips


def animated_count(share: float, clips: int) -> int:
    """How many animated clips join so many training clips."""
    return round(share * clips)


def with_animated(
    clips: Clips, rows: Sequence[int], share: float, *, aus: Sequence[int], frames: int, seed: int, key: str,
    shuffled: bool = False,
) -> tuple[Clips, list[int]]:  # fmt: skip
    """The run's clips with animated ones behind them, and the rows to train on: those given, then the animated ones.

    Args:
        clips: the clips of the run.
        rows: of them, those to train on; their onset frames are animated.
        share: animated clips per training clip.
        aus: the AUs of the labels, in order.
        frames: of an animated clip.
        seed, key: of the training; all draws follow from them.
        shuffled: whether labels are permuted, as those of the clips are in a control.
    """
    rows = list(rows)
    stream = (seed, zlib.crc32(key.encode()), 0xA71)
    rng = np.random.default_rng(stream)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(int(np.ceil(share)) or 1)])
    sources = [rows[at] for at in order[: animated_count(share, len(rows))]]
    drawn, labels = animated_clips(clips.frames[clips.starts[sources]], aus, frames=frames, seed=stream)
    if shuffled:
        labels = rng.permutation(labels)
    ends = clips.starts[-1] + frames * np.arange(1, len(sources) + 1)
    active = [[au for au, on in zip(aus, row, strict=True) if on] for row in labels]
    table = {name: [*column, *(column[row] for row in sources)] for name, column in clips.table.items()}
    names = [f"{clips.table['clip_id'][row]}#animated{at}" for at, row in enumerate(sources)]
    table |= {"clip_id": [*clips.table["clip_id"], *names], "aus": [*clips.table["aus"], *active]}
    levels = clips.intensities
    if levels is not None:  # what an AU of a drawing does has no letter
        levels = np.concatenate([levels, np.where(labels > 0, np.nan, 0).astype(np.float32)])
    more = replace(
        clips,
        frames=np.concatenate([clips.frames, drawn.reshape(-1, *drawn.shape[2:])]),
        starts=np.concatenate([clips.starts, ends]),
        labels=np.concatenate([clips.labels, labels]),
        table=table,
        intensities=levels,
    )
    return more, [*rows, *range(len(clips), len(more))]
