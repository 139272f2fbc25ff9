"""Clips of every shape, type and content that bytes can describe, to the processor."""

import struct

import numpy as np
import torch

from aullm_hf.model import AULLMVideoProcessor
from support.refusals import outcome

DTYPES = ("u1", "i1", "<i4", ">i2", "<u8", "<f2", "<f4", ">f8", "?", "<c8", "S1", "O", "M8[s]")
SIZES = (1, 2, 3, 4, 5, 6, 7, 9, 16, 0)
PROCESSOR = AULLMVideoProcessor(size=16)


def seeds() -> list[bytes]:
    gray = bytes([0, 3, 7, 8, 8, 0, 0, 0]) + bytes(range(256)) * 2
    fractions = bytes([6, 3, 3, 4, 4, 0, 1, 0]) + struct.pack("<48f", *np.linspace(0, 1, 48))
    coloured = bytes([0, 4, 4, 5, 5, 3, 2, 1]) + bytes(range(200)) * 2
    return [gray, fractions, coloured]


def attempt(data: bytes) -> str:
    dtype, ndim, *dims, form, train = data[:8].ljust(8, b"\0")
    shape = tuple(SIZES[size % len(SIZES)] for size in dims[: ndim % 6])
    clip = _array(np.dtype(DTYPES[dtype % len(DTYPES)]), shape, data[8:])
    videos = [clip, [clip], list(clip) if clip.ndim else clip, [clip, clip[:1] if clip.ndim else clip],
              clip.tolist()][form % 5]  # fmt: skip
    if form & 8 and isinstance(videos, np.ndarray) and clip.dtype.kind in "uif" and clip.dtype.isnative:
        videos = torch.from_numpy(clip)

    def process() -> None:
        pixels = PROCESSOR(videos, train=bool(train & 1), return_tensors="np" if train & 2 else "pt")["pixel_values"]
        assert pixels.shape[1:] == (6, 1, 16, 16) and pixels.min() >= 0 and pixels.max() <= 1

    return outcome(process, "clip", "AULLMVideoProcessor", types=(ValueError, TypeError))


def _array(dtype: np.dtype, shape: tuple[int, ...], content: bytes) -> np.ndarray:
    count = int(np.prod(shape))
    if dtype.kind == "O":
        return np.array([None, *content, "x"][: max(count, 1)] * count, dtype=object)[:count].reshape(shape)
    needed = count * dtype.itemsize
    content = (content * (needed // max(len(content), 1) + 1) if content else bytes(needed))[:needed]
    return np.frombuffer(content, dtype=dtype).reshape(shape)
