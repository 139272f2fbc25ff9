"""One source as the clips that the model sees: located, cropped and sampled, failures included."""

from dataclasses import dataclass

import numpy as np


@dataclass
class ReadClip:
    """A clip, a window of a longer one, or one face of several: what the model gets, or why it gets nothing."""

    source: str
    frames: np.ndarray | None = None  # (N, size, size) uint8, gray; None where `reason` says why
    clip: int = 0  # index of the window within the source
    face_id: int = 0
    start: float | None = None  # seconds; None where nothing says how fast the frames come
    end: float | None = None
    fps: float | None = None
    frames_read: int = 0
    face_found: bool | None = None  # None: nobody looked
    box: tuple[float, float, float, float] | None = None  # x, y, width, height in pixels of the frame
    reason: str = ""  # empty: fine
    warning: str = ""
    onset: np.ndarray | None = None  # the first frame, uncropped, RGB uint8; only with keep_onset
