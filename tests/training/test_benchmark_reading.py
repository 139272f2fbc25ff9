"""The benchmark of reading runs in every form of clips."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = (
    "--shape",
    "tiny",
    "--frames",
    "8",
    "--width",
    "64",
    "--height",
    "48",
    "--batch_size",
    "4",
    "--repeats",
    "1",
    "--device",
    "cpu",
)


def benchmark(out: Path, *options: str) -> dict[str, list[dict]]:
    command = [sys.executable, str(ROOT / "training" / "benchmark.py"), "reading", *SMALL, *options]
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (out / "reading.md").read_text().strip() in done.stdout
    return json.loads((out / "reading.json").read_text())


@pytest.mark.parametrize("form", ["h264", "folder"])
def test_the_table_holds_speeds_and_their_ratio(tmp_path, form):
    (figures,) = benchmark(tmp_path, "--clips", "12", "--form", form)["reading"]
    both, slower = figures["end to end clips/s"], min(figures["reader clips/s"], figures["model clips/s"])
    assert figures["reader frames/s"] == pytest.approx(8 * figures["reader clips/s"])
    assert figures["ratio"] == pytest.approx(both / slower) and both > 0
