"""The benchmark of reading runs in every form, and memory does not grow over its clips."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--shape", "tiny", "--frames", "8", "--width", "64", "--height", "48", "--batch_size", "4", "--repeats", "1")


def benchmark(*options: str) -> str:
    command = [sys.executable, "-m", "benchmarks.reading", *SMALL, *options]
    done = subprocess.run(command, cwd=ROOT / "training", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("form", ["h264", "folder"])
def test_the_table_holds_speeds_and_their_ratio(form):
    head, _, row = (line.strip("| ").split(" | ") for line in benchmark("--clips", "12", "--form", form).splitlines())
    figures = dict(zip(head, row, strict=True))
    both = float(figures["end to end clips/s"])
    slower = min(float(figures["reader clips/s"]), float(figures["model clips/s"]))
    assert float(figures["reader frames/s"]) == pytest.approx(8 * float(figures["reader clips/s"]), rel=0.01)
    assert float(figures["ratio"]) == pytest.approx(both / slower, rel=0.01) and both > 0


@pytest.mark.slow
def test_memory_is_flat_over_a_thousand_clips():
    said = benchmark("--memory", "--clips", "1000")
    crops = 6 * 64 * 64 / 1024  # kB; what would stay if a clip were kept
    assert float(re.search(r"([-\d.]+) kB a clip over the second half", said)[1]) < crops / 2
