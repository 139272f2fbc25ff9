"""Photographs that move: the motions of wild clips, in the texture of any face that looks at the camera.

The face is aligned as every crop is; where its muscles, lids and lips are then follows from the template. Nothing that
comes of it is evidence about the person in the photograph.
"""

import os
from collections.abc import Mapping, Sequence

import numpy as np

from ...arguments import check_number, shown
from ..errors import FaceError
from ..template import TEMPLATE, similarity
from .faces import CROP, MIDDLE, NOSE_TIP, Person
from .motion import PLANE
from .warping import SKIN, edges_of, on_plane, places_of, resting_lids, skin_fields, skin_motion, widened

AMONG = tuple(sorted({*SKIN, 5, 25, 43, 45}))  # the AUs that can be moved
LIMIT = 8.0  # pixels of 64: no face moves further
DENSITY = 2  # pixels of a face's picture on PLANE per face unit
ROUNDS = 8  # of the inverse of the motion: it is exact to a fiftieth of a pixel


def animate(
    image: np.ndarray,
    aus: Mapping[int, float | tuple[float, float]],
    *,
    course: Sequence[float] | None = None,
    size: int = 64,
    points: np.ndarray | None = None,
    face_model: str | os.PathLike | None = None,
) -> np.ndarray:
    """A clip of a photographed face that does what is asked: aligned crops (T, size, size) uint8.

    Args:
        image: a photograph of a face at rest, gray (H, W) or RGB (H, W, 3), uint8.
        aus: how far the strongest point of each AU moves, in pixels of a 64 x 64 crop; a pair for the person's left
            and right side.
        course: the share of it at every frame; by default six frames that rise from 0 to 1.
        size: pixels per side of the crops, of which 128 is a multiple.
        points: (5, 2) the right eye, left eye, nose tip, right and left mouth corner in pixels of the image, where
            they are known; by default the face is found.
        face_model: the path of YuNet's .onnx file; by default AULLM_FACE_MODEL, else the Hub's.

    Example:

    ```python
    >>> import numpy as np
    >>> from aullm_hf.data import animate
    >>> image = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    >>> points = [[70, 70], [130, 70], [100, 105], [75, 140], [125, 140]]
    >>> animate(image, {12: 2.0, 4: (1.0, 0.0)}, points=points).shape
    (6, 64, 64)

    ```
    """
    from ..faces import FaceFinder, to_gray

    if not isinstance(size, int) or size < 8 or CROP % size:
        raise ValueError(f"size={shown(size)} must divide {CROP}: 128, 64, 32, 16 or 8")
    share = np.linspace(0, 1, 6) if course is None else np.asarray(course, float)
    if share.ndim != 1 or not len(share) or not np.isfinite(share).all():
        raise ValueError(f"course={shown(course)} is not allowed; give a number for every frame")
    levels = {au: 2 * np.outer(share, sides) for au, sides in _asked(aus).items()}
    gray = to_gray(image)
    if points is None:
        if (face := FaceFinder(face_model).find(gray)) is None:
            raise FaceError("no face in the image; give its five points")
        points = face.points
    points = np.asarray(points, float)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"points={shown(points.tolist())} is not allowed; give five pairs of pixels")
    return animate_levels(gray, levels, len(share), points=points, size=size)


def animate_levels(
    gray: np.ndarray, levels: Mapping[int, np.ndarray], frames: int, *, points: np.ndarray, size: int = 64
) -> np.ndarray:
    """The same with a course of its own for each AU and side: `levels` (frames, 2) in face units."""
    from ..faces import warp

    # The picture's pixel (i, j) lies at PLANE[0] + (i, j) / DENSITY.
    matrix = similarity(points, (TEMPLATE * CROP - PLANE[0]) * DENSITY)
    picture = warp(gray, matrix, (PLANE[1] - PLANE[0]) * DENSITY).astype(np.float32)
    at = (points @ matrix[:, :2].T + matrix[:, 2]) / DENSITY + PLANE[0]
    moved = move_picture(picture, person_of(picture, at), levels, frames, pixels=2 * size)
    moved = moved.reshape(frames, size, 2, size, 2).mean(axis=(2, 4))
    return np.clip(moved + 0.5, 0, 255).astype(np.uint8)


def _asked(aus: Mapping[int, float | tuple[float, float]]) -> dict[int, tuple[float, float]]:
    """AU -> how far its left and right side move."""
    if not isinstance(aus, Mapping):
        raise TypeError(f"aus={shown(aus)} is not a mapping from AUs to pixels; write {{12: 2.0}}")
    asked = {}
    for au, value in aus.items():
        if au not in AMONG:
            raise ValueError(
                f"aus names AU {shown(au)}, which cannot be moved; choose from {', '.join(map(str, AMONG))}"
            )
        sides = tuple(value) if isinstance(value, tuple | list | np.ndarray) else (value, value)
        if len(sides) != 2:
            raise ValueError(
                f"aus[{au}]={shown(value)} is not allowed; give a number, or one for left and one for right"
            )
        for side in sides:
            check_number(f"aus[{au}]", side, -LIMIT, LIMIT)
        asked[au] = sides
    return asked


def person_of(picture: np.ndarray, points: np.ndarray | None = None) -> Person:
    """Where the face in a picture on PLANE has its muscles, lids and lips. `points`: (5, 2), in face units.

    Lips part along the darkest row between them.
    """
    points = TEMPLATE * CROP if points is None else points
    eye_y, mouth_y = points[:2, 1].mean(), points[3:, 1].mean()
    columns = slice(*((np.array([MIDDLE - 8, MIDDLE + 8]) - PLANE[0]) * DENSITY).astype(int))
    rows = np.arange(*((np.array([mouth_y - 4, mouth_y + 5]) - PLANE[0]) * DENSITY).astype(int))
    tone = np.convolve(picture[rows[0] - 2 : rows[-1] + 3, columns].mean(axis=1), np.ones(5) / 5, mode="valid")
    line = rows[tone.argmin()] / DENSITY + PLANE[0]
    cheek = picture[int((eye_y + 20 - PLANE[0]) * DENSITY), columns]
    return Person(
        eye_x=float(np.diff(points[:2, 0])[0] / 2),
        eye_y=float(eye_y),
        eye_width=9.9,
        eye_height=3.7,
        brow_gap=11.0,
        brow_thickness=2.0,
        brow_arch=2.0,
        brow_tilt=0.0,
        nose_length=float(points[2, 1] + NOSE_TIP - eye_y),
        nose_width=7.5,
        mouth_y=float(line),
        mouth_width=float(np.diff(points[3:, 0])[0] / 2),
        lip_upper=3.8,
        lip_lower=5.2,
        chin_y=122.0,
        cheek_width=48.0,
        skin=float(cheek.mean()),
        hair=40.0,
        brow_tone=0.5,
        lip_tone=0.7,
        iris=0.2,
        background=100.0,
        light_x=0.0,
        light_y=0.0,
        shadow=0.0,
        wrinkles=0.0,
        texture=1.0,
        seed=0,
    )


def move_picture(
    picture: np.ndarray,
    person: Person,
    levels: Mapping[int, np.ndarray],
    frames: int,
    *,
    pixels: int,
    shift: np.ndarray | None = None,
    rounds: int = ROUNDS,
) -> np.ndarray:
    """(T, pixels, pixels) grey levels of the crop: the picture on PLANE, moved by the AUs' levels (T, 2).

    shift: (T, 2) face units that the whole head moves by.
    """
    centres = (np.arange(pixels, dtype=np.float32) + 0.5) * np.float32(CROP / pixels)
    at_x = np.broadcast_to(centres[None, None, :], (frames, pixels, pixels))
    at_y = np.broadcast_to(centres[None, :, None], (frames, pixels, pixels))
    if shift is not None:
        at_x, at_y = (at - shift[:, k, None, None].astype(np.float32) for k, at in enumerate((at_x, at_y)))
    fields = {
        au: skin_fields(widened(SKIN[au], float(np.abs(level).max())), person)
        for au, level in levels.items()
        if au in SKIN
    }
    motion = skin_motion(levels, fields, frames)
    places = places_of(person, at_x, at_y, motion, edges_of(levels, person, frames), rounds=rounds)
    moved = on_plane(picture, places.x, places.y)
    # Behind the lids: the eye where it is, as far as it is to be seen; its rim is repeated where a lid rises.
    _, top, bottom = resting_lids(person, places.unmoved_x)
    eye = on_plane(picture, places.unmoved_x, np.clip(places.unmoved_y, top, np.maximum(top, bottom)))
    moved += (eye - moved) * places.eye
    moved += (_behind_lips(person, places.unmoved_y) - moved) * places.mouth
    return moved


def _behind_lips(person: Person, y: np.ndarray) -> np.ndarray:
    """Grey levels of the inside of a mouth: upper teeth, and the dark below them."""
    teeth = np.clip(1.5 - (y - np.float32(person.mouth_y)), 0, 1)
    return np.float32(28) + (np.float32(0.85 * person.skin) - 28) * teeth


__all__ = ["AMONG", "animate", "animate_levels", "move_picture", "person_of"]
