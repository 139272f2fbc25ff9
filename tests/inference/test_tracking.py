"""Who is who, and where: numbers stay with their faces, even motion stays even, a detector's trembling goes."""

import numpy as np
import pytest

from aullm_hf.data.faces import Face
from aullm_hf.inference.reading.tracking import (
    LOST_AFTER,
    FaceTracker,
    Track,
    detection_frames,
    overlap,
    tracks_between,
)


def face(x, y=100.0, size=80.0) -> Face:
    points = np.array([[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.8], [0.65, 0.8]]) * size + (x, y)
    return Face(box=(x, y, size, size), points=points, score=0.9)


def test_overlap_is_intersection_over_union():
    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap((0, 0, 2, 2), (1, 1, 2, 2)) == pytest.approx(1 / 7)
    assert overlap((0, 0, 2, 2), (2, 0, 2, 2)) == 0


def test_two_faces_keep_their_numbers_in_whatever_order_they_are_found():
    people, rng = FaceTracker(), np.random.default_rng(0)
    for step in range(40):
        left, right = face(50 + 3 * step), face(400 - 2 * step, size=90.0)
        order = rng.permutation(2)
        ids = [track.face_id for track in people.assign([(left, right)[at] for at in order], step * 0.2)]
        if step == 0:
            names = {int(at): number for at, number in zip(order, ids, strict=True)}
        assert {int(at): number for at, number in zip(order, ids, strict=True)} == names
    assert len(people.tracks) == 2


def test_a_face_that_was_away_too_long_or_elsewhere_is_somebody_new():
    people = FaceTracker()
    people.assign([face(50)], 0.0)
    assert people.assign([face(55)], LOST_AFTER)[0].face_id == 0
    assert people.assign([face(400)], LOST_AFTER)[0].face_id == 1
    assert people.assign([face(55)], 3 * LOST_AFTER)[0].face_id == 2


def test_even_motion_is_kept_and_trembling_smoothed():
    rng = np.random.default_rng(0)
    even, shaky = Track(0), Track(1)
    for time in np.arange(0, 6, 0.2):
        even.add(time, face(50 + 30 * time))
        jitter = face(50 + 30 * time)
        shaky.add(time, Face(jitter.box, jitter.points + rng.normal(0, 2, (5, 2)), 0.9))
    for time in np.linspace(0, 5.8, 40):
        box, points = even.at(time)
        assert box[0] == pytest.approx(50 + 30 * time, abs=1e-6)
        np.testing.assert_allclose(points, face(50 + 30 * time).points, atol=1e-6)
    off = [np.abs(shaky.at(time)[1] - face(50 + 30 * time).points).mean() for time in np.linspace(1, 5, 50)]
    seen = zip(shaky.times, shaky.faces, strict=True)
    raw = np.mean([np.abs(found.points - face(50 + 30 * time).points).mean() for time, found in seen])
    assert np.mean(off) < 0.75 * raw


def test_one_look_is_enough_and_nothing_is_guessed_beyond_the_looks():
    track = Track(0)
    track.add(1.0, face(50))
    assert track.at(0.0)[0][0] == track.at(9.0)[0][0] == 50
    track.add(2.0, face(60))
    assert track.at(9.0)[0][0] == pytest.approx(60, abs=0.5)


def test_looks_are_apart_and_reach_both_ends():
    clock = np.arange(100) / 100
    looks = list(detection_frames(clock))
    assert looks == [0, 20, 40, 60, 80, 99]
    assert list(detection_frames(np.array([0.0, 5.0, 5.01]))) == [0, 1, 2]


def test_the_most_seen_track_of_a_span_comes_first():
    people = FaceTracker()
    for step in range(10):
        people.assign([face(50), *([face(300, size=200.0)] if step < 3 else [])], step * 0.2)
    assert [track.face_id for track in tracks_between(people.tracks, 0.0, 2.0)] == [0, 1]
    assert [track.face_id for track in tracks_between(people.tracks, 1.0, 2.0)] == [0]
    assert tracks_between(people.tracks, 9.0, 9.5) == []
