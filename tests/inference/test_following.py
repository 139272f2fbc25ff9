"""Faces that are found once and followed: as exact as found anew, at less cost, and never somebody who is gone."""

import numpy as np
import pytest

from aullm_hf.data.faces import FaceFinder, FaceRecipe, alignment, to_gray
from aullm_hf.inference.reading.crop_settings import CropSettings
from aullm_hf.inference.reading.following import SEARCH_INTERVAL, FaceFollower, MainFace
from support.videos import moving


@pytest.fixture(scope="module")
def finder(face_model):
    return FaceFinder(face_model)


@pytest.fixture(scope="module")
def frames(photo):
    """A head that moves by two pixels a look."""
    return [to_gray(frame) for frame in moving(photo, [(2.0 * step, 0.5 * step) for step in range(8)])]


def away(points, wanted) -> float:
    """The mean distance of the points in pixels of a crop of 64."""
    matrix = alignment(wanted, 64)
    return float(np.linalg.norm((points - wanted) @ matrix[:, :2].T, axis=1).mean())


def follower(finder, **options) -> FaceFollower:
    return FaceFollower(CropSettings(6, FaceRecipe(), finder, follow=True, **options))


def test_a_face_that_is_followed_is_where_a_search_finds_it(finder, frames, monkeypatch):
    anew = [finder.find(frame) for frame in frames[::2]]
    pixels, detect = [], finder.detect
    monkeypatch.setattr(finder, "detect", lambda canvas, least: pixels.append(canvas.size) or detect(canvas, least))
    following = follower(finder)
    faces = [following.faces(frame, 0.2 * at)[0] for at, frame in enumerate(frames)]
    search = 5 * 640 * 640
    assert sum(pixels) - search < 0.25 * search * (len(frames) - 1), "less than a quarter of a search each"
    assert np.mean([away(faces[2 * at].points, anew[at].points) for at in range(1, 4)]) < 0.4
    for at in range(1, 4):
        box, wanted = np.array(faces[2 * at].box), np.array(anew[at].box)
        assert np.abs(box - wanted).max() < 0.15 * wanted[2]  # the detector's own differ so much from look to look


def test_a_face_that_is_gone_is_not_followed_and_found_when_it_is_back(finder, frames):
    following, empty = follower(finder), np.full_like(frames[0], 90)
    assert finder.find_again(empty, finder.find(frames[0])) is None
    seen = [len(following.faces(frame, 0.2 * at)) for at, frame in enumerate([frames[0], empty, empty, frames[3]])]
    assert seen == [1, 0, 0, 1]


def test_a_larger_face_that_comes_is_the_main_one_after_a_second_at_most(finder, frames):
    alone = np.full((400, 1024), 90, np.uint8)
    alone[80:400, 560:970] = frames[0][::5, ::5].repeat(4, 0).repeat(4, 1)[:320, :410]
    both = alone.copy()
    both[:, :512] = frames[0]
    following, times = follower(finder), np.arange(0, SEARCH_INTERVAL + 0.01, 0.5)
    lefts = [following.faces(alone if at == 0 else both, time)[0].box[0] for at, time in enumerate(times)]
    assert lefts[0] > 500 and lefts[-1] < 500
    every = follower(finder, all_faces=True)
    counts = [len(every.faces(alone if at == 0 else both, time)) for at, time in enumerate(times)]
    assert counts[0] == 1 and counts[-1] == 2


def test_boxes_alone_are_of_the_same_faces(finder, frames):
    pair = np.full((400, 1024), 90, np.uint8)
    pair[:, :512] = frames[0]
    pair[:, 512:] = np.roll(frames[0], 20, axis=1)
    boxes, faces = ([face.box for face in found] for found in (finder.find_boxes(pair), finder.find_all(pair)))
    assert len(boxes) == len(faces) == 2
    assert np.abs(np.array(sorted(boxes)) - sorted(faces)).max() < 0.05 * faces[0][2]


def test_the_main_face_of_a_stream_is_the_one_a_search_finds(finder, frames, monkeypatch):
    anew = [finder.find(frame) for frame in frames]
    pixels, detect = [], finder.detect
    monkeypatch.setattr(finder, "detect", lambda canvas, least: pixels.append(canvas.size) or detect(canvas, least))
    main = MainFace(finder)
    faces = [main.find(frame, 0.6) for frame in frames]
    assert np.mean([away(face.points, wanted.points) for face, wanted in zip(faces, anew, strict=True)]) < 0.4
    assert sum(pixels) < 0.3 * len(frames) * 5 * 640 * 640, "less than a third of a search each"


def test_a_main_face_too_small_for_a_small_look_is_searched_for(finder, frames):
    large = np.full((1600, 2000), 90, np.uint8)
    large[1300:1500, 1700:1956] = frames[0][::2, ::2]
    main, wanted = MainFace(finder), finder.find(large)
    assert not finder.find_large(large) and wanted is not None
    assert np.allclose(main.find(large, 0.6).points, wanted.points) and main.count == 1
    assert main.find(np.full_like(large, 90), 0.6) is None and main.count == 0
