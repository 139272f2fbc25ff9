"""One process, two side by side, or two parts of a job array: the same table, each fold trained once."""

import os
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from aullm_hf.training.distributed import ProcessRank
from aullm_hf.training.fold import Job
from aullm_hf.training.jobs import assigned_jobs, jobs_to_inspect
from support.tiny_run import forked, tables, tiny_yaml, train


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_yaml(tmp_path_factory.mktemp("parallel"), data={"subjects": 4})


@pytest.fixture(scope="module")
def alone(config):
    run = config.parent / "alone"
    train(config, run)
    return run


def _beside(config, run, rank, count=2):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1")
    train(config, run, "--fold_parallel")
    assert "RANK" not in os.environ and "MASTER_ADDR" not in os.environ


def _start(config, run, count=2):
    started = [get_context("fork").Process(target=_beside, args=(config, run, rank, count)) for rank in range(count)]
    for process in started:
        process.start()
    return started


def _stamps(run):
    return {path.parent.name: path.stat().st_mtime_ns for path in run.glob("folds/*/fold.json")}


def test_two_processes_side_by_side(config, alone, tmp_path):
    processes = _start(config, tmp_path / "run")
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert tables(tmp_path / "run") == tables(alone)


def test_two_parts_of_a_job_array(config, alone, tmp_path, capsys):
    run = tmp_path / "run"
    train(config, run, "--fold_shard", "1/2")
    assert "2 of 4 folds are finished; still to come, or with other processes: sub02, sub04" in capsys.readouterr().out
    first = _stamps(run)
    assert set(first) == {"sub01", "sub03"}
    train(config, run, "--fold_shard", "2/2")
    assert tables(run) == tables(alone)
    assert first.items() <= _stamps(run).items()


def test_named_folds_and_a_fold_in_other_hands(config, tmp_path, capsys):
    from aullm_hf.training.run_state import locked

    run = tmp_path / "run"
    with locked(run, "folds-sub02", wait=False) as had:
        assert had
        assert forked(train, config, run, "--folds", "sub01,sub02") == 0
    assert set(_stamps(run)) == {"sub01"}
    assert train(config, run, "--folds", "sub99") == 2
    assert "--folds names 'sub99'; the folds are sub01, sub02, sub03, sub04" in capsys.readouterr().err


def test_a_fold_called_as_a_part_of_the_run_has_a_lock_of_its_own(tmp_path):
    """Subjects may be called `final`, `run`, `report`: training them must not make the run itself wait."""
    from aullm_hf.training.run_state import lock_of, locked

    parts = ("final", "run", "report", "base_llm")
    assert lock_of(tmp_path / "final") == "final"
    for name in parts:
        with locked(tmp_path, lock_of(tmp_path / "folds" / name), wait=False):
            for part in parts:
                with locked(tmp_path, part, wait=False) as free:
                    assert free


def test_another_configuration_is_refused_with_what_differs(config, alone, capsys):
    before = tables(alone)
    assert train(config, alone, "--num_train_epochs", "2", "--clips_seed", "5") == 2
    shown = capsys.readouterr().err
    assert "holds another run: data.clips_seed: here 5, there the default" in shown
    assert "training.num_train_epochs: here 2.0, there the default" in shown
    assert "Choose another folder with --output_dir" in shown
    assert train(config, alone, "--logging_steps", "1") == 0  # nothing comes of that
    assert tables(alone) == before


def test_a_finished_fold_that_was_changed_is_not_believed(config, tmp_path, capsys):
    run = tmp_path / "run"
    train(config, run, "--folds", "sub01")
    (run / "folds" / "sub01" / "predictions.parquet").write_bytes(b"cut")
    assert train(config, run, "--folds", "sub01") == 2
    shown = capsys.readouterr().err
    assert "sub01 (predictions.parquet has 3 bytes, not" in shown and "--retrain_damaged" in shown
    assert train(config, run, "--folds", "sub01", "--retrain_damaged") == 0
    assert (run / "damaged" / "sub01-1" / "predictions.parquet").read_bytes() == b"cut"
    assert train(config, run, "--folds", "sub01") == 0


@pytest.mark.parametrize(("folds", "count"), [(1, 2), (3, 2), (26, 4), (26, 30)])
def test_every_fold_is_looked_through_by_one_process(folds, count):
    jobs = [Job(None, 0, Path(f"sub{number:02}")) for number in range(folds)]
    launches = [
        SimpleNamespace(folds=None, fold_shard=None, fold_parallel=True, process=ProcessRank(rank, rank, count))
        for rank in range(count)
    ]
    looked_at = [job.name for launch in launches for job in jobs_to_inspect(assigned_jobs(jobs, launch), launch)]
    assert sorted(looked_at) == [job.name for job in jobs]
