"""What people wait for, each beside its reference; and the script for a GPU, with what a CPU has of it."""

import json
from pathlib import Path

import benchmark
import pytest
from benchmarks import gpu, waits

from aullm_hf.training import loop
from aullm_hf.training.launch import main as train


def rows_of(out: Path, part: str, *options: str) -> list[dict]:
    assert benchmark.main([part, *options, "--repeats", "1", "--threads", "1", "--out", str(out)]) == 0
    (table,) = json.loads((out / f"{part}.json").read_text()).values()
    return table


def test_clips_and_a_step_stand_beside_their_references(tmp_path, monkeypatch):
    monkeypatch.setattr(waits, "CLIP", {"frames": 8, "width": 64, "height": 48, "form": "h264"})
    monkeypatch.setattr(waits, "keep_freed_memory", lambda: None)  # tests that follow are in this process
    clips, step = rows_of(tmp_path, "waits", *"--only clips step --clips 6 --shape tiny --batch 4".split())
    assert clips["what"] == "6 clips to rows" and clips["reference"] in ("the reader alone", "the model alone")
    assert step["reference"] == "the LLM as stored"
    for row in (clips, step):
        assert row["times"] == pytest.approx(row["s"] / row["s reference"]) and row["s"] > 0


def test_faces_are_left_out_where_no_finder_is_at_hand(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("AULLM_FACE_MODEL", raising=False)
    assert waits.face_rows(benchmark.parse(["waits"])) == []
    assert "--face_model nor AULLM_FACE_MODEL" in capsys.readouterr().out


def test_every_wait_has_the_columns_of_the_table():
    row = waits.row_of("reading", 3.0, "reading without", 2.0)
    assert row == {
        "what": "reading", "s": 3.0, "reference": "reading without", "s reference": 2.0, "times": 1.5, "asked": "",
    }  # fmt: skip


GPU = "--device cpu --shapes tiny --batch 4 --folds 1 --epochs 1 --subjects 2 --clips_per_subject 2".split()


def test_the_script_for_a_gpu_runs_what_a_cpu_has_of_it_and_goes_on_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "MODES", {"as it is": None})
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(gpu, "start", lambda command, _: str(train(command[2:])))  # in this process

    def fails(*_given):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr(gpu, "infer", fails)
    agree, step, infer, loso = rows_of(tmp_path, "gpu", *GPU)
    assert infer["found"] == "FAILED: RuntimeError: out of memory"
    assert step["found"].startswith("s ") and "clips/s" in step["found"]
    assert loso["found"].startswith("folds 1, s a fold") and "minutes for 2" in loso["found"]
    differences = [float(part.split()[-1]) for part in agree["found"].split(", ")]
    assert len(differences) == 4 and max(differences) < 1e-4


def test_logits_are_timed_beside_what_large_products_reach(monkeypatch):
    monkeypatch.setattr(gpu, "matrix_rate", lambda *_given: 1e12)
    gpu.step("tiny", 4, "as it is", "cpu", 1, 60.0)  # of the same models, before
    found = gpu.infer("tiny", 4, "as it is", "cpu", 1, 60.0)
    assert found["clips/s"] == pytest.approx(4 / found["s"]) and 0 < found["share of the matrix rate"] < 1


def test_what_the_minutes_do_not_suffice_for_is_not_begun(tmp_path):
    rows = rows_of(tmp_path, "gpu", *GPU, "--minutes", "0")
    assert {row["found"] for row in rows} == {"not run: the minutes were spent"}
    assert len(rows) == 2 + 2 * len(gpu.MODES)
