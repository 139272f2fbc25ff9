"""The scores of a list of runs: one row per finished run and seed, kept when the runs are gone; what is missing."""

import json
import shutil
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import scores
import yaml
from sklearn.metrics import average_precision_score

from support.fake_run import fake_run
from support.tiny_run import baseline_yaml


def finished_run(folder, **options):
    """A run as training leaves it."""
    shutil.rmtree(folder, ignore_errors=True)
    fake_run(folder, **options)
    folds = json.loads((folder / "folds.json").read_text())
    (folder / "folds.json").write_text(json.dumps([entry | {"train_seconds": 2.5} for entry in folds]))
    (folder / "results.json").write_text("{}")


@pytest.fixture
def listed(tmp_path):
    """A list of two methods on two kinds of clips, of which one run is finished."""
    baseline_yaml(tmp_path / "recipes", "flow-svm")
    content = {
        "out": str(tmp_path / "out"),
        "seeds": [1, 2],
        "vary": {"clips": [{"difficulty": "standard", "subjects": 4}, {"difficulty": "hard", "subjects": 5}]},
        "runs": [{"name": name, "recipe": "recipes/tiny.yaml"} for name in ("one", "other")],
    }
    path = tmp_path / "list.yaml"
    path.write_text(yaml.safe_dump(content))
    finished_run(tmp_path / "out" / "one-standard-4", seeds=(1, 2))
    return path


def test_rows_are_an_independent_average_precision_and_name_their_command(listed, tmp_path, capsys):
    csv = tmp_path / "scores.csv"
    assert scores.main([str(listed), "--csv", str(csv)]) == 0
    rows = pd.read_csv(csv)
    assert rows["method"].tolist() == ["one", "one"] and rows["seed"].tolist() == [1, 2]
    table = pd.read_parquet(tmp_path / "out" / "one-standard-4" / "predictions.parquet")
    aus = [name[2:] for name in table if name.startswith("z_")]
    for seed, ap in zip(rows["seed"], rows["ap"], strict=True):
        own = table[table["seed"] == seed]
        by_hand = [average_precision_score(own[f"y_{au}"], own[f"p_{au}"]) for au in aus]
        assert abs(ap - 100 * np.mean(by_hand)) < 0.01
    assert rows["command"].str.contains("aullm train tiny --difficulty standard --subjects 4 --seeds 1 2").all()
    printed = capsys.readouterr().out
    mean, spread = rows["ap"].mean(), rows["ap"].std()
    assert f"| one | {mean:.1f} ± {spread:.1f} (2) |" in printed
    missing = [line for line in printed.splitlines() if line.startswith("Not run: ")]
    assert missing == [
        "Not run: other, standard 4: seeds 1, 2",
        "Not run: one, hard 5: seeds 1, 2",
        "Not run: other, hard 5: seeds 1, 2",
    ]


def test_scores_outlive_their_runs_and_a_run_made_again_replaces_its_rows(listed, tmp_path):
    csv = tmp_path / "scores.csv"
    scores.main([str(listed), "--csv", str(csv)])
    first = csv.read_bytes()
    shutil.rmtree(tmp_path / "out")
    assert scores.main([str(listed), "--csv", str(csv)]) == 0 and csv.read_bytes() == first
    finished_run(tmp_path / "out" / "one-standard-4", seeds=(2,), clips=15)
    finished_run(tmp_path / "out" / "other-hard-5", seeds=(1,))
    scores.main([str(listed), "--csv", str(csv)])
    before, after = pd.read_csv(BytesIO(first)), pd.read_csv(csv)
    assert list(zip(after["method"], after["seed"], strict=True)) == [("one", 1), ("one", 2), ("other", 1)]
    assert after["ap"][0] == before["ap"][0] and after["ap"][1] != before["ap"][1]


def test_nothing_finished_is_said(listed, tmp_path, capsys):
    shutil.rmtree(tmp_path / "out")
    assert scores.main([str(listed), "--csv", str(tmp_path / "none.csv")]) == 1
    assert "is finished" in capsys.readouterr().out and not (tmp_path / "none.csv").exists()
