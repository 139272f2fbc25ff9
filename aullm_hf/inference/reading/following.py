"""The faces of a recording, found once and then followed from look to look, where they were a moment ago."""

import numpy as np

from ...data.faces import Face, FaceFinder
from .crop_settings import CropSettings
from .tracking import overlap

SEARCH_INTERVAL = 1.0  # seconds between two looks at the whole picture, for faces that came or that grew the largest
SAME_FACE = 0.3  # overlap of a box found anew with that of a face that was followed


class FaceFollower:
    """Looks at one frame after another; exact points are searched for anew only where a face is lost or another comes.

    Args:
        crop: says which faces are wanted, and with what they are found.
    """

    def __init__(self, crop: CropSettings):
        self.crop, self.finder = crop, crop.finder
        self.followed: list[Face] = []
        self.searched = -np.inf

    def faces(self, gray: np.ndarray, time: float) -> list[Face]:
        """The faces of the frame at this time, the main one first; `time` never falls."""
        again = [self.finder.find_again(gray, face) for face in self.followed]
        if not again or None in again or not self._are_those(again, gray, time):
            again, self.searched = self._search(gray), time
        self.followed = again
        return again

    def _are_those(self, faces: list[Face], gray: np.ndarray, time: float) -> bool:
        """Whether the followed faces are the ones that a search would find; looked at once in a while."""
        if time - self.searched < SEARCH_INTERVAL - 1e-6:
            return True
        boxes = [face.box for face in self.finder.find_boxes(gray, self.crop.recipe.min_score)]
        boxes = boxes if self.crop.all_faces else boxes[:1]
        self.searched = time
        pairs = zip(boxes, faces, strict=False)
        return len(boxes) == len(faces) and all(overlap(box, face.box) >= SAME_FACE for box, face in pairs)

    def _search(self, gray: np.ndarray) -> list[Face]:
        if self.crop.all_faces:
            return self.finder.find_all(gray, self.crop.recipe.min_score)
        face = self.finder.find(gray, self.crop.recipe.min_score)
        return [] if face is None else [face]


class MainFace:
    """The largest face of a stream at a quarter of what `FaceFinder.find` costs: found in a small look, and its exact
    points near where they were. Only where a small look shows none is the whole search made.

    Args:
        finder: with what faces are found.
    """

    def __init__(self, finder: FaceFinder):
        self.finder = finder
        self.face: Face | None = None
        self.count = 0  # faces in the picture that was looked at last

    def find(self, gray: np.ndarray, min_score: float) -> Face | None:
        """The largest face of a picture, or None."""
        seen = self.finder.find_large(gray, min_score)
        self.count = len(seen)
        if not seen:
            self.face = self.finder.find(gray, min_score)
            self.count = int(self.face is not None)
            return self.face
        known = self.face is not None and overlap(self.face.box, seen[0].box) >= SAME_FACE
        self.face = self.finder.find_again(gray, self.face if known else seen[0]) or seen[0]
        if not known:  # from points of one look it takes two steps
            self.face = self.finder.find_again(gray, self.face) or self.face
        return self.face


__all__ = ["FaceFollower", "MainFace"]
