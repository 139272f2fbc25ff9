"""The benchmark of reading runs in every form of clips."""

import json
from pathlib import Path

import benchmark
import pytest

SMALL = "--shape tiny --frames 8 --width 64 --height 48 --batch_size 4 --repeats 1 --device cpu".split()


def rows_of(out: Path, capsys, *options: str) -> list[dict]:
    assert benchmark.main(["reading", *SMALL, *options, "--out", str(out)]) == 0
    assert (out / "reading.md").read_text().strip() in capsys.readouterr().out
    return json.loads((out / "reading.json").read_text())["reading"]


@pytest.mark.parametrize("form", ["h264", "folder"])
def test_the_table_holds_speeds_and_their_ratio(tmp_path, form, capsys):
    (figures,) = rows_of(tmp_path, capsys, "--clips", "12", "--form", form)
    both, slower = figures["end to end clips/s"], min(figures["reader clips/s"], figures["model clips/s"])
    assert figures["reader frames/s"] == pytest.approx(8 * figures["reader clips/s"])
    assert figures["ratio"] == pytest.approx(both / slower) and both > 0
