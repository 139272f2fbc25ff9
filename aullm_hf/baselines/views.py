"""What each baseline is shown of a clip: frames, a pair of frames, the optical flow between them, or its texture.

    frames    (T, 1, H, W)    T frames spread over the clip, as AU-LLM reads them
    pair      (2, 1, H, W)    the onset and the middle frame
    flow      (1, 3, H, W)    from the onset to the middle frame: u, v in pixels, and the optical strain
    lbp-top   (features,)     histograms of local binary patterns on three orthogonal planes

The sources take the apex frame. The middle one stands in for it: a clip at inference has no apex, SMIC has none, and
in the public tables it lies near the middle.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch

from ..model.processing_aullm import AULLMVideoProcessor, evenly_spaced, read_frames, square, to_gray

PADDING = 16  # pixels around a frame, for its flow
LBP_FRAMES = 10  # the usual normalisation in time; nearest frames in place of interpolated ones
LBP_BLOCKS = 8  # blocks along each side of the face
LBP_PATTERNS = 59  # uniform patterns of 8 neighbours, and one for the rest


def optical_flow(onset: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """(H, W) uint8 twice -> (3, H, W) float32: u, v (OpenCV's Farneback, in pixels) and the optical strain.

    Farneback's smooth field follows motion below a pixel; OpenCV's DIS flow, which matches patches, left half of it.
    A frame's last row and column move where nothing does (by up to 0.3 pixels), so both frames are padded before.
    """
    cv2 = _needed("cv2")
    padded = [cv2.copyMakeBorder(frame, *[PADDING] * 4, cv2.BORDER_REPLICATE) for frame in (onset, middle)]
    flow = cv2.calcOpticalFlowFarneback(
        *padded, None, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2, flags=0
    )[PADDING:-PADDING, PADDING:-PADDING]
    u, v = flow[..., 0], flow[..., 1]
    (u_y, u_x), (v_y, v_x) = np.gradient(u), np.gradient(v)
    strain = np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)  # Frobenius norm of the strain tensor
    return np.stack([u, v, strain]).astype(np.float32)


def lbp_top(frames: np.ndarray) -> np.ndarray:
    """(T, H, W) uint8 -> (3 planes x blocks x 59,) float32: LBP-TOP (Zhao and Pietikainen, 2007), radius 1.

    Every block of the face has a histogram over its own pixels and all times, for each plane; they add up to one.
    """
    local_binary_pattern = _needed("skimage.feature").local_binary_pattern

    def planes(axis: int) -> np.ndarray:
        slices = [local_binary_pattern(part, P=8, R=1, method="nri_uniform") for part in np.moveaxis(frames, axis, 0)]
        return np.moveaxis(np.stack(slices), 0, axis).astype(np.int64)  # (T, H, W)

    edges = [np.linspace(0, side, LBP_BLOCKS + 1).astype(int) for side in frames.shape[1:]]
    histograms = []
    for codes in (planes(0), planes(1), planes(2)):  # xy at every time, xt at every y, yt at every x
        codes = codes[1:-1]  # the first and the last frame lack a neighbour in time
        for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
            for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
                block = codes[:, top:bottom, left:right].ravel()
                histograms.append(np.bincount(block, minlength=LBP_PATTERNS) / len(block))
    return np.concatenate(histograms).astype(np.float32)


def lbp_top_size() -> int:
    """How many numbers `lbp_top` makes of a clip."""
    return 3 * LBP_BLOCKS**2 * LBP_PATTERNS


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f'this baseline needs {module}: pip install "aullm-hf[baselines]"') from error


def _onset_and_middle(last: int) -> np.ndarray:
    return evenly_spaced(3, last)[:2]


# view -> which frames of a clip whose last frame is `last`
FRAME_INDICES: dict[str, Callable[[int], np.ndarray]] = {
    "pair": _onset_and_middle,
    "flow": _onset_and_middle,
    "lbp-top": lambda last: evenly_spaced(LBP_FRAMES, last),
}
VIEWS = ("frames", *FRAME_INDICES)


class BaselineVideoProcessor(AULLMVideoProcessor):
    """Clips -> `pixel_values` in a baseline's view of them. `view` is one of VIEWS; the rest is AULLMVideoProcessor's.

    Views other than "frames" are the same in training and after it: nothing is drawn.
    """

    _auto_class = None  # AULLM's own is copied into checkpoints; this one needs the package

    def __init__(self, view: str = "frames", **settings: Any):
        if view not in VIEWS:
            raise ValueError(
                f"BaselineVideoProcessor.view is {view!r}; allowed: {', '.join(repr(one) for one in VIEWS)}."
            )
        super().__init__(**settings)
        self.view = view

    def frame_indices(self, last: int) -> np.ndarray:
        """Indices of the frames that the view is made of."""
        return evenly_spaced(self.num_frames, last) if self.view == "frames" else FRAME_INDICES[self.view](last)

    def view_of(self, frames: np.ndarray) -> torch.Tensor:
        """The chosen frames (K, size, size) uint8 -> one clip's part of `pixel_values`."""
        if self.view == "flow":
            return torch.from_numpy(optical_flow(*frames))[None]  # (1, 3, H, W)
        if self.view == "lbp-top":
            return torch.from_numpy(lbp_top(frames))  # (F,)
        return self.normalize_frames(torch.from_numpy(frames))[:, None]  # (K, 1, H, W)

    def _clip(
        self, clip: Any, index: int, num_frames: int, train: bool, generator: torch.Generator | None
    ) -> torch.Tensor:
        if self.view == "frames":
            return super()._clip(clip, index, num_frames, train, generator)
        frames = read_frames(clip, f"clip {index}")
        gray = [to_gray(frames[i], f"clip {index}, frame {i}") for i in self.frame_indices(len(frames) - 1)]
        return self.view_of(square(np.stack(gray), self.size))

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"view": self.view}


__all__ = ["VIEWS", "BaselineVideoProcessor", "lbp_top", "lbp_top_size", "optical_flow"]
