"""Motion of the face's regions: known displacements come back, the head and the light are taken out."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.data.synthetic.recordings import synthetic_recording
from aullm_hf.inference.spotting.region_motion import CHANNELS, REGIONS, RegionMotion, mirrored_channels
from aullm_hf.inference.spotting.signals import RATE, Stretch, cropped_signal

NAMES = list(REGIONS)
SHORT = {"seconds": 12, "fps": 25.0}


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return synthetic_recording(**SHORT, control="neutral")[0]


def warped(face: np.ndarray, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:128, :128].astype(np.float32)
    maps = (x - across).astype(np.float32), (y - down).astype(np.float32)
    return cv2.remap(face, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


@pytest.mark.parametrize("region", ["mouth corner left", "brow inner right", "lower lip"])
@pytest.mark.parametrize(("across", "down"), [(0.8, 0.0), (-0.3, 0.7)])
def test_a_region_that_moves_is_seen_to_move_and_others_are_not(face, region, across, down):
    x0, y0 = REGIONS[region]
    y, x = np.mgrid[:128, :128]
    bump = np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 12**2)
    motion = RegionMotion()
    motion.anchor(face)
    values = motion.measure(warped(face, across * bump, down * bump)).values
    seen = np.stack([values[: len(NAMES)], values[len(NAMES) : 2 * len(NAMES)]], axis=1)
    at = NAMES.index(region)
    true, length = np.array([across, down]), np.hypot(across, down)
    assert seen[at] @ true / (np.linalg.norm(seen[at]) * length) > 0.95  # the direction
    assert 0.4 < np.linalg.norm(seen[at]) / length < 1.1  # one step, damped: shorter than the way
    far = [k for k, (cx, cy) in enumerate(REGIONS.values()) if np.hypot(cx - x0, cy - y0) > 40]
    assert np.linalg.norm(seen[far], axis=1).max() < 0.3


def test_the_head_and_the_light_are_no_motion_of_the_face(face):
    motion = RegionMotion()
    motion.anchor(face)
    turned = cv2.warpAffine(face, np.array([[1, -0.02, 3.0], [0.02, 1, -2.0]]), (128, 128), borderMode=1)
    moved = motion.measure(np.clip(turned * 1.1, 0, 255).astype(np.uint8))
    inner = [k for k, name in enumerate(NAMES) if not name.startswith(("jaw", "forehead", "chin"))]
    flow = np.stack([moved.values[: len(NAMES)], moved.values[len(NAMES) : 2 * len(NAMES)]])
    assert np.abs(flow[:, inner]).max() < 0.25
    assert moved.values[-1] == pytest.approx(np.log(1.1), abs=0.03)
    x, y = moved.values[-5:-3]  # of the middle of the crop
    assert (x, y) == pytest.approx((3.0 - 0.02 * 64, -2.0 + 0.02 * 64), abs=0.25)
    assert moved.fit > 0.95 and 2 < moved.moved < 8


def test_a_mirrored_face_has_mirrored_channels(face):
    y, x = np.mgrid[:128, :128]
    bump = np.exp(-0.5 * ((x - 83) ** 2 + (y - 90) ** 2) / 10**2)
    other = warped(face, 0.7 * bump, -0.5 * bump)
    order, sign = mirrored_channels()
    here, there = RegionMotion(), RegionMotion()
    here.anchor(face)
    there.anchor(np.ascontiguousarray(face[:, ::-1]))
    plain = here.measure(other).values
    turned = there.measure(np.ascontiguousarray(other[:, ::-1])).values
    assert len(plain) == CHANNELS
    assert np.abs(turned - plain[order] * sign).max() < 0.12  # centres of pixels mirror half a pixel beside themselves


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.004, 0.09), min_size=10, max_size=60), st.floats(-3, 3), st.floats(0, 5))
def test_even_motion_is_even_on_the_grid_at_every_frame_rate(gaps, slope, start):
    times = start + np.cumsum(gaps)
    values = [np.full(CHANNELS, slope * (time - start)) for time in times]
    first, even = Stretch(0, times.tolist(), values).even()
    grid = (first + np.arange(len(even))) / RATE
    assert times[0] - 1e-6 <= grid[0] and grid[-1] <= times[-1] + 1e-6
    inside = (grid >= times[0] + 0.5 / RATE) & (grid <= times[-1] - 0.5 / RATE)
    assert np.allclose(even[inside], slope * (grid[inside, None] - start), atol=1e-6)


def test_stretches_end_at_cuts_and_where_no_face_is():
    recording = synthetic_recording(seconds=30, fps=25, seed=10, difficulty="hard")
    hidden = [(one.onset - 1, one.offset - 1, one.reason) for one in recording.hidden]
    assert {reason for *_, reason in hidden} == {"cut", "no face"}
    signal = cropped_signal((at / 25, recording[at]) for at in range(len(recording)))
    long = [(one.first, one.last) for one in signal.stretches if one.seconds > 0.2]
    expected, begin = [], 0
    for first, last, reason in hidden:
        expected.append((begin, first - 1))
        begin = first if reason == "cut" else last + 1
    assert long == [*expected, (begin, len(recording) - 1)]
