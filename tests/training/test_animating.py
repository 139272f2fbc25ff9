"""`augment_animate`: clips of the training subjects' onset frames, and of nobody else's."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.data import load_clips
from aullm_hf.data.synthetic.animated_clips import animated_clips
from aullm_hf.model import AULLMForAUDetection
from aullm_hf.training.animating import animated_count, with_animated
from aullm_hf.training.clips import clips_of
from support.probes import chance_interval, leave_one_out, roc_auc
from support.tiny_run import tiny_yaml, train

AUS = [1, 4, 12]
ASKED = {"aus": AUS, "frames": 6, "seed": 1, "key": "s01"}


@pytest.fixture(scope="module")
def clips():
    return clips_of(load_clips("synthetic", subjects=4, clips_per_subject=3, size=16, aus=AUS), AUS)


@settings(max_examples=8, deadline=None)
@given(st.sets(st.integers(0, 11), min_size=1), st.floats(0.1, 2.5), st.integers(0, 99))
def test_only_onset_frames_of_the_rows_given_are_used(clips, rows, share, seed):
    """Whatever the other clips show: other pixels, labels or subjects there change nothing."""
    rows = sorted(rows)
    more, drawn = with_animated(clips, rows, share, **(ASKED | {"seed": seed}))
    other = np.setdiff1d(np.arange(12), rows)
    frames, labels = clips.frames.copy(), clips.labels.copy()
    onsets = clips.starts[rows]
    untouched = np.zeros(len(frames), bool)
    untouched[onsets] = True
    frames[~untouched] = 255 - frames[~untouched]  # of the rows themselves nothing but the onset is looked at
    labels[other] = 1 - labels[other]
    again, _ = with_animated(replace(clips, frames=frames, labels=labels), rows, share, **(ASKED | {"seed": seed}))
    new = slice(len(clips.frames), None)
    assert np.array_equal(more.frames[new], again.frames[new]) and np.array_equal(more.labels[12:], again.labels[12:])
    assert drawn == [*rows, *range(12, len(more))] and len(more) == 12 + animated_count(share, len(rows))
    assert set(more.table["subject"][12:]) <= {clips.table["subject"][row] for row in rows}
    assert np.array_equal(more.frames[: new.start], clips.frames) and np.array_equal(more.labels[:12], clips.labels)
    assert np.array_equal(more.lengths[12:], [6] * (len(more) - 12)) and len(set(more.table["clip_id"])) == len(more)
    for row in range(12, len(more)):
        assert more.table["aus"][row] == [au for au, on in zip(AUS, more.labels[row], strict=True) if on]


def test_a_fold_trains_on_what_is_made_of_its_training_clips_alone(tmp_path, monkeypatch):
    """Through a whole run: no onset of a test subject, nor of one held out inside the fold, is ever animated."""
    from aullm_hf.training import animating

    given, original = [], animating.animated_clips
    monkeypatch.setattr(
        animating,
        "animated_clips",
        lambda onsets, *rest, **more: given.append(onsets) or original(onsets, *rest, **more),
    )
    config = tiny_yaml(tmp_path, training={"num_train_epochs": 1, "save_strategy": "no", "augment_animate": 2.0})
    assert train(config, tmp_path / "run", "--folds", "sub01") == 0
    dataset = load_clips("synthetic", subjects=3, clips_per_subject=6, size=16, aus=AUS)
    clips = clips_of(dataset, AUS)
    owner = {clips.frames[start].tobytes(): subject for start, subject in
             zip(clips.starts, clips.table["subject"], strict=False)}  # fmt: skip
    assert len(owner) == 18 and len(given) == 1
    used = {owner[onset.tobytes()] for onset in given[0]}
    assert len(given[0]) == 12 and len(used) == 1 and "01" not in used  # of three people one is tested, one held out
    seen = json.loads((tmp_path / "run/folds/sub01/fold.json").read_text())["seen_subjects"]
    held_out = pd.read_parquet(tmp_path / "run/folds/sub01/inner.parquet")["subject"].unique()
    assert {name.split(":")[1] for name in seen} == used | set(held_out) and not used & set(held_out)
    model = AULLMForAUDetection.from_pretrained(tmp_path / "run/folds/sub01/checkpoint")
    assert model.config.training_data.endswith("with animated copies of training clips")


def test_labels_are_what_moves_and_shuffled_ones_are_not():
    """A linear probe reads the labels from how animated clips change, at chance where they are shuffled or frozen."""
    people = clips_of(load_clips("synthetic", subjects=4, clips_per_subject=3, size=32), [1])
    onsets = np.tile(people.frames[people.starts[:-1]], (20, 1, 1))
    frames, labels = animated_clips(onsets, AUS, seed=(6,))
    frames = frames.astype(np.float32)
    change = ((frames[:, 2:4].mean(axis=1) - frames[:, 0]) / frames[:, 0].clip(10)).reshape(len(frames), -1)
    groups = np.arange(len(frames)) // 48  # of 240 clips
    told = leave_one_out(change, labels, groups)
    scores = [roc_auc(labels[:, k], told[:, k]) for k in range(3)]
    assert min(scores) > 0.7, scores
    for features, y in (
        (frames[:, 0].reshape(len(frames), -1), labels),
        (change, np.random.default_rng(0).permutation(labels)),
    ):
        low, high = chance_interval(y, leave_one_out(features, y, groups), np.random.default_rng(0))
        assert low <= 0.5 <= high or high < 0.5, (low, high)


def test_under_shuffled_labels_those_of_animated_clips_are_shuffled_too(clips):
    rows = list(range(12))
    true, _ = with_animated(clips, rows, 4.0, **ASKED)
    shuffled, _ = with_animated(clips, rows, 4.0, **ASKED, shuffled=True)
    assert np.array_equal(true.frames, shuffled.frames)
    assert not np.array_equal(true.labels[12:], shuffled.labels[12:])
    assert sorted(map(tuple, true.labels[12:])) == sorted(map(tuple, shuffled.labels[12:]))


def test_a_wrong_share_is_refused(tmp_path, capsys):
    config = tiny_yaml(tmp_path, training={"augment_animate": -1})
    assert train(config, tmp_path / "run") == 2
    assert "augment_animate is -1" in capsys.readouterr().err
