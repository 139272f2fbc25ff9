"""The runner as people start it: by torchrun, by accelerate, many folds long, and on to the Hub."""

import gc
import os
import subprocess
import sys

import pandas as pd
import psutil
import pytest

from support.tiny_run import ROOT, tables, tiny_yaml, train


def _launch(*words, cwd=ROOT, **environ):
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": os.environ["TEST_SESSION"], **environ},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _torchrun(*words):
    port = str(29500 + os.getpid() % 1000)
    return _launch(
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", port, *words
    )


@pytest.mark.slow
def test_torchrun_side_by_side_is_one_process_to_the_bit(tmp_path):
    config = tiny_yaml(tmp_path)
    _torchrun("training/train.py", "--config", config, "--output_dir", tmp_path / "two", "--fold_parallel")
    _launch(sys.executable, "training/train.py", "--config", config, "--output_dir", tmp_path / "one")
    assert tables(tmp_path / "two") == tables(tmp_path / "one")


@pytest.mark.slow
def test_torchrun_data_parallel_writes_the_same_kind_of_run(tmp_path):
    config = tiny_yaml(tmp_path, training={"per_device_train_batch_size": 2})
    _torchrun("training/train.py", "--config", config, "--output_dir", tmp_path / "two")
    train(tiny_yaml(tmp_path / "one"), tmp_path / "one" / "run")
    two, one = (pd.read_parquet(run / "predictions.parquet") for run in (tmp_path / "two", tmp_path / "one" / "run"))
    assert two["clip_id"].tolist() == one["clip_id"].tolist() and two["y_AU4"].tolist() == one["y_AU4"].tolist()
    _torchrun("training/train.py", "--config", config, "--output_dir", tmp_path / "last", "--folds", "sub03")
    last, same = (tmp_path / name / "folds/sub03/checkpoint/model.safetensors" for name in ("last", "two"))
    assert last.read_bytes() == same.read_bytes()  # the third fold is as parallel as a first one


@pytest.mark.slow
def test_accelerate_on_cpus_says_that_it_started_one(tmp_path):
    words = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "training/train.py"]
    run = tmp_path / "run"
    shown = _launch(sys.executable, *words, "--config", tiny_yaml(tmp_path), "--output_dir", run, "--folds", "sub01")
    assert "Warning: 2 processes were asked for and 1 runs. On CPUs start them with `torchrun" in shown


def _remember(memory):
    """RSS after every fold."""
    from aullm_hf.training import run_state

    original = run_state.finish

    def finish(*args):
        original(*args)
        gc.collect()
        memory.append(psutil.Process().memory_info().rss / 2**20)

    return finish


@pytest.mark.slow
def test_memory_after_twenty_six_folds_is_that_of_the_first(tmp_path, monkeypatch):
    from aullm_hf.training import fold

    memory = []
    monkeypatch.setattr(fold, "finish", _remember(memory))
    config = tiny_yaml(tmp_path, data={"subjects": 26, "clips_per_subject": 3}, training={"num_train_epochs": 1})
    assert train(config, tmp_path / "run") == 0
    assert len(memory) == 26
    slope = (sum(memory[-5:]) - sum(memory[5:10])) / 5 / 18.5
    print(f"MB after each fold: {[round(one) for one in memory]}; slope {slope:.2f} MB a fold")
    assert slope < 0.5


def test_nothing_of_a_fold_outlives_it(tmp_path):
    import torch

    from aullm_hf.training.trainer import FoldTrainer

    def left():
        gc.collect()
        objects = gc.get_objects()
        return sum(isinstance(one, FoldTrainer | torch.optim.Optimizer) for one in objects)

    config = tiny_yaml(tmp_path, training={"num_train_epochs": 1, "save_strategy": "no"})
    before = left()
    train(config, tmp_path / "run")
    assert left() <= before
