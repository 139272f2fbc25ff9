"""Photographs that move: by what was asked, where it was asked, and not at all elsewhere."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cv2")

from aullm_hf.data import FaceFinder, animate
from aullm_hf.data.faces import alignment, warp
from aullm_hf.data.synthetic.animation import AMONG, person_of
from aullm_hf.data.synthetic.motion import FIELDS, au_field
from aullm_hf.data.template import TEMPLATE

FINDER = Path(os.environ.get("AULLM_FACE_MODEL") or Path(__file__).parents[3] / "shared/models/yunet_n_640_640.onnx")
SCALE, LEFT, TOP = 4, 70, 50  # a face unit is four pixels of the test's images
POINTS = TEMPLATE * 128 * SCALE + (LEFT, TOP)
LIDS_AND_LIPS = (5, 7, 25, 43, 45)


def spots(places: np.ndarray) -> np.ndarray:
    """An image of dark spots at these places of the face, in face units."""
    y, x = np.mgrid[: 128 * SCALE + 2 * TOP, : 128 * SCALE + 2 * LEFT]
    image = np.full(x.shape, 250.0)
    for at_x, at_y in places * SCALE + (LEFT, TOP):
        image -= 230 * np.exp(-0.5 * ((x - at_x) ** 2 + (y - at_y) ** 2) / (0.6 * SCALE) ** 2)
    return image.clip(0, 255).astype(np.uint8)


def centre_near(frame: np.ndarray, place: np.ndarray, reach: float = 6.0) -> np.ndarray:
    """Where the spot near this place is, by its centre of mass, in face units."""
    unit = len(frame) / 128
    y, x = (np.mgrid[: len(frame), : len(frame)] + 0.5) / unit
    dark = np.clip(245.0 - frame, 0, None) * (np.hypot(x - place[0], y - place[1]) < reach)
    return np.array([(dark * x).sum(), (dark * y).sum()]) / dark.sum()


@pytest.mark.parametrize("au", [au for au in FIELDS if au not in LIDS_AND_LIPS])
def test_the_skin_moves_by_what_was_asked_to_a_tenth_of_a_pixel(au, monkeypatch):
    """Spots are followed; what they should do is the sum of muscles that drawn clips are made of, taken forwards."""
    person = person_of(np.full((320, 320), 100.0, np.float32), TEMPLATE * 128)
    monkeypatch.setattr("aullm_hf.data.synthetic.animation.person_of", lambda *_: person)  # a spot is no mouth
    y, x = np.mgrid[20:121:2, 8:121:2].astype(np.float32)
    strongest = np.hypot(*(field := au_field(au, person, x, y))).argmax()
    if au == 26:  # the lips part by themselves; a jaw's own field has one muscle
        strongest = np.ravel_multi_index(((109 - 20) // 2, (64 - 8) // 2), x.shape)
    place = np.array([x.flat[strongest], y.flat[strongest]])
    for pixels in (0.3, 0.4 if au == 23 else 1.0):  # of 64; lips that are tightened more would fold over
        frames = animate(spots(place[None]), {au: pixels}, points=POINTS, size=128, course=[0, 1])
        start = centre_near(frames[0], place)
        moved = (centre_near(frames[1], start) - start) / 2
        assert np.abs(start - place).max() < 0.1
        expected = field.reshape(2, -1)[:, strongest] * pixels
        if au != 26:
            assert moved == pytest.approx(expected, abs=0.1), (pixels, moved, expected)
        assert np.hypot(*moved) == pytest.approx(pixels, abs=0.1)


def test_a_side_moves_alone_and_what_is_far_away_stays():
    places = np.array([[34.0, 30.0], [94.0, 30.0], [64.0, 112.0]])
    frames = animate(spots(places), {2: (1.5, 0.0)}, points=POINTS, size=128, course=[0, 1])
    moved = [np.hypot(*(centre_near(frames[1], place) - centre_near(frames[0], place))) / 2 for place in places]
    assert moved[1] > 1.0 and moved[0] < 0.1 and moved[2] < 0.05  # the person's left is on the image's right


@pytest.mark.parametrize(("au", "expected"), [(45, 1.5), (5, -0.6), (25, 1.5)])
def test_edges_move_by_what_was_asked(au, expected):
    """The edge of the upper lid, or of the lower lip, is where what lies behind it begins."""
    person = person_of(np.full((320, 320), 100.0, np.float32), TEMPLATE * 128)
    edge = person.mouth_y if au == 25 else person.eye_y + 0.6 - 1.05 * person.eye_height
    x = 64.0 if au == 25 else 64 + person.eye_x
    lower = au == 25
    y = np.arange(128 * SCALE + 2 * TOP)[:, None] - TOP
    light = (y > edge * SCALE) == lower  # the skin behind the edge that moves
    image = np.where(light, 220, 60).astype(np.uint8) * np.ones((1, 128 * SCALE + 2 * LEFT), np.uint8)
    still, moved = animate(image, {au: abs(expected)}, points=POINTS, size=128, course=[0, 1])[:, :, int(x)]
    rows = slice(int(edge) - 12, int(edge) + 14)
    bright = [(column[rows] > 140).sum() for column in (still, moved)]
    shift = (bright[1] - bright[0]) * (-1 if lower else 1) / 2
    assert shift == pytest.approx(expected, abs=0.55)  # whole pixels of 128 are counted


def test_a_face_that_is_asked_nothing_is_its_crop():
    image = spots(np.array([[43.0, 42.0], [85.0, 42.0], [64.0, 90.0], [50.0, 60.0]]))
    frames = animate(image, {}, points=POINTS, course=[0, 1, 1])
    assert np.array_equal(frames[0], frames[1]) and np.array_equal(frames[0], frames[2])
    away = np.abs(frames[0].astype(int) - warp(image, alignment(POINTS, 64), 64))
    assert away.max() < 25 and away.mean() < 0.5, (away.max(), away.mean())
    asked = animate(image, dict.fromkeys(AMONG, 1.0), points=POINTS, course=[0, 0.5])
    assert np.array_equal(asked[0], frames[0]) and not np.array_equal(asked[1], frames[0])


@pytest.mark.skipif(not FINDER.is_file(), reason="the face detector's file is not at hand (AULLM_FACE_MODEL)")
def test_an_animated_photograph_stands_where_its_crop_does():
    """A photograph in the public domain, found by the finder, as it is and while its brows are raised."""
    image = pytest.importorskip("skimage.data").astronaut()
    finder = FaceFinder(FINDER)
    points = finder.find(image).points
    matrix = alignment(points, 128)
    expected = points @ matrix[:, :2].T + matrix[:, 2]  # of these very points in a crop, by the crops' own transform
    for aus in ({}, {1: 1.0, 2: 1.0}):
        frame = animate(image, aus, size=128, course=[1], face_model=FINDER)[0]
        face = finder.find(np.pad(np.kron(frame, np.ones((2, 2), np.uint8)), 64, mode="edge"))
        assert face is not None
        away = np.linalg.norm((face.points - 64) / 2 - expected, axis=1) / 2  # (5,) pixels of 64
        assert away.max() < 1.5, (aus, away)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"aus": {99: 1.0}}, "aus names AU 99, which cannot be moved"),
        ({"aus": {12: 20}}, r"aus\[12\]=20"),
        ({"aus": {12: (1, 2, 3)}}, "one for left and one for right"),
        ({"aus": [12]}, "not a mapping"),
        ({"aus": {}, "size": 60}, "size=60"),
        ({"aus": {}, "course": [[1]]}, "course="),
        ({"aus": {}, "points": [[1, 2]]}, "five pairs"),
    ],
)
def test_errors_name_the_value(options, said):
    with pytest.raises((ValueError, TypeError), match=said):
        animate(np.zeros((50, 50), np.uint8), **({"points": POINTS} | options))
