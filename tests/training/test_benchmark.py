"""The benchmark runs, its tables can be read by machines, and loading allocates the model once."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def benchmark(tmp_path, *options: str) -> list[dict]:
    command = [sys.executable, "training/benchmark.py", "--shape", "tiny", "--out", str(tmp_path), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "benchmark.md").read_text().strip() in done.stdout
    return json.loads((tmp_path / "benchmark.json").read_text())


def test_the_llm_pass(tmp_path):
    rows = benchmark(tmp_path, "--batch", "6", "--prompt", "16", "--repeats", "1", "--threads", "1")
    assert [(row["phase"], row["batch"]) for row in rows] == [("training", 6), ("inference", 6)]
    for row in rows:
        assert row["tokens_naive"] == 6 * 17 and row["tokens_shared"] == 16 + 6
        assert row["ratio"] > 0 and row["naive_s"] > 0


def test_loading_allocates_once_and_a_checkpoint_is_its_trained_tensors(tmp_path):
    (row,) = benchmark(tmp_path, "--load")
    assert row["peak_over_weights"] < 1.15
    assert 1 <= row["checkpoint_over_trained"] < 1.01
