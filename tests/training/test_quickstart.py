"""The quickstart ends with commands that can be given as they stand."""

import importlib.util
import re
import shlex

import pytest

from support.tiny_run import ROOT
from support.workplace import tiny


@pytest.fixture
def quickstart():
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "training" / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_what_to_try_next_names_the_ways_to_use_a_model(quickstart, tmp_path, capsys):
    run = tmp_path / "run"
    assert quickstart([*tiny([]), "--output_dir", str(run), "--folds", "sub01", "sub02", "sub03"]) == 0
    shown = capsys.readouterr().out.partition("Worth trying next")[2]
    commands = [shlex.split(line) for line in shown.splitlines() if re.match(r"  (aullm|make) ", line)]
    assert {words[1] for words in commands} == {"predict", "explain", "demo", "train", "push", "controls"}
    for words in commands:
        if "--model" in words:
            assert words[words.index("--model") + 1] == str(run / "folds" / "sub01" / "checkpoint")
    assert ["aullm", "train", "quickstart", "--output_dir", str(run), "--final_fit"] in commands


def test_a_plan_is_followed_by_no_advice(quickstart, tmp_path, capsys):
    assert quickstart(["--dry_run", "--output_dir", str(tmp_path / "run")]) == 0
    assert "Worth trying" not in capsys.readouterr().out
