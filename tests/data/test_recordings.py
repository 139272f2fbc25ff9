"""Long synthetic recordings: what is said to be true of them is true of their pixels, and controls are controls."""

from itertools import pairwise

import numpy as np
import pytest

from aullm_hf.data.synthetic.recordings import SyntheticRecording, synthetic_recording
from aullm_hf.data.synthetic.timelines import SETTINGS
from aullm_hf.evaluation.spotting import kinds_of

SHORT = {"seconds": 20, "fps": 25.0, "seed": 5}


@pytest.fixture(scope="module")
def recording() -> SyntheticRecording:
    return synthetic_recording(**SHORT)


def test_one_seed_one_recording_at_every_frame_rate(recording):
    again, faster = synthetic_recording(**SHORT), synthetic_recording(**SHORT | {"fps": 100.0})
    assert (recording[30] == again[30]).all() and recording[30].shape == (128, 128)
    assert recording.expressions == again.expressions and recording.expressions
    assert len(recording) == 500 and len(faster) == 2000
    for one, other in zip(recording.expressions, faster.expressions, strict=True):
        assert abs((one.onset - 1) / 25 - (other.onset - 1) / 100) <= 0.03
        assert (one.kind, one.aus) == (other.kind, other.aus)
    other = synthetic_recording(**SHORT | {"seed": 6})
    assert other.expressions != recording.expressions and (other[30] != recording[30]).any()


def test_expressions_show_in_their_frames_and_in_no_other(recording):
    """The same recording without expressions is the same picture outside of them, to the last bit."""
    neutral = synthetic_recording(**SHORT, control="neutral")
    assert neutral.expressions == []
    shown = np.zeros(len(recording) + 2, bool)
    for one in recording.expressions:
        shown[one.onset : one.offset + 1] = True
        apex = one.apex - 1
        assert (recording[apex] != neutral[apex]).any()
        assert one.onset < one.apex < one.offset
    for frame in range(1, len(recording), 7):
        if not shown[frame - 1 : frame + 2].any():
            assert (recording[frame - 1] == neutral[frame - 1]).all()


@pytest.mark.parametrize("difficulty", SETTINGS)
def test_timelines_hold_what_they_promise(difficulty):
    """Many minutes: kinds by their length, a distance between expressions, none across what hides the face."""
    for seed in range(3):
        long = synthetic_recording(difficulty=difficulty, seconds=300, fps=200, seed=seed)
        truths = long.expressions
        assert kinds_of(long.table(), 200) == [one.kind for one in truths]
        assert sum(one.kind == "micro" for one in truths) > 15 and sum(one.kind == "longer" for one in truths) > 8
        for one, following in pairwise(truths):
            assert following.onset - one.offset > 0.45 * 200
        assert long.hidden
        for hidden in long.hidden:
            assert all(one.offset < hidden.onset or one.onset > hidden.offset for one in truths)


def test_what_hides_the_face_shows():
    long = synthetic_recording(seconds=120, fps=25, seed=3)
    reasons = {hidden.reason: hidden for hidden in long.hidden}
    gone, cut = reasons["no face"], reasons["cut"]
    assert all(long[at - 1].std() < 6 for at in (gone.onset, gone.offset)) and long[gone.offset].std() > 15
    step, before = (np.abs(long[at - 1].astype(int) - long[at - 2]).mean() for at in (cut.onset, cut.onset - 1))
    assert step > 2 * before


def test_backwards_is_the_recording_from_its_end(recording):
    turned = synthetic_recording(**SHORT, control="backwards")
    last = len(recording) - 1
    assert all((turned[at] == recording[last - at]).all() for at in (0, 77, last))
    spans = [(last + 2 - one.offset, last + 2 - one.apex, last + 2 - one.onset) for one in recording.expressions]
    assert [(one.onset, one.apex, one.offset) for one in turned.expressions] == sorted(spans)


def test_a_still_picture_changes_by_the_cameras_noise_alone():
    still = synthetic_recording(**SHORT, control="still")
    frames = np.stack([still[at] for at in range(0, 500, 25)]).astype(float)
    assert still.expressions == still.hidden == []
    assert 1 < frames.std(axis=0).mean() < 3
    assert np.abs(frames[:10].mean(axis=0) - frames[10:].mean(axis=0)).mean() < 1.2


def test_two_people_stand_side_by_side_and_act_on_their_own():
    pair = synthetic_recording(**SHORT, people=2)
    assert pair[0].shape == (224, 448)
    assert {one.person for one in pair.expressions} == {0, 1}
    alone = synthetic_recording(**SHORT, picture=True)
    assert (alone[40] == pair[40][:, :224]).all()
    assert alone.expressions == [one for one in pair.expressions if one.person == 0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"difficulty": "easy"}, "difficulty='easy' is not allowed; choose one of 'standard', 'hard'"),
        ({"seconds": 2}, "seconds=2 is not allowed"),
        ({"people": 2, "picture": False}, "people=2 do not fit into one crop"),
        ({"control": "mirrored"}, "control='mirrored' is not allowed; choose one of None, 'neutral'"),
    ],
)
def test_wrong_wishes_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        synthetic_recording(**wrong)
