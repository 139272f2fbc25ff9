"""Windows of a recording: every frame is in one, each as long as asked, in order, whatever the frame rate does."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aullm_hf.inference.reading.windows import DEFAULT_WINDOW, MAX_CLIP_SECONDS, check_window, split_into_windows

rising = st.lists(st.integers(1, 400), min_size=1, max_size=120).map(lambda gaps: np.cumsum(gaps) / 1000)


@given(times=rising, window=st.integers(50, 3000), share=st.integers(10, 100))
def test_windows_cover_every_frame_in_order_and_keep_their_length(times, window, share):
    window, stride = window / 1000, window * share / 100 / 1000
    found = list(split_into_windows(times, len(times), window, stride)[0])
    covered = {index for span in found for index in range(span.first, span.last + 1)}
    assert covered == set(range(len(times)))
    assert [span.number for span in found] == list(range(len(found)))
    assert all(a.start <= b.start for a, b in pairwise(found))
    for span in found:
        inside = times[span.first : span.last + 1]
        if span.length > 0:
            assert (span.start, span.end) == (inside[0], inside[-1])
            assert span.end - span.start < window + 1e-6 or len(found) == 1
    if len(found) > 1:  # the last window is no stub: it reaches back a whole window from the end
        assert times[found[-1].first] >= times[-1] - window - 1e-6
        assert found[-1].first == 0 or times[found[-1].first - 1] <= times[-1] - window + 1e-5


def test_a_regular_recording_is_cut_as_one_would_by_hand():
    times = np.arange(250) / 25  # 10 s
    found = list(split_into_windows(times, 250, 1.0, 0.5)[0])
    assert [span.first for span in found[:3]] == [0, 13, 25]  # 0.5 s lies between frame 12 (0.48) and 13 (0.52)
    assert [span.start for span in found[:3]] == pytest.approx([0, 0.52, 1.0])
    assert [span.end for span in found[:3]] == pytest.approx([0.96, 1.48, 1.96])
    assert found[-1].end == times[-1]


def test_a_gap_is_one_window_however_long():
    times = np.array([0, 0.1, 0.2, 1e9, 1e9 + 0.1, 1e9 + 0.2])
    found = list(split_into_windows(times, 6, 0.5, 0.25)[0])
    assert [span.length for span in found] == [3, 0, 3]
    assert found[1].start == pytest.approx(0.25) and found[1].end == 1e9


def test_clips_stay_whole_and_recordings_are_cut_unless_told_otherwise():
    clip, recording = np.arange(100) / 100, np.arange(1000) / 100
    for given_times, window, count in ((clip, None, 1), (recording, 0, 1), (recording, None, None), (clip, 0.5, None)):
        found, note = split_into_windows(given_times, len(given_times), window, None)
        found = list(found)
        assert len(found) == count if count else len(found) > 1
        assert bool(note) == (given_times is recording and window is None)
    assert (
        f"lasts 10.0 s and was read in windows of {DEFAULT_WINDOW} s"
        in split_into_windows(recording, 1000, None, None)[1]
    )
    assert recording[-1] > MAX_CLIP_SECONDS


def test_without_times_nothing_is_cut_and_that_is_said():
    found, note = split_into_windows(None, 40, 0.5, None)
    assert [(span.first, span.last, span.start, span.end) for span in found] == [(0, 39, None, None)]
    assert "give fps" in note
    assert split_into_windows(None, 40, None, None)[1] == ""


@pytest.mark.parametrize(
    ("window", "stride", "said"),
    [
        (-1, None, "window=-1"),
        (float("nan"), None, "window=nan"),
        (0.5, 0, "stride=0"),
        (0.5, 0.6, "at most the window's 0.5"),
        (None, 0.6, "at most the window's 0.5"),
        (0, 0.1, "a stride needs a window"),
    ],
)
def test_senseless_windows_are_refused(window, stride, said):
    with pytest.raises(ValueError, match=said):
        check_window(window, stride)
