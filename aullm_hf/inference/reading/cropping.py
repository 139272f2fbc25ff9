"""A span of frames as crops of its faces: where the face is, which transform takes it to the template, what failed.

As in training, the face is found in the first frame that shows one, and one similarity transform serves it all;
for long recordings the crop can follow the face instead.
"""

from dataclasses import dataclass, replace

import numpy as np

from ...data.faces import Face, FaceFinder, FaceRecipe, alignment, resize_square, to_gray, warp
from ...data.reading.records import MIN_FRAMES
from ...model.processing_aullm import evenly_spaced
from .tracking import Identities, Track, within
from .windows import Span


@dataclass
class ReadClip:
    """A clip, a window of a longer one, or one face of several: what the model gets, or why it gets nothing."""

    source: str
    frames: np.ndarray | None = None  # (N, size, size) uint8 gray crops, those the model samples; None with a reason
    clip: int = 0  # index of the window within the source
    face_id: int = 0
    start: float | None = None  # seconds, of the first and the last frame; None where nothing says how fast they come
    end: float | None = None
    fps: float | None = None
    frames_read: int = 0  # frames from start to end
    face_found: bool | None = None  # None: nobody looked
    box: tuple[float, ...] | None = None  # x, y, width, height in pixels of the frame
    reason: str = ""  # empty: fine
    warning: str = ""
    onset: np.ndarray | None = None  # the first frame, uncropped, RGB uint8; only with keep_onset


@dataclass(frozen=True)
class Look:
    """How clips are cropped."""

    num_frames: int  # that the model samples from a clip
    recipe: FaceRecipe
    finder: FaceFinder | None = None
    everyone: bool = False  # all faces of a frame, not the largest only
    follow: bool = False  # move the crop with the face, smoothly, instead of one transform a clip


class Seen:
    """The faces of one frame, looked for once and only if somebody asks."""

    def __init__(self, look: Look, frame: np.ndarray, people: Identities, time: float):
        self.look, self.frame, self.people, self.time = look, frame, people, time
        self.gray = to_gray(frame)
        self.found: list[tuple[Face, int]] | None = None

    def faces(self) -> list[tuple[Face, int]]:
        if self.found is None:
            finder, least = self.look.finder, self.look.recipe.min_score
            if self.look.everyone:
                faces = finder.find_all(self.gray, least)
            else:
                faces = [face] if (face := finder.find(self.gray, least)) is not None else []
            tracks = self.people.assign(faces, self.time)
            self.found = [(face, track.face_id) for face, track in zip(faces, tracks, strict=True)]
        return self.found


class Still:
    """A face that one transform serves: where it was found."""

    def __init__(self, face: Face, face_id: int, size: int):
        self.face_id, self.box = face_id, face.box
        self.matrix = alignment(face.points, size)

    def transform(self, index: int, size: int) -> np.ndarray:
        return self.matrix

    def box_at(self, index: int) -> tuple[float, ...]:
        return self.box


class Followed:
    """A face that the crop moves with."""

    def __init__(self, track: Track, clock: np.ndarray):
        self.track, self.clock, self.face_id = track, clock, track.face_id

    def transform(self, index: int, size: int) -> np.ndarray:
        return alignment(self.track.at(float(self.clock[index]))[1], size)

    def box_at(self, index: int) -> tuple[float, ...]:
        return self.track.at(float(self.clock[index]))[0]


class Window:
    """One span while it is read: which frames it still needs, and the crops it has."""

    def __init__(self, look: Look, span: Span, clip: ReadClip, keep_onset: bool):
        self.look, self.span, self.keep_onset = look, span, keep_onset
        self.clip = replace(clip, clip=span.number, start=span.start, end=span.end, frames_read=max(span.length, 0))
        self.onset: np.ndarray | None = None
        self.reason = ""
        self.shape: tuple[int, ...] | None = None
        self.places: list | None = None  # of the faces; None until one is found
        self.crops: list[list[np.ndarray]] = []  # per place
        self.pending: list[tuple[int, np.ndarray]] = []  # sampled frames that came before the face was found
        sampled = evenly_spaced(look.num_frames, max(span.length - 1, 0))
        self.sampled = {span.first + int(index) for index in sampled}
        if span.length < MIN_FRAMES:
            between = "" if span.start is None else f" between {span.start:.3f} and {span.end:.3f} s"
            self.fail("one frame shows no motion" if span.length == 1 else f"there is no frame{between}")
        elif look.recipe.face == "none":
            self.place([None])
        if not self.reason and span.length < look.num_frames:
            few = f"has {span.length} frames where the model samples {look.num_frames}: some are repeated"
            self.clip.warning = "; ".join(part for part in (self.clip.warning, few) if part)

    def fail(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.pending.clear()

    def place(self, places: list) -> None:
        if not places:
            return self.fail(self._no_face(self.span.length))
        self.places, self.crops = places, [[] for _ in places]
        pending, self.pending = self.pending, []
        for index, gray in pending:
            self._crop(index, gray)
        return None

    def follow(self, people: Identities, clock: np.ndarray) -> None:
        """Take the faces that were seen along the recording."""
        if not self.reason:
            tracks = within(people.tracks, float(clock[self.span.first]), float(clock[self.span.last]))
            self.place([Followed(track, clock) for track in (tracks if self.look.everyone else tracks[:1])])

    def needs(self, index: int) -> bool:
        if self.reason:
            return False
        return index in self.sampled or (self.places is None and index - self.span.first < self.look.recipe.tries)

    def give(self, index: int, seen: Seen) -> None:
        gray = seen.gray
        if self.keep_onset and index == self.span.first:
            self.onset = seen.frame if seen.frame.ndim == 3 else np.repeat(gray[:, :, None], 3, axis=2)
        self.shape = self.shape or gray.shape
        if gray.shape != self.shape:
            sizes = f"{self.shape[1]} x {self.shape[0]} and {gray.shape[1]} x {gray.shape[0]}"
            return self.fail(f"its frames have several sizes ({sizes} pixels); the frames of a clip have one")
        if self.places is None:
            looked = index - self.span.first + 1
            size = self.look.recipe.size
            if faces := seen.faces():
                self.place([Still(face, face_id if self.look.everyone else 0, size) for face, face_id in faces])
            elif looked >= self.look.recipe.tries or index == self.span.last:
                return self.fail(self._no_face(looked))
        if index in self.sampled:
            if self.places is None:
                self.pending.append((index, gray))
            else:
                self._crop(index, gray)
        return None

    def _crop(self, index: int, gray: np.ndarray) -> None:
        recipe = self.look.recipe
        for place, crops in zip(self.places, self.crops, strict=True):
            if place is None:
                crops.append(resize_square(gray, recipe.size, recipe.fit))
            else:
                crops.append(warp(gray, place.transform(index, recipe.size), recipe.size))

    def _no_face(self, looked: int) -> str:
        return (
            f"no face in its first {looked} frames (score at least {self.look.recipe.min_score}); clips that are "
            "cropped already need face='none' (--no_face)"
        )

    def until(self, times: np.ndarray | None, reason: str) -> ReadClip:
        """What stands for this window and all after it."""
        return replace(self.clip, end=None if times is None else float(times[-1]), frames_read=0, reason=reason)

    def clips(self) -> list[ReadClip]:
        looked = self.look.recipe.face != "none"
        if self.reason:
            seen = self.places is not None if looked and self.span.length >= MIN_FRAMES else None
            return [replace(self.clip, face_found=seen, reason=self.reason, onset=self.onset)]
        return [
            replace(
                self.clip,
                frames=np.stack(crops),
                face_id=place.face_id if place and self.look.everyone else 0,
                face_found=True if looked else None,
                box=place.box_at(self.span.first) if place else None,
                onset=self.onset,
            )
            for place, crops in zip(self.places, self.crops, strict=True)
        ]
