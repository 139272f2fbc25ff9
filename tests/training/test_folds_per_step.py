"""`--folds_per_step`: the ordinary run's folder, files and figures, however it is stopped and gone on with."""

import errno
import gc
import json
import os
import signal
import time
import weakref
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest

from support.deadline import within
from support.tiny_run import baseline_yaml, killed_at, tiny_yaml, train

# Logits are written to four decimals: rounding may fall either way of one, and a few steps carry it on.
ATOL = 1e-3


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_yaml(tmp_path_factory.mktemp("joint"))


@pytest.fixture(scope="module")
def alone(config):
    train(config, config.parent / "alone")
    return config.parent / "alone"


def _together(config, run, count, *options):
    return within(200, lambda: train(config, run, "--folds_per_step", str(count), *options))


def _files(run):
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if ".locks" not in str(path))


def _assert_the_same(run, other, logs=True):
    assert _files(run) == _files(other)
    for name in ("predictions.parquet", "inner.parquet"):
        one, two = (pd.read_parquet(folder / name) for folder in (run, other))
        numbers = [column for column in one if column.startswith(("z_", "p_"))]
        pd.testing.assert_frame_equal(one.drop(columns=numbers), two.drop(columns=numbers))
        assert np.allclose(one[numbers], two[numbers], rtol=0, atol=ATOL), name
    for entry in run.glob("folds/*/fold.json") if logs else ():
        both = [json.loads((folder / "folds" / entry.parent.name / "log.json").read_text()) for folder in (run, other)]
        for here, there in zip(*both, strict=True):
            assert [here[name] for name in ("step", "epoch", "learning_rate")] == [
                there[name] for name in ("step", "epoch", "learning_rate")
            ]
            assert here["loss"] == pytest.approx(there["loss"], abs=1e-4)
            assert here["grad_norm"] == pytest.approx(there["grad_norm"], rel=1e-3)


def _stamps(run):
    return {path.parent.name: path.stat().st_mtime_ns for path in run.glob("folds/*/fold.json")}


@pytest.mark.parametrize("count", [2, 3])
def test_the_run_is_the_ordinary_one(config, alone, tmp_path, count):
    begun = time.perf_counter()
    assert _together(config, tmp_path / "run", count) == 0
    passed = time.perf_counter() - begun
    _assert_the_same(tmp_path / "run", alone)
    seconds = [json.loads(path.read_text())["seconds"] for path in (tmp_path / "run").glob("folds/*/fold.json")]
    assert 0.2 * passed < sum(seconds) < passed  # a fold's are its share of what passed


@pytest.mark.parametrize(
    "options",
    [
        "--per_device_train_batch_size 2 --gradient_accumulation_steps 4",  # an epoch's last step has another number
        pytest.param("--inner refit --seeds 1 2", marks=pytest.mark.slow),
        pytest.param("--save_steps 100 --include_last true --clip_sampling balanced", marks=pytest.mark.slow),
    ],
)
def test_so_it_is_whatever_a_run_may_ask_for(tmp_path, options):
    config = tiny_yaml(tmp_path, data={"clips_per_subject": 5}, training={"num_train_epochs": 2})
    train(config, tmp_path / "alone", *options.split())
    assert _together(config, tmp_path / "run", 3, *options.split()) == 0
    _assert_the_same(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_half_precision_agrees_within_its_rounding(config, tmp_path):
    train(config, tmp_path / "alone", "--bf16", "true", "--num_train_epochs", "1")
    _together(config, tmp_path / "run", 3, "--bf16", "true", "--num_train_epochs", "1")
    one, two = (pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("alone", "run"))
    numbers = [column for column in one if column.startswith("z_")]
    assert np.allclose(one[numbers], two[numbers], atol=0.02)


# What is being written when the kill comes, while the other folds are somewhere else; how many go on.
KILLS = [
    pytest.param("fold_trainer", "seal", 5, True, 2, id="a second checkpoint"),
    pytest.param("fold_trainer", "seal", 1, False, 3, id="the first checkpoint, unsealed", marks=pytest.mark.slow),
    pytest.param("fold", "write_table", 1, True, 3, id="the first fold's table", marks=pytest.mark.slow),
    pytest.param("fold", "finish", 2, True, 3, id="the second fold is finished", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("module", "name", "call", "after", "count"), KILLS)
def test_a_kill_costs_nothing_that_was_finished(config, alone, tmp_path, module, name, call, after, count):
    """Begun three at a time, gone on with `count`."""
    run = tmp_path / "run"
    assert killed_at(module, name, call, train, config, run, "--folds_per_step", "3", after=after) == -9
    finished = _stamps(run)
    assert _together(config, run, count) == 0
    _assert_the_same(run, alone)
    assert finished.items() <= _stamps(run).items()


@pytest.mark.slow
def test_what_was_begun_alone_is_finished_together_and_the_other_way_round(config, alone, tmp_path):
    run = tmp_path / "run"
    assert killed_at("fold_trainer", "seal", 4, train, config, run) == -9
    assert killed_at("fold_trainer", "seal", 4, train, config, run, "--folds_per_step", "2") == -9
    assert train(config, run) == 0
    _assert_the_same(run, alone)


def _broken(monkeypatch, error):
    import fold

    original = fold.write_table

    def broken(table, path):
        if path.parent.name == "sub01":
            raise error
        original(table, path)

    monkeypatch.setattr(fold, "write_table", broken)


def test_the_folds_models_are_gone_before_anything_follows(config, alone, monkeypatch):
    """Such as the final fit, which needs the memory. The folds are finished: the models are made all the same."""
    import joint_llm
    import train as runner

    made, alive = [], []
    original, report = joint_llm.JointLLM.__init__, runner.report

    def noted(self, *args):
        original(self, *args)
        made.extend(map(weakref.ref, self.models))

    monkeypatch.setattr(joint_llm.JointLLM, "__init__", noted)
    monkeypatch.setattr(runner, "report", lambda *args: alive.extend(one() for one in made) or report(*args))
    gc.disable()
    try:
        assert _together(config, alone, 2) == 0
    finally:
        gc.enable()
    assert alive == [None, None]


def test_an_error_of_a_fold_leaves_those_beside_it_and_after_it_alone(config, tmp_path, monkeypatch, capsys):
    _broken(monkeypatch, ZeroDivisionError("a bug"))
    assert _together(config, tmp_path / "run", 2) == 1
    assert set(_stamps(tmp_path / "run")) == {"sub02", "sub03"}
    assert "1 of 3 folds failed: sub01: ZeroDivisionError: a bug" in capsys.readouterr().err


def test_a_full_disk_ends_the_launch_once_those_in_training_are_finished(config, tmp_path, monkeypatch, capsys):
    _broken(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    assert _together(config, tmp_path / "run", 2) == 1
    assert set(_stamps(tmp_path / "run")) == {"sub02"}
    said = capsys.readouterr()
    assert "OSError: no further fold is begun; those in training are finished first." in said.out
    assert "train.py: No space left on device. Mend that first." in said.err


def _interrupted(config, run, number=signal.SIGINT):
    """A signal while all folds are in training; it reaches the main thread."""
    import fold_trainer

    original, calls = fold_trainer.seal, []

    def seal(checkpoint):
        original(checkpoint)
        calls.append(checkpoint)
        if len(calls) == 4:
            os.kill(os.getpid(), number)

    fold_trainer.seal = seal
    if train(config, run, "--folds_per_step", "3") == 128 + number:
        raise SystemExit(77 if len(calls) < 8 else 78)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_stops_all_of_them_and_the_run_goes_on_from_there(config, alone, tmp_path, number):
    run = tmp_path / "run"
    process = get_context("fork").Process(target=_interrupted, args=(config, run, number))
    process.start()
    process.join(120)
    assert process.exitcode == 77
    assert not _stamps(run) and list(run.glob("folds/*/work/checkpoint-*"))
    assert train(config, run) == 0
    # SIGTERM leaves a checkpoint between two lines of the log, and the next line is the mean of fewer steps.
    _assert_the_same(run, alone, logs=number == signal.SIGINT)


def _beside(config, run, rank):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    train(config, run, "--fold_parallel", "--folds_per_step", "2")


@pytest.mark.slow
def test_two_processes_of_two_folds_each(tmp_path):
    config = tiny_yaml(tmp_path, data={"subjects": 5})
    train(config, tmp_path / "alone")
    processes = [get_context("fork").Process(target=_beside, args=(config, tmp_path / "run", rank)) for rank in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0, 0]
    _assert_the_same(tmp_path / "run", tmp_path / "alone")


@pytest.mark.slow
def test_the_final_fit_follows(config, alone, tmp_path):
    train(config, tmp_path / "alone", "--folds", "none", "--final_fit")
    assert _together(config, tmp_path / "run", 3, "--final_fit", "--folds", "sub01,sub02") == 0  # waits for sub03
    assert not (tmp_path / "run" / "final").exists()
    assert _together(config, tmp_path / "run", 3, "--final_fit") == 0
    one, two = (
        json.loads((tmp_path / name / "final" / "log.json").read_text())[-1]["loss"] for name in ("alone", "run")
    )
    assert one == pytest.approx(two, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--activation_checkpointing true", "does not go with activation_checkpointing: True"),
        ("--report_to trackio", "does not go with report_to: trackio"),
    ],
)
def test_what_cannot_be_joined_is_refused_by_name(config, tmp_path, capsys, options, said):
    assert _together(config, tmp_path / "run", 2, *options.split()) == 2
    error = capsys.readouterr().err
    assert f"train.py: --folds_per_step 2 {said}" in error and error.count("\n") == 1


def test_a_baseline_has_nothing_to_share(tmp_path, capsys):
    assert _together(baseline_yaml(tmp_path, "resnet18"), tmp_path / "run", 2) == 2
    assert "resnet18 has no LLM that folds could share" in capsys.readouterr().err


def test_a_count_below_one_is_refused(config, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        train(config, tmp_path / "run", "--folds_per_step", "0")
    assert ended.value.code == 2 and "--folds_per_step is 0; it is 1 or more" in capsys.readouterr().err
