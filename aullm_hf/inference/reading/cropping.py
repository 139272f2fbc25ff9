"""A window of frames as crops of its faces: where the face is, which transform takes it to the template, what failed.

As in training, the face is found in the first frame that shows one, and one similarity transform serves all frames;
for long recordings the crop can follow the face instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...data.faces import Face, FaceRecipe, alignment, resize_square, to_gray, warp
from ...data.reading.records import MIN_FRAMES
from ...model.processing_aullm import evenly_spaced
from .crop_settings import CropSettings
from .tracking import FaceTracker, Track, tracks_between
from .windows import Window


@dataclass
class ReadClip:
    """A clip, a window of a longer one, or one face of several: what the model gets, or why it gets nothing."""

    source: str
    frames: np.ndarray | None = None  # (N, size, size) uint8 gray crops, those the model samples; None with a reason
    clip: int = 0  # index of the window within the source
    face_id: int = 0
    onset: int | None = None  # first and last frame number, as the caller asked for them
    offset: int | None = None
    start: float | None = None  # seconds, of the first and the last frame; None where nothing says how fast they come
    end: float | None = None
    fps: float | None = None
    frames_read: int = 0  # frames from start to end
    face_found: bool | None = None  # None: no face was looked for
    box: tuple[float, ...] | None = None  # x, y, width, height in pixels of the frame
    matrix: np.ndarray | None = None  # (2, 3): pixels of its first frame -> pixels of the crops
    reason: str = ""  # empty: it was read
    warning: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)  # what else the caller's table says of it


class FrameFaces:
    """One frame and its faces, which are looked for once, and only if asked for."""

    def __init__(self, crop: CropSettings, frame: np.ndarray, tracker: FaceTracker, time: float):
        self.crop, self.tracker, self.time = crop, tracker, time
        self.gray = to_gray(frame)
        self._faces: list[tuple[Face, int]] | None = None

    def faces(self) -> list[tuple[Face, int]]:
        """Each face with its number."""
        if self._faces is None:
            finder, min_score = self.crop.finder, self.crop.recipe.min_score
            if self.crop.all_faces:
                faces = finder.find_all(self.gray, min_score)
            else:
                faces = [face] if (face := finder.find(self.gray, min_score)) is not None else []
            tracks = self.tracker.assign(faces, self.time)
            self._faces = [(face, track.face_id) for face, track in zip(faces, tracks, strict=True)]
        return self._faces

    @property
    def searched(self) -> bool:
        return self._faces is not None

    def number(self) -> None:
        """Have the tracker see this frame's faces, of which no crop is made: their boxes are enough."""
        self.tracker.assign(self.crop.finder.find_boxes(self.gray, self.crop.recipe.min_score), self.time)


class FixedFace:
    """A face that one transform serves: where it was found."""

    def __init__(self, face: Face, face_id: int, size: int):
        self.face_id, self.box = face_id, face.box
        self.matrix = alignment(face.points, size)

    def transform(self, index: int, size: int) -> np.ndarray:
        return self.matrix

    def box_at(self, index: int) -> tuple[float, ...]:
        return self.box


class FollowedFace:
    """A face that the crop moves with."""

    def __init__(self, track: Track, clock: np.ndarray):
        self.track, self.clock, self.face_id = track, clock, track.face_id

    def transform(self, index: int, size: int) -> np.ndarray:
        return alignment(self.track.at(float(self.clock[index]))[1], size)

    def box_at(self, index: int) -> tuple[float, ...]:
        return self.track.at(float(self.clock[index]))[0]


class WindowCropper:
    """One window while it is read: which frames it still needs, and the crops it has."""

    def __init__(self, crop: CropSettings, window: Window, clip: ReadClip):
        self.crop, self.window = crop, window
        self.clip = replace(
            clip, clip=window.number, start=window.start, end=window.end, frames_read=max(window.length, 0)
        )
        self.reason = ""
        self.shape: tuple[int, ...] | None = None
        self.faces: list | None = None  # None until one is found; [None]: the frame is taken whole
        self.crops: list[list[np.ndarray]] = []  # per face
        self.pending: list[tuple[int, np.ndarray]] = []  # sampled frames that came before the face was found
        sampled = evenly_spaced(crop.num_frames, max(window.length - 1, 0))
        self.sampled = {window.first + int(index) for index in sampled}
        if window.length < MIN_FRAMES:
            between = "" if window.start is None else f" between {window.start:.3f} and {window.end:.3f} s"
            self.fail("one frame shows no motion" if window.length == 1 else f"there is no frame{between}")
        elif crop.recipe.face == "none":
            self.set_faces([None])
        if not self.reason and window.length < crop.num_frames:
            self.note(f"has {window.length} frames where the model samples {crop.num_frames}: some are repeated")

    def note(self, warning: str) -> None:
        self.clip.warning = "; ".join(filter(None, (self.clip.warning, warning)))

    def fail(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.pending.clear()

    def set_faces(self, faces: list) -> None:
        if not faces:
            return self.fail(self._no_face(self.window.length))
        self.faces, self.crops = faces, [[] for _ in faces]
        pending, self.pending = self.pending, []
        for index, gray in pending:
            self._crop(index, gray)
        return None

    def follow(self, tracker: FaceTracker, clock: np.ndarray) -> None:
        """Take the faces that were seen along the recording."""
        if not self.reason:
            first, last = float(clock[self.window.first]), float(clock[self.window.last])
            tracks = tracks_between(tracker.tracks, first, last)
            self.set_faces([FollowedFace(track, clock) for track in (tracks if self.crop.all_faces else tracks[:1])])

    def needs(self, index: int) -> bool:
        if self.reason:
            return False
        return index in self.sampled or (self.faces is None and index - self.window.first < self.crop.recipe.tries)

    def add(self, index: int, frame: FrameFaces) -> None:
        gray, recipe = frame.gray, self.crop.recipe
        if self.shape is None:
            self.shape = gray.shape
            if self.faces is not None and not self.crop.follow:
                self.note(self.crop.doubt(gray))
            elif self.crop.keep_crops and gray.shape == (recipe.size, recipe.size):
                self.set_faces([None])
        if gray.shape != self.shape:
            sizes = f"{self.shape[1]} x {self.shape[0]} and {gray.shape[1]} x {gray.shape[0]}"
            return self.fail(f"its frames have several sizes ({sizes} pixels); the frames of a clip have one")
        if self.faces is None:
            tried = index - self.window.first + 1
            if faces := frame.faces():
                all_faces = self.crop.all_faces
                self.set_faces([FixedFace(face, face_id if all_faces else 0, recipe.size) for face, face_id in faces])
            elif tried >= recipe.tries or index == self.window.last:
                return self.fail(self._no_face(tried))
        if index in self.sampled:
            if self.faces is None:
                self.pending.append((index, gray))
            else:
                self._crop(index, gray)
        return None

    def _crop(self, index: int, gray: np.ndarray) -> None:
        recipe = self.crop.recipe
        for face, crops in zip(self.faces, self.crops, strict=True):
            if face is None:
                crops.append(resize_square(gray, recipe.size, recipe.fit))
            else:
                crops.append(warp(gray, face.transform(index, recipe.size), recipe.size))

    def _no_face(self, tried: int) -> str:
        return (
            f"no face in its first {tried} frames (score at least {self.crop.recipe.min_score}); clips that are "
            "cropped already need face='none' (--no_face)"
        )

    def until(self, times: np.ndarray | None, reason: str) -> ReadClip:
        """The row of this window and all after it, none of which can be read."""
        return replace(self.clip, end=None if times is None else float(times[-1]), frames_read=0, reason=reason)

    def clips(self) -> list[ReadClip]:
        searched = self.crop.recipe.face != "none" and self.faces != [None]
        if self.reason:
            found = self.faces is not None if searched and self.window.length >= MIN_FRAMES else None
            return [replace(self.clip, face_found=found, reason=self.reason)]
        recipe = self.crop.recipe
        return [
            replace(
                self.clip,
                frames=np.stack(crops),
                face_id=face.face_id if face and self.crop.all_faces else 0,
                face_found=True if searched else None,
                box=face.box_at(self.window.first) if face else None,
                matrix=face.transform(self.window.first, recipe.size) if face else whole_transform(self.shape, recipe),
            )
            for face, crops in zip(self.faces, self.crops, strict=True)
        ]


def whole_transform(shape: tuple[int, ...], recipe: FaceRecipe) -> np.ndarray:
    """(2, 3): pixels of a frame (H, W) -> pixels of the crop that `resize_square` makes of it."""
    side = max(shape) if recipe.fit == "pad" else min(shape)
    scale = recipe.size / side
    shift = [((side - length) // 2 + 0.5) * scale - 0.5 for length in (shape[1], shape[0])]
    return np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])


__all__ = ["ReadClip", "WindowCropper"]
