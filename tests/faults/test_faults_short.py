"""What real use does to a run, in its shortest form: the fault is named, nothing finished is lost, the run goes on.

The long forms (random kills, full disks, read-only folders) are in test_soak.py: `make soak`.
"""

import errno
import json
import math
import os
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from aullm_hf.hub import push_run
from aullm_hf.inference.checkpoints import opening
from aullm_hf.training.checkpoints import seal
from aullm_hf.training.nonfinite import LossWatch
from aullm_hf.training.run_state import locked, set_damaged_aside
from support.commands import aullm
from support.faults import at_step, infinite_weights, nan_loss, raising, small_memory
from support.tiny_run import forked, killed_at, tables, tiny_yaml, train

OTHERS = {"sub01", "sub03"}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_yaml(tmp_path_factory.mktemp("faults"), training={"save_steps": 2, "logging_steps": 4})


@pytest.fixture(scope="module")
def undisturbed(config):
    assert train(config, config.parent / "undisturbed") == 0
    return config.parent / "undisturbed"


@pytest.fixture
def copy(undisturbed, tmp_path):
    return shutil.copytree(undisturbed, tmp_path / "copy")


def finished(run):
    return {path.parent.name: path.read_bytes() for path in run.glob("folds/*/fold.json")}


def failure(run, fold="sub02"):
    return json.loads((run / "folds" / fold / "failed.json").read_text())


# -------------------------------------------------------------------- non-finite values


def test_a_loss_that_is_no_number_stops_its_fold_and_no_other(config, undisturbed, tmp_path, capsys, monkeypatch):
    from aullm_hf.training.batches import Batches

    run, shown, collate = tmp_path / "run", {}, Batches.__call__

    def watched(self, draws):
        batch = collate(self, draws)
        shown[batch["pixel_values"].data_ptr()] = [self.clips.table["clip_id"][row] for row, _, _ in draws]
        return batch

    monkeypatch.setattr(Batches, "__call__", watched)
    with at_step("sub02", 4, nan_loss) as hit:
        assert train(config, run) == 1
    assert set(finished(run)) == OTHERS
    record = failure(run)
    assert record["step"] == 4 and record["terms"]["loss"] == "nan" and record["attempt"] == 1
    assert record["last_good_checkpoint"] == "work/checkpoint-2" and "loss nan at step 4" in record["reason"]
    assert record["clips"] and record["clips"] == shown[hit[0]["pixel_values"].data_ptr()]
    err = capsys.readouterr().err
    assert "Fold sub02 FAILED: loss nan at step 4" in err and "1 of 3 folds failed: sub02" in err
    weights = load_file(run / "folds/sub02" / record["last_good_checkpoint"] / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())
    before = finished(run)
    assert train(config, run) == 0  # goes on at step 2
    assert tables(run) == tables(undisturbed) and before.items() <= finished(run).items()
    assert not (run / "folds" / "sub02" / "failed.json").exists()


def test_the_step_is_named_though_nobody_looked_until_the_next_was_saved(config, undisturbed, tmp_path):
    with at_step("sub02", 3, nan_loss):
        assert train(config, tmp_path / "run", "--folds", "sub02,sub03") == 1
    record = failure(tmp_path / "run")
    assert record["step"] == 3 and record["last_good_checkpoint"] == "work/checkpoint-2"
    after, alone = (run / "folds/sub03/predictions.parquet" for run in (tmp_path / "run", undisturbed))
    assert after.read_bytes() == alone.read_bytes()  # the next fold starts without the non-finite weights


def test_the_first_loss_that_is_no_number_is_kept():
    watch = LossWatch()
    assert watch.first_nonfinite(lambda rows: rows) is None
    for step, value in enumerate([1.0, 2.0, float("inf"), float("nan"), 3.0]):
        watch.update(step, torch.tensor(value), {"asl": torch.tensor(value), "aux": torch.tensor(0.5)})
    assert watch.first_nonfinite(lambda rows: rows) == (2, {"loss": math.inf, "asl": math.inf, "aux": 0.5})
    others = torch.tensor([[7.0, 1.0, 1.0, 1.0]])  # a process whose loss is fine
    assert watch.first_nonfinite(lambda rows: torch.cat([others, rows]))[0] == 2


def test_weights_that_are_no_numbers_are_never_saved(config, tmp_path):
    run = tmp_path / "run"
    with at_step("sub02", 4, infinite_weights):  # a step after which a checkpoint is due
        assert train(config, run, "--folds", "sub02") == 1
    record = failure(run)
    assert (
        record["last_good_checkpoint"] == "work/checkpoint-2"
        and "weights are nan or infinite after step 4" in record["reason"]
    )
    assert not (run / "folds/sub02/work/checkpoint-4").exists()


def test_an_error_of_one_fold_leaves_the_others_alone(config, tmp_path, capsys):
    run = tmp_path / "run"
    with at_step("sub02", 1, raising(ZeroDivisionError("a bug"))):
        assert train(config, run) == 1
    assert set(finished(run)) == OTHERS and "sub02: ZeroDivisionError: a bug" in capsys.readouterr().err
    assert any("ZeroDivisionError" in line for line in failure(run)["traceback"])


# -------------------------------------------------------------------- memory


def test_too_little_memory_halves_the_batch_once_and_says_so(config, undisturbed, tmp_path, capsys):
    run = tmp_path / "run"
    with small_memory("sub02", holds=2):
        assert train(config, run) == 0
    output = capsys.readouterr().out
    assert "memory is too small for a batch of 4" in output and "2 clips at a time, 2 times accumulated" in output
    entries = {entry["fold"]: entry for entry in json.loads((run / "folds.json").read_text())}
    assert {name: entry.get("batch_in_parts") for name, entry in entries.items()} == {
        "sub01": None, "sub02": 2, "sub03": None
    }  # fmt: skip
    for name in OTHERS:
        files = ("predictions.parquet", "checkpoint/model.safetensors")
        assert all(
            (run / "folds" / name / f).read_bytes() == (undisturbed / "folds" / name / f).read_bytes() for f in files
        )
    steps = [json.loads((one / "folds/sub02/log.json").read_text())[-1]["step"] for one in (run, undisturbed)]
    assert steps[0] == steps[1]


def test_too_little_memory_for_half_a_batch_fails_the_fold_with_advice(config, tmp_path, capsys):
    with small_memory("sub02", holds=1):
        assert train(config, tmp_path / "run", "--folds", "sub02") == 1
    err = capsys.readouterr().err
    assert "out of memory with its batch in parts too (CUDA out of memory" in err
    assert "lower per_device_train_batch_size (now 4)" in err


# -------------------------------------------------------------------- requests to stop


def test_a_scheduler_that_takes_the_machine_back_costs_no_step(config, undisturbed, tmp_path, capfd):
    run = tmp_path / "run"

    def asked(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        return _[2]

    def training():
        with at_step("sub02", 3, asked):
            raise SystemExit(train(config, run))

    assert forked(training) == 143
    assert "stopped by SIGTERM. Finished work is kept" in capfd.readouterr().err
    assert (run / "folds/sub02/work/checkpoint-3/sealed.json").is_file()
    before = finished(run)
    assert set(before) == {"sub01"} and train(config, run) == 0
    assert tables(run) == tables(undisturbed) and before.items() <= finished(run).items()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_ctrl_c_is_a_line_and_a_status(config, tmp_path, capsys):
    with at_step("sub01", 1, raising(KeyboardInterrupt())):
        assert train(config, tmp_path / "run", "--folds", "sub01") == 130
    assert "interrupted. Finished work is kept" in capsys.readouterr().err


# -------------------------------------------------------------------- the disk


def _no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


# What is being written when the disk is full.
WRITERS = {
    "optimizer of a checkpoint": ("aullm_hf.training.trainer", "save_state"),
    "a fold's table": ("aullm_hf.training.fold", "write_table"),
    "a fold's last file": ("aullm_hf.training.run_state", "write_json"),
    "the run's tables": ("aullm_hf.training.loop", "assemble_run"),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_full_disk_is_one_line_and_the_run_goes_on_once_there_is_space(
    config, undisturbed, copy, monkeypatch, capsys, what
):
    import importlib

    shutil.rmtree(copy / "folds" / "sub02")
    module, name = WRITERS[what]
    with monkeypatch.context() as patched:
        patched.setattr(importlib.import_module(module), name, _no_space)
        assert train(config, copy) == 1
    err = capsys.readouterr().err
    assert "aullm train: No space left on device: 'somewhere'. Fix that first." in err and "Traceback" not in err
    assert not list(copy.rglob("*.partial"))
    assert train(config, copy) == 0
    assert tables(copy) == tables(undisturbed)


# -------------------------------------------------------------------- files that are not as they were


def _cut(path, size=7):
    path.write_bytes(path.read_bytes()[:size])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "fold.json of no bytes": (lambda run: _cut(run / "folds/sub02/fold.json", 0), "fold.json cannot be read"),
    "a table cut": (lambda run: _cut(run / "folds/sub02/predictions.parquet"), "predictions.parquet has 7 bytes, not"),
    "a weight flipped": (
        lambda run: _flip(run / "folds/sub02/checkpoint/model.safetensors"),
        "checkpoint/model.safetensors does not have its checksum",
    ),
    "a checkpoint gone": (lambda run: shutil.rmtree(run / "folds/sub02/checkpoint"), "checkpoint/backbone.py is gone"),
    "a threshold changed": (
        lambda run: (path := run / "folds/sub02/fold.json").write_text(path.read_text().replace("0.", "1.", 1)),
        "fold.json does not have its checksum",
    ),
    "fold.json of another shape": (lambda run: (run / "folds/sub02/fold.json").write_text("[]"), "cannot be read"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_fold_is_refused_by_name_and_trained_again_on_request(config, undisturbed, copy, capsys, what):
    harm, message = DAMAGE[what]
    harm(copy)
    assert train(config, copy) == 2
    err = capsys.readouterr().err
    assert "sub02" in err and message in err and "--retrain_damaged" in err and len(err.splitlines()) == 1


def test_what_was_damaged_is_kept_and_the_fold_trained_again(config, undisturbed, copy):
    harmed = copy / "folds/sub02/checkpoint/model.safetensors"
    _flip(harmed)
    content = harmed.read_bytes()
    assert train(config, copy, "--retrain_damaged") == 0
    assert tables(copy) == tables(undisturbed)
    assert (copy / "damaged/sub02-1/checkpoint/model.safetensors").read_bytes() == content


def test_the_model_to_ship_is_not_calibrated_on_a_damaged_table(config, copy, capsys):
    """The launch that trains it has no folds of its own to look through."""
    _flip(copy / "folds/sub02/predictions.parquet")
    assert train(config, copy, "--folds", "none", "--final_fit") == 2
    err = capsys.readouterr().err
    assert "sub02' was damaged after it was finished: predictions.parquet" in err and len(err.splitlines()) == 1
    assert not (copy / "final" / "fold.json").exists()


def test_a_damaged_fold_in_another_launchs_hands_is_left_there(copy):
    """Two launches with --retrain_damaged: what the first is training by now is no wreck to the second."""
    folder = copy / "folds/sub02"
    _flip(folder / "checkpoint/model.safetensors")
    (folder / "work").mkdir()
    with locked(copy, "folds-sub02", wait=False) as free:
        assert free
        set_damaged_aside(copy, [folder], retrain=True)
    assert (folder / "work").is_dir() and not (copy / "damaged").exists()


@pytest.mark.parametrize("name", ["predictions.parquet", "folds.json", "tables/results.txt"])
def test_a_table_of_the_run_that_was_cut_is_written_again(config, undisturbed, copy, name):
    _cut(copy / name)
    os.utime(copy / name, (4e9, 4e9))  # the clock jumped
    assert train(config, copy) == 0
    assert (copy / name).read_bytes() == (undisturbed / name).read_bytes()
    written = (copy / name).stat().st_mtime_ns
    assert train(config, copy) == 0 and (copy / name).stat().st_mtime_ns == written  # once, since nothing has changed


def test_a_manifest_that_was_cut_is_refused_with_what_to_do(config, undisturbed, copy, capsys):
    _cut(copy / "run.json")
    assert train(config, copy) == 2
    err = capsys.readouterr().err
    assert "run.json' is not JSON" in err and "delete run.json: it is written again" in err
    (copy / "run.json").unlink()
    assert train(config, copy) == 0 and tables(copy) == tables(undisturbed)


def test_a_checkpoint_that_was_flipped_while_nobody_trained_is_not_believed(config, undisturbed, tmp_path, capsys):
    run = tmp_path / "run"
    assert killed_at("aullm_hf.training.fold", "_calibrate", 1, train, config, run, "--folds", "sub01") == -9
    (kept,) = (run / "folds/sub01/work").glob("checkpoint-*")
    _flip(kept / "optimizer.safetensors")
    assert train(config, run) == 0
    assert f"{kept} is damaged and not used: optimizer.safetensors" in capsys.readouterr().out
    assert tables(run) == tables(undisturbed)


def test_a_checkpoint_without_our_optimizer_is_not_gone_on_from(config, undisturbed, tmp_path, capsys):
    """As earlier versions wrote it: with weights alone, optimizer and schedule would silently start again."""
    run = tmp_path / "run"
    assert killed_at("aullm_hf.training.trainer", "seal", 1, train, config, run, "--folds", "sub01", after=True) == -9
    kept = run / "folds/sub01/work/checkpoint-2"
    (kept / "optimizer.safetensors").rename(kept / "optimizer.pt")
    (kept / "sealed.json").unlink()
    seal(kept)
    assert train(config, run) == 0
    assert f"{kept} has no optimizer.safetensors" in capsys.readouterr().out
    assert tables(run) == tables(undisturbed)


def test_a_base_llm_that_was_flipped_is_made_again(config, undisturbed, copy, capsys):
    _flip(copy / "base_llm" / "model.safetensors")
    assert train(config, copy) == 0
    assert "base_llm is damaged and not used" in capsys.readouterr().out
    assert (copy / "base_llm/model.safetensors").read_bytes() == (
        undisturbed / "base_llm/model.safetensors"
    ).read_bytes()


def test_what_reads_a_run_afterwards_tells_a_flipped_byte(copy, monkeypatch, capsys):
    monkeypatch.setattr("aullm_hf.commands.evaluate.write_report", lambda *_, **__: {})
    checkpoint = copy / "folds" / "sub02" / "checkpoint"
    with opening(checkpoint):
        pass
    assert aullm("evaluate", copy) == 0
    assert "Warning" not in capsys.readouterr().err
    _flip(checkpoint / "model.safetensors")
    with pytest.raises(ValueError, match=r"model.safetensors does not have its checksum"), opening(checkpoint):
        pass
    with monkeypatch.context() as there, pytest.raises(ValueError, match="does not have its checksum"):
        there.chdir(checkpoint)
        with opening("."):
            pass
    with pytest.raises(ValueError, match=r"sub02' was damaged .*model.safetensors does not have its checksum"):
        push_run(copy, "me/run", main=False)
    assert aullm("evaluate", copy) == 0  # the tables are whole, and it does not read the weights
    (checkpoint / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes()[:-1])
    assert aullm("evaluate", copy) == 0
    assert "sub02 was damaged after it was finished: checkpoint/model.safetensors" in capsys.readouterr().err
    _flip(copy / "folds" / "sub01" / "predictions.parquet")
    assert aullm("evaluate", copy) == 2
    (copy / "folds" / "sub03" / "fold.json").write_text('{"files": []}')
    with pytest.raises(ValueError, match=r"fold.json cannot be read"), opening(copy / "folds/sub03/checkpoint"):
        pass
    assert "sub01' was damaged after it was finished: predictions.parquet" in capsys.readouterr().err


# -------------------------------------------------------------------- what stands where something else should


@pytest.mark.parametrize(
    ("path", "folder"), [(".locks/folds-sub02.lock", True), ("folds/sub02/work", False), ("folds/sub02", False)]
)
def test_what_stands_in_the_way_is_named_and_left_alone(config, copy, capsys, path, folder):
    shutil.rmtree(copy / "folds" / "sub02")
    (copy / path).unlink(missing_ok=True)
    (copy / path).mkdir() if folder else ((copy / path).parent.mkdir(exist_ok=True), (copy / path).write_text("mine"))
    assert train(config, copy) in (1, 2)
    err = capsys.readouterr().err
    assert str(copy / path) in err and "Traceback" not in err and len(err.splitlines()) == 1
    assert (copy / path).is_dir() if folder else (copy / path).read_text() == "mine"


def test_leftovers_of_the_dead_are_no_obstacle(config, undisturbed, copy):
    """Locks without an owner, half-written files, a checkpoint with a name of its own."""
    shutil.rmtree(copy / "folds" / "sub02")
    work = copy / "folds/sub02/work"
    (work / "checkpoint-best").mkdir(parents=True)
    (work / "checkpoint-9").mkdir()
    (work / "checkpoint-9" / "sealed.json").write_bytes(b"\xff\xfe")
    (copy / "folds/sub02/.predictions.parquet.1.partial").write_bytes(b"half")
    (copy / ".predictions.parquet.1.partial").write_bytes(b"half")
    assert train(config, copy) == 0
    assert tables(copy) == tables(undisturbed) and not list(copy.rglob("*.partial"))


def test_a_whole_report_keeps_no_leftovers_beside_it(config, copy):
    assert train(config, copy) == 0
    (copy / ".predictions.parquet.1.partial").write_bytes(b"half")
    (copy / "tables" / ".results.txt.1.partial").write_bytes(b"half")
    assert train(config, copy) == 0
    assert not list(copy.rglob("*.partial"))


def test_a_run_goes_on_elsewhere(config, undisturbed, tmp_path):
    """Copied in the middle of a fold, under another name."""
    assert killed_at("aullm_hf.training.trainer", "seal", 2, train, config, tmp_path / "run", after=True) == -9
    moved = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    assert train(config, moved) == 0
    assert tables(moved) == tables(undisturbed)
