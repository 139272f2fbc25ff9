"""Which face is which in a recording, and where each is between the frames in which it was detected."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...data.faces import Face

DETECTION_INTERVAL = 0.2  # seconds between two detections where a recording is followed
NUMBERING_INTERVAL = 0.3  # at most, where faces of separate windows keep their numbers
SMOOTHING = 0.2  # seconds; the width of the Gaussian that box and points are smoothed by
LOST_AFTER = 2.0  # seconds without a detection after which a face gets a new number
MIN_OVERLAP = 0.1


def overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes (x, y, width, height)."""
    sides = [min(box[at] + box[at + 2], other[at] + other[at + 2]) - max(box[at], other[at]) for at in (0, 1)]
    shared = max(sides[0], 0.0) * max(sides[1], 0.0)
    return shared / max(box[2] * box[3] + other[2] * other[3] - shared, 1e-9)


@dataclass
class Track:
    """One face through a recording: where it was each time it was detected."""

    face_id: int
    times: list[float] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    def add(self, time: float, face: Face) -> None:
        self.times.append(time)
        self.faces.append(face)

    def at(self, time: float) -> tuple[tuple[float, ...], np.ndarray]:
        """(box, points (5, 2)) at a time: a line fitted to the detections around it keeps even motion even."""
        times = np.array(self.times)
        values = np.array([[*face.box, *face.points.ravel()] for face in self.faces])  # (detections, 14)
        time = float(np.clip(time, times[0], times[-1]))
        away = ((times - time) / SMOOTHING) ** 2 / 2
        weights = np.exp(away.min() - away)
        weights /= weights.sum()
        middle, level = weights @ times, weights @ values
        spread = weights @ (times - middle) ** 2
        slope = (weights * (times - middle)) @ (values - level) / spread if spread > 1e-9 else 0.0
        smooth = level + slope * (time - middle)
        return tuple(map(float, smooth[:4])), smooth[4:].reshape(5, 2)


class FaceTracker:
    """Numbers for faces, kept from detection to detection by the overlap of their boxes, the best pair first."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []

    def assign(self, faces: Sequence[Face], time: float) -> list[Track]:
        """The track of each face; a face that overlaps none of those seen lately gets a new one."""
        recent = [track for track in self.tracks if time - track.times[-1] <= LOST_AFTER]
        pairs = sorted(
            ((overlap(face.box, track.faces[-1].box), at, track) for at, face in enumerate(faces) for track in recent),
            key=lambda pair: -pair[0],
        )
        assigned: dict[int, Track] = {}
        for shared, at, track in pairs:
            free = at not in assigned and all(track is not other for other in assigned.values())
            if shared >= MIN_OVERLAP and free:
                assigned[at] = track
        for at, face in enumerate(faces):
            if at not in assigned:
                assigned[at] = Track(len(self.tracks))
                self.tracks.append(assigned[at])
            assigned[at].add(time, face)
        return [assigned[at] for at in range(len(faces))]


def detection_frames(clock: np.ndarray) -> Iterator[int]:
    """Indices of the frames to detect in: the first, the last, and between them one per DETECTION_INTERVAL."""
    last = -np.inf
    for index, time in enumerate(clock):
        if time - last >= DETECTION_INTERVAL - 1e-6 or index == len(clock) - 1:
            last = time
            yield index


def tracks_between(tracks: Iterable[Track], start: float, end: float) -> list[Track]:
    """The tracks that were detected during a span or just beside it, the most detected and then the largest first."""
    found = []
    for track in tracks:
        faces = [face for time, face in zip(track.times, track.faces, strict=True)
                 if start - DETECTION_INTERVAL <= time <= end + DETECTION_INTERVAL]  # fmt: skip
        if faces:
            found.append((len(faces), max(face.box[2] * face.box[3] for face in faces), track))
    return [track for *_, track in sorted(found, key=lambda entry: (-entry[0], -entry[1], entry[2].face_id))]
