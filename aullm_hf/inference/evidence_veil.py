"""Where a model has its evidence from, laid over the frames of a video as a veil that moves with the evidence."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..data.faces import import_cv2
from .pictures.clip_pictures import explain_clip
from .pictures.film_strip import HALF, on_frames
from .reading.cropping import ReadClip

if TYPE_CHECKING:
    from .detecting import AUDetector

VEIL, LINE = (230, 159, 0), (213, 94, 0)
OPACITY = 0.6


class EvidenceVeil:
    """The evidence of the active AUs of windows, each explained when it is first drawn.

    Args:
        detector: a model that explains.
        clips: the windows.
    """

    def __init__(self, detector: "AUDetector", clips: Sequence[ReadClip]):
        detector.check_explains()
        self.cv2 = import_cv2()
        self.detector, self.clips = detector, clips
        self._last: dict[int, tuple[int, np.ndarray | None]] = {}  # face -> its window that was drawn last

    def lay(self, picture: np.ndarray, number: int, time: float) -> None:
        """Lay the evidence of window `number` at a time (seconds) over a picture (H, W, 3), in place."""
        clip = self.clips[number]
        if clip.face_id not in self._last or self._last[clip.face_id][0] != number:
            self._last[clip.face_id] = number, self._strength(clip)
        strength = self._last[clip.face_id][1]
        if strength is None:
            return
        share = (time - clip.start) / max(clip.end - clip.start, 1e-9)
        at = int(np.clip(round(share * (len(strength) - 1)), 0, len(strength) - 1))
        height, width = picture.shape[:2]
        flags = self.cv2.INTER_LINEAR | self.cv2.WARP_INVERSE_MAP
        laid = self.cv2.warpAffine(strength[at], clip.matrix, (width, height), flags=flags)
        share = OPACITY * laid[..., None]
        picture[:] = np.rint(picture * (1 - share) + np.array(VEIL) * share).astype(np.uint8)
        outlines, _ = self.cv2.findContours(
            (laid >= HALF).astype(np.uint8), self.cv2.RETR_EXTERNAL, self.cv2.CHAIN_APPROX_NONE
        )
        self.cv2.drawContours(picture, outlines, -1, LINE, 1)

    def _strength(self, clip: ReadClip) -> np.ndarray | None:
        """(T, H, W) in 0..1 of the crop's pixels, at the frames the model read; None where no place stands out."""
        from ..model.explaining import pixel_map

        frames, explanation = explain_clip(self.detector, clip)
        size = clip.frames.shape[-1]
        maps = [pixel_map(one.cells.float().cpu(), size).numpy() for one in explanation.evidence if one.active]
        uneven = [on_frames(one, len(frames)) for one in maps if np.ptp(one) > 1e-6]
        return np.max(uneven, axis=0).astype(np.float32) if uneven else None


__all__ = ["EvidenceVeil"]
