"""What the live page sees in a camera's stream: the face, its AUs in the last second, and its expressions.

Frame after frame, in bounded memory: a second of pictures, some seconds of motion, a minute of expressions.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np

from ...data.errors import ClipError
from ...data.faces import alignment, import_cv2, resize_square, warp
from ...data.reading.images import check_image
from ...model.processing_aullm import evenly_spaced
from ..detecting import AUDetector
from ..reading.cropping import ReadClip
from ..spotting.intervals import Interval
from ..spotting.parts import TURNED_AWAY, FaceWatch, PartReader
from ..spotting.signals import Stretch
from ..spotting.stream import HORIZON, StreamSpotter

WINDOW = 1.0  # seconds that the AUs are those of
LEAST = 0.3  # seconds that a face has to be followed before its AUs are named
GAP = 1.5  # seconds without a frame after which what follows is looked at anew
STEP = 1 / 120  # seconds; frames nearer to each other are one
SIDE = 640  # pixels: larger pictures are reduced
MAX_SIDE = 2048  # pixels; larger ones are refused
FACE = 144  # pixels of the face that is shown
FOUND = "A face was found; its AUs are named as soon as it was followed for a moment."
TOO_SLOW = "Too few pictures a second are looked at for AUs to be named: the machine is too slow or too busy."
WORDS = {
    "": "There is no face in the picture. Look into the camera, in light from the front.",
    TURNED_AWAY: "The head is turned too far to one side. Look into the camera.",
}


@dataclass(frozen=True)
class LiveUpdate:
    """What is known once a frame was looked at."""

    time: float  # seconds, of the frame
    message: str  # what hinders, in words; empty where nothing does
    face: np.ndarray | None  # (FACE, FACE) uint8, aligned
    probabilities: list[float] | None  # of the AUs in the last second
    settled: list[Interval]  # expressions of the last minute
    unsettled: list[Interval]  # those of the last seconds, of which more may be known later


class LiveAnalysis:
    """One camera's stream. `add` takes frame after frame; a camera needs one of its own.

    Args:
        detector: the model, and how faces are cut out.
    """

    def __init__(self, detector: AUDetector):
        crop = detector.reader.crop
        self.detector, self.recipe = detector, crop.recipe
        finder = None if crop.recipe.face == "none" else crop.finder
        self.watch = FaceWatch(PartReader(finder, crop.recipe.min_score, fit=crop.recipe.fit), [])
        self.spotter = StreamSpotter()
        self.frames: deque[tuple[float, np.ndarray]] = deque()
        self.frames_seen, self.latest = 0, float("-inf")

    def add(self, time: float, gray: np.ndarray) -> LiveUpdate:
        """Look at one frame.

        Args:
            time: its seconds, at least STEP after those of the frame before.
            gray: (H, W) uint8.
        """
        if time < self.latest + STEP:
            raise ValueError(f"time is {time}; give at least {STEP:.4f} s more than the frame before, {self.latest}")
        pause = time - self.latest
        if pause > GAP or (self.frames and self.frames[-1][1].shape != gray.shape):
            self.watch.lose_all()
        self.watch.add(self.frames_seen, time, gray)
        self.watch.forget(time - HORIZON)
        self.frames_seen, self.latest = self.frames_seen + 1, time
        stretches = self._stretches()
        self.spotter.update(stretches, time)
        since = max(time - WINDOW - 1e-6, stretches[-1].times[0]) if self.watch.active else np.inf
        self.frames.append((time, gray))
        while self.frames and self.frames[0][0] < since:
            self.frames.popleft()
        followed = bool(self.frames) and time - self.frames[0][0] >= LEAST
        return LiveUpdate(
            time=time,
            message=self._message(followed, slow=LEAST < pause < float("inf")),
            face=self._crop(gray, FACE) if self.watch.active else None,
            probabilities=self._probabilities() if followed else None,
            settled=self.spotter.settled,
            unsettled=self.spotter.unsettled,
        )

    def _stretches(self) -> list[Stretch]:
        return self.watch.faces[0].stretches if 0 in self.watch.faces else []

    def _crop(self, gray: np.ndarray, size: int) -> np.ndarray:
        if self.watch.main is None:
            return resize_square(gray, size, self.recipe.fit)
        return warp(gray, alignment(self.watch.main.face.points, size), size)

    def _probabilities(self) -> list[float]:
        """Of the last second, cut out by one transform as in training: where the face was seen last."""
        sampled = evenly_spaced(self.detector.processor.num_frames, len(self.frames) - 1)
        crops = [self._crop(self.frames[int(index)][1], self.recipe.size) for index in sampled]
        return self.detector.probabilities([ReadClip("live", frames=np.stack(crops))])[0].tolist()

    def _message(self, followed: bool, slow: bool) -> str:
        if not self.watch.active:
            reason = next(reversed(self.watch.reasons.values()), "")
            return WORDS.get(reason, WORDS[""])
        count = 1 if self.watch.main is None else self.watch.main.count
        notes = [
            f"{count} faces are in the picture, which are too many: the largest is followed." * (count > 1),
            "" if followed else TOO_SLOW if slow else FOUND,
        ]
        return " ".join(filter(None, notes))


def decode_frame(picture: bytes) -> np.ndarray:
    """(H, W) uint8, at most SIDE pixels a side, of a JPEG picture; ClipError in words for what is none."""
    if not picture.startswith(b"\xff\xd8"):
        raise ClipError("the picture is no JPEG file")
    height, width = check_image(picture, "the picture")
    if max(height, width) > MAX_SIDE:
        raise ClipError(f"the picture has {width} x {height} pixels; at most {MAX_SIDE} a side are taken here")
    cv2 = import_cv2()
    try:
        gray = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise ClipError(f"the picture cannot be decoded ({error.err or error})") from error
    if gray is None:
        raise ClipError("the picture cannot be decoded; it is damaged")
    scale = SIDE / max(gray.shape)
    return gray if scale >= 1 else cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


__all__ = ["FACE", "STEP", "LiveAnalysis", "LiveUpdate", "decode_frame"]
