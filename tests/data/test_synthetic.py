"""The synthetic benchmark: determined, balanced as documented, told by motion and by nothing else."""

import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.data.labels import PUBLISHED_AUS
from aullm_hf.data.schema import COLUMNS, clip_features
from aullm_hf.data.synthetic.clips import draw_clips, motion_map, synthetic_clips
from aullm_hf.data.synthetic.domains import DOMAINS
from aullm_hf.data.synthetic.drawing import draw_clip
from aullm_hf.data.synthetic.faces import Viewport
from aullm_hf.data.synthetic.motion import AMPLITUDE, FIELDS, au_field, time_course
from aullm_hf.data.synthetic.plans import DIFFICULTIES, synthetic_plans
from support.probes import average_precision, chance_interval, leave_one_out, six

SMALL = {"subjects": 2, "clips_per_subject": 2, "fps": 30.0}


def test_rows_are_what_every_loader_gives():
    clips = synthetic_clips(**SMALL)
    assert clips.features == clip_features(64) and tuple(clips.column_names) == COLUMNS
    for row in clips:
        frames = np.asarray(row["frames"], np.uint8)
        assert frames.shape == (row["offset"] - row["onset"] + 1, 64, 64)
        assert row["onset"] < row["apex"] < row["offset"]
        assert row["aus"] == sorted(set(row["aus"]))
        assert row["clip_id"] == f"{row['dataset']}/{row['subject']}/{row['clip']}/{row['onset']}"
    assert len(set(clips["clip_id"])) == len(clips)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("domain", DOMAINS)
def test_one_seed_one_benchmark(difficulty, domain):
    options = {"difficulty": difficulty, "domain": domain, **SMALL}
    first, again = synthetic_clips(**options, workers=1), synthetic_clips(**options, workers=3)
    other = synthetic_clips(**options, seed=1)
    assert first.to_list() == again.to_list()
    assert first["frames"][0] != other["frames"][0]


def test_the_same_in_another_process():
    code = (
        "import hashlib, numpy as np; from aullm_hf.data.synthetic.clips import draw_clips, synthetic_plans;"
        f"plans = synthetic_plans(difficulty='hard', **{SMALL});"
        "print(hashlib.sha256(b''.join(f.tobytes() for f in draw_clips(plans))).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_some_frames_are_those_of_all():
    plan = synthetic_plans(difficulty="hard", subjects=1, clips_per_subject=1)[0]
    some = draw_clip(plan, only=lambda frames: [0, 3, frames - 1])
    assert np.array_equal(some, draw_clip(plan)[[0, 3, -1]])


def test_people_sizes_and_amplitudes_leave_the_rest_alone():
    """More people, a finer size or a stronger motion change nothing else."""
    few, many = synthetic_plans(subjects=2), synthetic_plans(subjects=5)
    assert many[: len(few)] == few
    plan = next(plan for plan in few if plan.actions)
    fine, coarse = draw_clip(plan, size=128), draw_clip(plan, size=64)
    area = fine.reshape(len(fine), 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.abs(area - coarse).max() <= 1.5  # both are rounded
    still, strong = draw_clip(plan, amplitude=0), draw_clip(plan, amplitude=4)
    assert np.array_equal(still[0], coarse[0]) and np.array_equal(strong[0], coarse[0])
    middle = plan.apex - plan.onset
    assert np.abs(strong[middle] - still[middle].astype(float)).max() > 30


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(DIFFICULTIES)),
    st.sampled_from(list(DOMAINS)),
    st.integers(0, 2**31),
    st.integers(1, 9),
    st.integers(1, 30),
    st.floats(0, 1),
)
def test_plans_are_well_formed(difficulty, domain, seed, subjects, clips, noise):
    plans = synthetic_plans(
        difficulty=difficulty, domain=domain, seed=seed, subjects=subjects, clips_per_subject=clips, label_noise=noise
    )
    assert Counter(plan.subject for plan in plans) == {plan.subject: clips for plan in plans}
    assert len({plan.clip_id for plan in plans}) == len(plans) == subjects * clips
    for plan in plans:
        assert plan.onset < plan.apex < plan.offset
        assert {action.au for action in plan.actions + plan.annotated} <= set(FIELDS)
        assert {action.intensity for action in plan.actions} <= set(AMPLITUDE)
        # One slip changes one AU, or replaces one by another.
        assert len({a.au for a in plan.actions} ^ {a.au for a in plan.annotated}) <= (2 if noise else 0)


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_label_noise_is_the_share_of_mislabelled_clips(noise):
    plans = synthetic_plans(subjects=10, clips_per_subject=60, label_noise=noise)
    wrong = np.mean([{a.au for a in p.actions} != {a.au for a in p.annotated} for p in plans])
    assert abs(wrong - noise) < 0.06
    clean = synthetic_plans(subjects=10, clips_per_subject=60, label_noise=0.0)
    assert [plan.actions for plan in plans] == [plan.actions for plan in clean]


@pytest.mark.parametrize("domain", DOMAINS)
def test_easy_labels_are_balanced_for_everybody(domain):
    plans = synthetic_plans(domain=domain, subjects=20, clips_per_subject=21)
    aus = PUBLISHED_AUS[domain]
    shown = np.array([[au in plan.aus for au in aus] for plan in plans], float)
    assert np.all(shown.reshape(20, 21, -1).sum(1) == 7)  # a third of each person's clips, for each AU
    apart = np.corrcoef(shown.T)[~np.eye(len(aus), dtype=bool)]
    assert np.abs(apart).max() < 0.2


@pytest.mark.parametrize(
    ("domain", "published", "total"),
    [
        ("casme2", {1: 28, 2: 25, 4: 125, 5: 5, 6: 10, 7: 38, 9: 9, 10: 18, 12: 39, 14: 22, 15: 17, 16: 5, 17: 26,
                    18: 1, 20: 2, 24: 6, 25: 2, 26: 1, 38: 2}, 255),
        ("samm", {2: 18, 4: 23, 5: 10, 6: 3, 7: 46, 10: 6, 12: 28, 24: 9, 43: 8}, 159),
    ],
)  # fmt: skip
def test_combinations_have_the_published_margins(domain, published, total):
    counts = Counter()
    for combination, clips in DOMAINS[domain].combinations.items():
        for au in combination.split("+"):
            counts[int(au)] += clips
    assert {au: counts[au] for au in published} == published
    assert sum(DOMAINS[domain].combinations.values()) == total == sum(DOMAINS[domain].clips_per_subject.values())


def test_standard_labels_are_as_often_as_published():
    plans = synthetic_plans(difficulty="standard", subjects=60, clips_per_subject=40, label_noise=0.0)
    for au, count in ((4, 125), (12, 39), (7, 38), (1, 28)):
        share = np.mean([au in plan.aus for plan in plans])
        assert abs(share - count / 255) < 0.1  # people have habits, which even the shares out a little


def test_published_numbers_of_clips():
    plans = synthetic_plans(difficulty="standard", domain="samm", subjects=29, clips_per_subject="published")
    assert Counter(plan.subject for plan in plans) == DOMAINS["samm"].clips_per_subject


def test_domains_differ_as_the_data_sets_do():
    people = [synthetic_plans(domain=domain, subjects=12, clips_per_subject=1) for domain in DOMAINS]
    brightness = [np.mean([*draw_clips(plans, only=lambda frames: [0])]) for plans in people]
    assert brightness[0] > brightness[1] + 15
    lengths = [[plan.frames for plan in synthetic_plans(domain=d, subjects=20)] for d in DOMAINS]
    assert min(lengths[0]) >= 24 and 100 < max(lengths[0]) <= 141
    assert min(lengths[1]) >= 30 and max(lengths[1]) <= 101
    assert np.median(lengths[1]) > np.median(lengths[0])


@given(st.sampled_from(sorted(FIELDS)), st.sampled_from(["", "L", "R"]))
@settings(max_examples=60, deadline=None)
def test_a_field_peaks_at_one_pixel_on_its_side(au, side):
    person = synthetic_plans(subjects=1, clips_per_subject=1)[0].person
    x, y = Viewport().grid()
    length = np.hypot(*au_field(au, person, x, y, side))  # (128, 128)
    # A side alone lacks the other's share near the middle line.
    assert (0.85 if side == "" else 0.45) < length.max() < 1.05
    edge = np.concatenate([length[0], length[-8:].max(0), length[:, 0], length[:, -1]])
    assert edge.max() < 0.35 * length.max() or au in (17, 26)  # chin and jaw reach the lower edge
    left, right = length[:, 70:].max(), length[:, :58].max()  # the person's left is on the image's right
    if side == "L":
        assert left > right
    elif side == "R":
        assert right > left
    else:
        assert left == pytest.approx(right, rel=0.05)


@given(st.integers(3, 300), st.floats(0, 1), st.floats(0.0, 0.5), st.floats(0, 0.3))
def test_the_course_of_time_rises_to_one_and_falls(frames, place, hold, rest):
    apex = min(max(round(place * (frames - 1)), 1), frames - 2)
    course = time_course(frames, apex, hold=hold, rest=rest)
    assert course[0] == 0 and course[apex] == pytest.approx(1, abs=1e-4)
    assert course[-1] <= 1 and course.min() >= 0
    assert np.all(np.diff(course[: apex + 1]) >= -1e-6) and np.all(np.diff(course[apex:]) <= 1e-6)


def test_motion_maps_lie_where_the_frames_change():
    found = 0
    for plan in synthetic_plans(subjects=2, clips_per_subject=10):
        total = sum(motion_map(plan, au) for au in plan.aus)
        assert not motion_map(plan, 26).any()  # not shown
        if len(plan.aus) == 1:
            frames = draw_clip(plan, only=lambda _, at=plan.apex - plan.onset: [0, at]).astype(np.float32)
            changed = np.abs(frames[1] - frames[0])
            assert changed[total > 0.5].mean() > 4 * changed[total < 0.02].mean()
            assert max(AMPLITUDE[a.intensity] for a in plan.actions) * 0.75 < total.max() < 1.5
            found += 1
    assert found


@pytest.fixture(scope="module")
def easy():
    """(n, 6, 64, 64) frames, (n, 8) labels and people of the default benchmark, with twice as many people."""
    plans = synthetic_plans(subjects=12)
    frames = np.stack([*draw_clips(plans, only=six)]).astype(np.float32)
    labels = np.array([[au in plan.aus for au in PUBLISHED_AUS["casme2"]] for plan in plans], float)
    return frames, labels, np.array([plan.subject for plan in plans])


def test_differences_tell_every_au(easy):
    frames, labels, subjects = easy
    change = ((frames[:, 2] + frames[:, 3]) / 2 - frames[:, 0]) / frames[:, 0].clip(10)
    scores = leave_one_out(change.reshape(len(change), -1), labels, subjects)
    found = [average_precision(labels[:, k], scores[:, k]) for k in range(labels.shape[1])]
    assert min(found) >= 0.8, dict(zip(PUBLISHED_AUS["casme2"], np.round(found, 2), strict=True))


@pytest.mark.parametrize("at", range(6))
def test_a_single_frame_tells_nothing(easy, at):
    """Frame 0 stands for clips whose frames are all replaced by the onset, too."""
    frames, labels, subjects = easy
    scores = leave_one_out(frames[:, at].reshape(len(frames), -1), labels, subjects)
    low, high = chance_interval(labels, scores, np.random.default_rng(0))
    assert low <= 0.5 <= high or high < 0.5, (low, high)


def test_drawing_keeps_its_pace():
    """250 clips of 60 frames in under a minute on two cores; here some of them on one."""
    plans = synthetic_plans(difficulty="hard", subjects=2, clips_per_subject=5)
    start = time.process_time()
    frames = sum(len(clip) for clip in draw_clips(plans, size=128, workers=1))
    assert (time.process_time() - start) / frames < 60 / 15_000


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"difficulty": "medium"},
            "difficulty='medium' is not allowed; choose one of 'easy', 'standard', 'hard', 'wild'",
        ),
        ({"domain": "smic"}, "domain='smic' is not allowed"),
        ({"size": 60}, "size=60 must divide 128"),
        ({"subjects": 0}, "subjects=0"),
        ({"clips_per_subject": 0}, "clips_per_subject=0"),
        ({"clips_per_subject": [3]}, "names 1 counts, but there are subjects=6"),
        ({"clips_per_subject": "all"}, "choose one of 'published'"),
        ({"clips_per_subject": "published", "subjects": 40}, "subjects=40"),
        ({"label_noise": 2}, "label_noise=2"),
        ({"fps": -1}, "fps=-1"),
        ({"aus": []}, "name at least one AU"),
        ({"aus": [4, 99]}, "99 is not a FACS code"),
        ({"aus": [11], "difficulty": "standard"}, r"AU \[11\]"),
    ],
)
def test_errors_name_the_value_and_what_is_allowed(options, said):
    with pytest.raises(ValueError, match=said):
        synthetic_clips(**options)
