"""The run's clips: what a run's fingerprint and a checkpoint's description of its training data say."""

import json

import numpy as np
import pytest

from aullm_hf.data import load_clips
from aullm_hf.model import AULLMConfig
from aullm_hf.training.data import RunData, data_fingerprint, load_run_data, training_data
from aullm_hf.training.settings import DataSettings
from support.clip_trees import casme2_tree
from support.tiny_run import tiny_yaml, train


def _flip_a_pixel(clips):
    """The same clips, one pixel of the first another: as on a machine whose arithmetic differs in the last bit."""

    def change(row, index):
        frames = np.asarray(row["frames"], dtype=np.uint8)
        frames[0, 0, 0] ^= 1 if index == 0 else 0
        return {"frames": frames}

    return clips.map(change, with_indices=True, features=clips.features)


def _fingerprint(**fields):
    settings = DataSettings(**{"subjects": 2, "clips_per_subject": "3", "aus": ["1", "4"], **fields})
    return load_run_data(settings, 16).fingerprint


def test_a_fingerprint_is_of_what_was_asked_for(monkeypatch):
    fingerprint = _fingerprint()
    assert _fingerprint() == fingerprint and len(fingerprint) == 64
    others = [_fingerprint(subjects=3), _fingerprint(clips_seed=1), _fingerprint(difficulty="hard")]
    others += [_fingerprint(datasets=["synthetic-samm"]), _fingerprint(aus=["1", "4", "12"])]
    monkeypatch.setattr("aullm_hf.training.data.code_fingerprint", lambda synthetic: "another version of the code")
    others.append(_fingerprint())
    assert len({fingerprint, *others}) == 1 + len(others)


def test_a_fingerprint_holds_no_pixel():
    settings = DataSettings(subjects=2, clips_per_subject="3")
    clips = load_clips("synthetic", subjects=2, clips_per_subject=3, size=16)
    other = _flip_a_pixel(clips)
    assert clips[0]["frames"] != other[0]["frames"]
    same, flipped = (data_fingerprint(settings, 16, {"synthetic-casme2": one}) for one in (clips, other))
    assert same == flipped


def test_machines_that_differ_in_a_pixel_share_a_run(tmp_path, monkeypatch):
    config, run = tiny_yaml(tmp_path, training={"num_train_epochs": 1}), tmp_path / "run"
    assert train(config, run, "--folds", "sub01") == 0

    def elsewhere(*args, **options):
        return _flip_a_pixel(load_clips(*args, **options))

    monkeypatch.setattr("aullm_hf.training.data.load_clips", elsewhere)
    assert train(config, run) == 0 and (run / "predictions.parquet").is_file()


@pytest.mark.parametrize(
    ("fields", "datasets", "text"),
    [
        ({}, ["synthetic-casme2"], "synthetic-casme2 v2 (easy), SYNTHETIC faces"),
        ({}, ["casme2", "samm"], "casme2, samm"),
        ({"difficulty": "hard"}, ["samm", "synthetic-samm"], "samm, synthetic-samm v2 (hard), partly SYNTHETIC faces"),
        ({"labels": "shuffled"}, ["casme2"], "casme2; CONTROL: labels shuffled"),
        ({"frames": "onset"}, ["casme2"], "casme2; CONTROL: first frames only"),
    ],
)
def test_what_a_model_says_it_was_trained_on(fields, datasets, text):
    assert training_data(DataSettings(**fields), datasets) == text


def test_a_checkpoint_says_what_it_was_trained_on(tmp_path):
    """In a cross-domain run that is the source; the final fit has seen both."""
    data = {"datasets": ["synthetic-casme2", "synthetic-samm"], "aus": ["cross_domain"], "subjects": 4}
    protocol = {"protocol": "cross_domain", "source": "synthetic-samm", "target": "synthetic-casme2"}
    config = tiny_yaml(tmp_path, data=data, protocol=protocol, training={"max_steps": 1, "save_strategy": "no"})
    assert train(config, tmp_path / "run", "--final_fit") == 0
    (fold,) = (tmp_path / "run" / "folds").iterdir()
    crossed, final = (AULLMConfig.from_pretrained(path / "checkpoint") for path in (fold, tmp_path / "run" / "final"))
    assert crossed.training_data == "synthetic-samm v2 (easy), SYNTHETIC faces"
    assert final.training_data == "synthetic-casme2 v2 (easy), synthetic-samm v2 (easy), SYNTHETIC faces"
    assert crossed.clips_cropped is final.clips_cropped is True


@pytest.mark.parametrize(
    ("face", "cropped"), [(None, True), ({"face": "none"}, True), ({"face": "align", "size": 64}, False)]
)
def test_clips_are_cropped_where_no_recipe_of_the_run_crops_them(face, cropped):
    assert RunData(None, "", "", face).clips_cropped is cropped


def test_another_copy_of_the_frames_is_another_fingerprint(tmp_path):
    root = casme2_tree(tmp_path / "CASME2")
    settings = DataSettings(datasets=["casme2"], root=[str(root)], face="none")
    before = load_run_data(settings, 16).fingerprint
    moved = root.rename(tmp_path / "elsewhere")
    elsewhere = DataSettings(datasets=["casme2"], root=[str(moved)], face="none")
    assert load_run_data(elsewhere, 16).fingerprint == before
    frame = next(moved.rglob("*.jpg"))
    frame.write_bytes(frame.read_bytes() + b"\0")
    assert load_run_data(elsewhere, 16).fingerprint != before


def test_the_fingerprint_is_recorded(tmp_path):
    config = tiny_yaml(tmp_path)
    assert train(config, tmp_path / "run", "--folds", "none") == 0
    recorded = json.loads((tmp_path / "run" / "run.json").read_text())["data"]["fingerprint"]
    assert recorded == _fingerprint(subjects=3, clips_per_subject="6", aus=["1", "4", "12"])
