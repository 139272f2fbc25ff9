"""A recording in parts of half a minute: where each face could be followed, how its regions moved, and what hid it.

A part is read by itself: of what was before it only the places of the faces are known, so that a run that was killed
goes on with the part it was in. The first frame of a part is also the last of the part before it, by which stretches
are joined again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...data.errors import ClipError
from ...data.faces import Face, FaceFinder, alignment, resize_square, to_gray, warp
from ..reading.following import MainFace
from ..reading.frames import FrameCountError, Frames
from ..reading.tracking import LOST_AFTER, MIN_OVERLAP, overlap
from .region_motion import SIZE
from .signals import FaceSignal, Stretch

PART = 30.0  # seconds
LOOK_AGAIN = 0.2  # seconds until a face is looked for again where there was none
TURNED = 0.38  # of the distance between the eyes: how far the nose may stand to one side of their middle
NO_FACE, TURNED_AWAY, CUT = "no face", "turned away", "cut"
NOTHING = "nothing to follow: the picture changes all over from frame to frame"


@dataclass
class FacePart:
    """One face in one part."""

    stretches: list[Stretch]
    boxes: list[tuple[int, tuple[float, ...]]] = field(default_factory=list)  # index of a frame, where it was seen


@dataclass
class Part:
    """What was read of frames first..last (the next part's first included)."""

    number: int
    first: int
    last: int
    faces: dict[int, FacePart]
    reasons: dict[int, str]  # index of a frame in which a face was looked for in vain -> why
    places: list[dict[str, Any]]  # where each face was seen last, for the part that follows
    places_before: list[dict[str, Any]]
    damage: str = ""  # why nothing after `last` can be read


def split_into_parts(times: np.ndarray) -> list[tuple[int, int]]:
    """(first, last) index of every part; each ends with the frame that the next one begins with."""
    edges = np.unique(np.searchsorted(times, np.arange(times[0], times[-1], PART)))
    starts = [int(edge) for edge in edges]
    return list(zip(starts, [*starts[1:], len(times) - 1], strict=True))


@dataclass(frozen=True)
class PartReader:
    """How faces are cut out of frames; without a finder, frames are crops of one."""

    finder: FaceFinder | None = None
    min_score: float = 0.6
    all_faces: bool = False
    fit: str = "pad"

    def read(
        self, frames: Frames, times: np.ndarray, bounds: list[tuple[int, int]], begin: int, places: list[dict]
    ) -> Iterator[Part]:
        """Part after part from number `begin` on. `places`: of the part before it."""
        with frames.reading(bounds[begin][0]) as get:
            shared = None  # the frame in which one part ends and the next begins
            for number in range(begin, len(bounds)):
                first, last = bounds[number]
                watch = FaceWatch(self, places)
                damage = ""
                for index in range(first, last + 1):
                    try:
                        gray = shared if index == first and shared is not None else to_gray(get(index))
                        watch.add(index, float(times[index]), gray)
                    except FrameCountError:
                        raise
                    except ClipError as error:
                        damage = str(error)
                        if frames.any_order:  # one picture of many
                            watch.reasons[index] = damage
                            watch.lose_all()
                            damage = ""
                            continue
                        last = index - 1
                        break
                    shared = gray
                yield Part(number, first, last, watch.faces, watch.reasons, watch.places, places, damage)
                places = watch.places
                if damage:
                    return


class FaceWatch:
    """The faces of one part, or of a stream, while it is read: frame after frame through `add`."""

    def __init__(self, reader: PartReader, places: list[dict]):
        self.reader, self.places = reader, [dict(place) for place in places]
        self.main = MainFace(reader.finder) if reader.finder is not None and not reader.all_faces else None
        self.faces: dict[int, FacePart] = {}
        self.signals: dict[int, FaceSignal] = {}
        self.active: dict[int, np.ndarray | None] = {}  # face -> from the picture to its crop
        self.reasons: dict[int, str] = {}
        self.looked = -np.inf

    def lose_all(self) -> None:
        self.active.clear()

    def forget(self, before: float) -> None:
        """Drop what lies before a time: a stream has no end, and what is kept of it has a bound."""
        for face in self.faces.values():
            kept = [stretch for stretch in face.stretches if stretch.times[-1] > before]
            face.stretches[:] = [stretch.since(before) for stretch in kept]
            del face.boxes[:-1]
        self.reasons = dict(list(self.reasons.items())[-1:])

    def add(self, index: int, time: float, gray: np.ndarray) -> None:
        lost = False
        for face_id in list(self.active):
            if not self.signals[face_id].add(index, time, self._crop(gray, self.active[face_id])):
                del self.active[face_id]
                lost = True
        wanting = any(self.signals[face_id].wants_anchor for face_id in self.active)
        waited = not self.active and time - self.looked >= LOOK_AGAIN - 1e-6
        if self.reader.finder is None:
            self._take_whole(index, time, gray)
        elif lost or wanting or waited:
            self._look(index, time, gray)

    def _take_whole(self, index: int, time: float, gray: np.ndarray) -> None:
        """Crops of one face: there is nothing to look for."""
        if 0 not in self.active:
            self._begin(0, index, time, gray, None)
        elif self.signals[0].wants_anchor:
            self.signals[0].anchor(self._crop(gray, None), keep_pose=True)

    def _look(self, index: int, time: float, gray: np.ndarray) -> None:
        self.looked = time
        seen = self._seen(gray)
        straight = [face for face in seen if not is_turned(face)]
        if not straight:
            self.reasons[index] = TURNED_AWAY if seen else NO_FACE
        assigned = self._assign(straight, time)
        for face_id in set(self.active) - set(assigned):  # followed, but no longer a face for the finder
            del self.active[face_id]
            self.reasons.setdefault(index, NO_FACE)
        for face_id, face in assigned.items():
            matrix = alignment(face.points, SIZE)
            if face_id in self.active and overlap(face.box, self.faces[face_id].boxes[-1][1]) >= MIN_OVERLAP:
                self.active[face_id] = matrix
                self.signals[face_id].anchor(self._crop(gray, matrix), keep_pose=False)
            else:
                self._begin(face_id, index, time, gray, matrix)
            self.faces[face_id].boxes.append((index, tuple(map(float, face.box))))

    def _seen(self, gray: np.ndarray) -> list[Face]:
        if self.main is None:
            return self.reader.finder.find_all(gray, self.reader.min_score)
        face = self.main.find(gray, self.reader.min_score)
        return [face] if face is not None else []

    def _assign(self, faces: list[Face], time: float) -> dict[int, Face]:
        """Numbers for faces, by where each was seen last; the largest of a picture is always number 0."""
        if not self.reader.all_faces:
            return dict(enumerate(faces[:1]))
        recent = [place for place in self.places if time - place["time"] <= LOST_AFTER]
        pairs = sorted(
            (
                (overlap(face.box, place["box"]), at, place["face_id"])
                for at, face in enumerate(faces)
                for place in recent
            ),
            key=lambda pair: -pair[0],
        )
        numbers: dict[int, int] = {}
        for shared, at, face_id in pairs:
            if shared >= MIN_OVERLAP and at not in numbers and face_id not in numbers.values():
                numbers[at] = face_id
        for at, face in enumerate(faces):
            if at not in numbers:
                numbers[at] = len(self.places)
                self.places.append({"face_id": numbers[at]})
            self.places[numbers[at]] |= {"time": time, "box": [float(value) for value in face.box]}
        return {numbers[at]: face for at, face in enumerate(faces)}

    def _begin(self, face_id: int, index: int, time: float, gray: np.ndarray, matrix: np.ndarray | None) -> None:
        signal = self.signals.setdefault(face_id, FaceSignal())
        self.faces.setdefault(face_id, FacePart(signal.stretches))
        self.active[face_id] = matrix
        signal.begin(index, time, self._crop(gray, matrix))

    def _crop(self, gray: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
        return resize_square(gray, SIZE, self.reader.fit) if matrix is None else warp(gray, matrix, SIZE)


def is_turned(face: Face) -> bool:
    """Whether a head is turned so far to one side that half of the face cannot be seen."""
    right, left, nose = face.points[:3]
    axis = left - right
    across = float((nose - (right + left) / 2) @ axis) / max(float(axis @ axis), 1e-9)
    return abs(across) > TURNED


def joined(parts: list[Part], face_id: int) -> list[Stretch]:
    """The stretches of a face over parts that follow one another, put together where they go on."""
    stretches: list[Stretch] = []
    for part in parts:
        for stretch in part.faces[face_id].stretches if face_id in part.faces else ():
            previous = stretches[-1] if stretches else None
            if previous is not None and previous.last == stretch.first == part.first:
                base = previous.values[-1]
                stretches[-1] = replace(
                    previous,
                    times=previous.times + stretch.times[1:],
                    values=previous.values + [base + value for value in stretch.values[1:]],
                )
            else:
                stretches.append(stretch)
    return stretches


__all__ = ["CUT", "NOTHING", "NO_FACE", "TURNED_AWAY", "FaceWatch", "Part", "PartReader", "joined", "split_into_parts"]
