"""Killed anywhere, a run goes on where it was: the same bytes, and no finished fold twice."""

import json

import pytest

from support.tiny_run import killed_at, tables, tiny_yaml, train


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_yaml(tmp_path_factory.mktemp("resume"))


@pytest.fixture(scope="module")
def undisturbed(config):
    run = config.parent / "undisturbed"
    train(config, run)
    return run


def _seconds(run):
    return {path.parent.name: json.loads(path.read_text())["seconds"] for path in run.glob("folds/*/fold.json")}


# What is being written when the kill comes: a checkpoint of the Trainer's, its seal, the old one's deletion, the final
# checkpoint, the tables, the fold's last file, the deletion of what is not needed any more, the assembled table.
MOMENTS = {
    "optimizer state not written": ("aullm_hf.training.trainer", "save_state", 1, False),
    "unsealed checkpoint": ("aullm_hf.training.trainer", "seal", 2, False),
    "sealed, the old one still there": ("aullm_hf.training.trainer", "seal", 2, True),
    "final checkpoint not in place": ("aullm_hf.training.fold", "replace_folder", 1, False),
    "test table written": ("aullm_hf.training.fold", "write_table", 3, True),
    "before fold.json": ("aullm_hf.training.fold", "finish", 2, False),
    "fold.json there, leftovers too": ("aullm_hf.training.run_state", "sync", 1, True),
    "before the tables": ("aullm_hf.training.loop", "assemble_run", 1, False),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_costs_nothing_that_was_finished(config, undisturbed, tmp_path, moment):
    module, name, call, after = MOMENTS[moment]
    run = tmp_path / "run"
    assert killed_at(module, name, call, train, config, run, after=after) == -9
    finished = _seconds(run)
    assert train(config, run) == 0
    assert tables(run) == tables(undisturbed)
    assert finished.items() <= _seconds(run).items()
    assert not list(run.glob("folds/*/work")) and not list(run.glob("**/*.partial"))


def test_the_first_half_of_a_refit_is_not_trained_again(config, tmp_path):
    options = ["--inner", "refit", "--folds", "sub01"]
    train(config, tmp_path / "undisturbed", *options)
    run = tmp_path / "run"
    assert killed_at("aullm_hf.training.fold", "fit", 2, train, config, run, *options) == -9
    kept = run / "folds" / "sub01" / "work" / "choose" / "calibration.json"
    assert kept.is_file()
    assert train(config, run, *options) == 0
    one, other = (path / "folds/sub01" for path in (run, tmp_path / "undisturbed"))
    for name in ("predictions.parquet", "inner.parquet", "checkpoint/model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
