"""A table in one command: every combination once, failures named, what is finished left alone, the comparison last."""

import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from aullm_hf.training.parsing import load_run_config
from support.commands import verb
from support.fake_run import fake_run
from support.tiny_run import ROOT, baseline_yaml, tiny_yaml

sweep = verb("sweep")


@pytest.fixture
def listed(tmp_path):
    """Two recipes, of which `broken` cannot be planned."""
    baseline_yaml(tmp_path / "recipes", "flow-svm")
    (tmp_path / "recipes" / "broken.yaml").write_text("model: {model_kind: vgg}\n")

    def write(**content):
        runs = [{"name": "flow", "recipe": "recipes/tiny.yaml"}]
        path = tmp_path / "list.yaml"
        path.write_text(yaml.safe_dump({"out": str(tmp_path / "out"), "runs": runs, **content}))
        return path

    return write


def test_every_combination_is_one_run(listed, capsys):
    runs = [
        {"name": "A", "recipe": "recipes/tiny.yaml", "set": {"model_kind": "sp"}},
        {"name": "B", "recipe": "recipes/tiny.yaml"},
    ]
    path = listed(runs=runs, vary={"difficulty": ["standard", "hard"]}, seeds=[1, 2], set={"subjects": 4})
    assert sweep([str(path), "--dry_run", "--root", "x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("--output_dir ")[1].split()[0].split("/")[-1] for line in lines] == [
        "a-standard", "b-standard", "a-hard", "b-hard"
    ]  # fmt: skip
    for line in lines:
        assert "--subjects 4" in line and line.endswith("--seeds 1 2 --root x")
        assert ("--model_kind sp" in line) == ("/a-" in line)


def test_fields_vary_together(listed, capsys):
    path = listed(vary={"clips": [{"difficulty": "hard", "subjects": 4}, {"difficulty": "easy", "subjects": 5}]})
    assert sweep([str(path), "--dry_run"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "/flow-hard-4 --difficulty hard --subjects 4" in first
    assert "/flow-easy-5 --difficulty easy --subjects 5" in second


def test_what_a_list_sets_arrives_in_train_py_as_it_stands(listed, capsys):
    wanted = {"backbone_channels": [4, 8], "aus": ["AU4", "AU12"], "datasets": ["synthetic-casme2", "synthetic-samm"]}
    path = listed(set=wanted | {"include_last": True})
    assert sweep([str(path), "--dry_run"]) == 0
    words = shlex.split(capsys.readouterr().out)
    config = load_run_config(words[words.index("--config") + 1], words[words.index("--output_dir") :])
    assert config.model.backbone_channels == [4, 8] and config.training.include_last is True
    assert config.data.aus == wanted["aus"] and config.data.datasets == wanted["datasets"]


def test_only_some_rows_are_run(listed, capsys):
    runs = [{"name": name, "recipe": "recipes/tiny.yaml"} for name in "ABC"]
    path = listed(runs=runs, vary={"difficulty": ["standard", "hard"]})
    assert sweep([str(path), "--only", "A", "C", "--dry_run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    folders = [line.split("--output_dir ")[1].split()[0].split("/")[-1] for line in lines]
    assert folders == ["a-standard", "c-standard", "a-hard", "c-hard"]
    assert sweep([str(path), "--only", "D", "--dry_run"]) == 2
    assert "--only names 'D'; the runs of" in capsys.readouterr().err


def test_a_failed_run_is_named_and_the_others_go_on(listed, tmp_path, capsys, monkeypatch):
    """The runner's part is played here: one recipe fails, the others leave a run."""

    def played(command, stdout, **_):
        folder = Path(command[command.index("--output_dir") + 1])
        if "broken" in command[command.index("--config") + 1]:
            stdout.write("aullm train: model_kind is 'vgg'\n")
            return SimpleNamespace(returncode=2)
        (fake_run(folder) / "results.json").write_text("{}")
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr("aullm_hf.training.sweep.subprocess.run", played)
    monkeypatch.setattr("aullm_hf.evaluation.comparison.figures.write_comparison_figures", lambda *_: [])
    recipes = {"A": "recipes/tiny.yaml", "bad": "recipes/broken.yaml", "C": "recipes/tiny.yaml"}
    runs = [{"name": name, "recipe": recipe} for name, recipe in recipes.items()]
    assert sweep([str(listed(runs=runs, reference="C")), "--jobs", "2"]) == 1
    shown = capsys.readouterr()
    assert "FAILED: bad (bad): aullm train: model_kind is 'vgg' Its log: " in shown.err
    assert "a: finished" in shown.out and "bad: FAILED (exit 2)" in shown.out
    comparison = (tmp_path / "out" / "comparison" / "comparison.md").read_text()
    assert "| A |" in comparison and "minus C" in comparison and "| bad |" not in comparison


@pytest.fixture
def started(monkeypatch):
    """The commands of runs that were started."""
    commands = []
    monkeypatch.setattr("aullm_hf.training.sweep.subprocess.run", lambda command, **_: commands.append(command))
    return commands


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], r"aullm sweep: A: casme2 is handed out by its owners: say where you unpacked it with --root FOLDER"),
        (["--root", "/nowhere/at/all"], r"aullm sweep: .*/nowhere/at/all"),
        (["--root", "casme2=x", "--subjekts", "3"], r"A: aullm train does not know '--subjekts'. Did you mean `subj"),
    ],
)
def test_what_every_run_would_fail_at_is_said_once(listed, capsys, started, words, message):
    runs = [{"name": name, "recipe": "recipes/tiny.yaml"} for name in "ABC"]
    assert sweep([str(listed(runs=runs, set={"datasets": ["casme2"]})), *words]) == 2
    error = capsys.readouterr().err
    assert re.match(message, error) or re.search(message, error)
    assert len(error.splitlines()) == 1 and started == []


def test_an_llm_that_is_not_there_is_said_once(listed, capsys, started, tmp_path):
    """As a folder: nothing is asked of the Hub."""
    (tmp_path / "recipes").mkdir(exist_ok=True)
    tiny_yaml(tmp_path / "recipes" / "llm", model={"llm_name_or_path": str(tmp_path / "no" / "llm")})
    assert sweep([str(listed(runs=[{"name": name, "recipe": "recipes/llm/tiny.yaml"} for name in "AB"]))]) == 2
    assert "no/llm" in capsys.readouterr().err and started == []


@pytest.mark.slow
def test_runs_are_made_once_and_compared_with_all_their_seeds(listed, tmp_path):
    path = listed(seeds=[1, 2])
    assert sweep([str(path)]) == 0
    entries = json.loads((tmp_path / "out" / "flow" / "folds.json").read_text())
    assert sorted({entry["seed"] for entry in entries}) == [1, 2]
    fold = tmp_path / "out" / "flow" / "folds" / "sub01-seed1" / "fold.json"
    before = fold.stat().st_mtime_ns
    assert sweep([str(path)]) == 0
    assert fold.stat().st_mtime_ns == before  # not trained again
    assert "| flow |" in (tmp_path / "out" / "comparison" / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"runs": []}, "must hold `runs`"),
        ({"repeat": 3}, "holds 'repeat'; allowed: out, reference, runs, seeds, set, vary"),
        ({"runs": [{"recipe": "gone.yaml"}]}, "there is no recipe .*gone.yaml"),
        ({"runs": [{"recipe": "recipes/tiny.yaml"}] * 2}, "two runs would go to .*tiny; give them different names"),
        ({"runs": [{"config": "recipes/tiny.yaml"}]}, "holds 'config'; allowed: name, recipe, set"),
    ],
)
def test_a_list_that_is_wrong_says_what_is_allowed(listed, capsys, content, message):
    assert sweep([str(listed(**content)), "--dry_run"]) == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("path", sorted((ROOT / "hub_configs" / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_list_can_be_planned(path, capsys):
    assert sweep([str(path), "--dry_run"]) == 0
    content = yaml.safe_load(path.read_text())
    assert content["reference"] in {run["name"] for run in content["runs"]}
    assert f"runs/sweeps/{path.stem}/" in capsys.readouterr().out
