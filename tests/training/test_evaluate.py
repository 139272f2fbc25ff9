import json
import re
import shutil

import pandas as pd
import pytest

from aullm_hf.checksums import checksum
from aullm_hf.commands.evaluate import load_labels
from aullm_hf.evaluation import without_labels, write_report
from support.commands import aullm
from support.fake_run import AUS, fake_dataset, fake_run

EVALUATE = "aullm_hf.commands.evaluate"
FEW = ["--resamples", "20"]


@pytest.fixture(scope="module")
def casme2(tmp_path_factory):
    run = fake_run(tmp_path_factory.mktemp("runs") / "casme2", dataset="casme2", licensed=True)
    return run, write_report(run, resamples=20)


@pytest.fixture
def published(casme2, tmp_path):
    """What a stranger pulls from the Hub: no folds, no labels."""
    folder = tmp_path / "pulled"
    folder.mkdir()
    for name in ("run.json", "folds.json"):
        shutil.copy(casme2[0] / name, folder)
    without_labels(pd.read_parquet(casme2[0] / "predictions.parquet")).to_parquet(folder / "predictions.parquet")
    return folder


@pytest.fixture
def own_copy(monkeypatch):
    """The reader's own copy of the data, as the data room would load it; tests may change it."""
    copy = fake_dataset(3, 12, AUS, dataset="casme2")
    monkeypatch.setattr(f"{EVALUATE}.load_labels", lambda names, roots, info: copy)
    return copy


def evaluated(run, *options):
    """What `aullm evaluate` writes."""
    assert aullm("evaluate", run, *options, *FEW) == 0
    out = options[options.index("--out") + 1] if "--out" in options else run
    return json.loads((out / "results.json").read_text())


def test_a_run_is_put_together_scored_and_printed(casme2, tmp_path, capsys):
    run, expected = casme2
    shutil.copytree(run, tmp_path / "casme2")
    for name in ("predictions.parquet", "inner.parquet", "folds.json", "results.json"):
        (tmp_path / "casme2" / name).unlink()
    results = evaluated(tmp_path / "casme2")
    assert results == expected
    shown = capsys.readouterr().out
    assert shown.startswith("3 finished folds") and "f1 calibrated" in shown and "AU12" in shown
    for name in ("results.json", "tables/results.csv", "tables/results.tex", "tables/results.md", "README.md"):
        assert (tmp_path / "casme2" / name).read_bytes() == (run / name).read_bytes()


def test_scoring_reads_no_checkpoint_and_warns_of_one_that_was_cut(casme2, tmp_path, monkeypatch, capsys):
    run = shutil.copytree(casme2[0], tmp_path / "casme2")
    weights = run / "folds" / "sub02" / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    read = []
    monkeypatch.setattr("aullm_hf.checksums.checksum", lambda file: read.append(file.name) or checksum(file))
    evaluated(run)
    assert set(read) == {"predictions.parquet", "inner.parquet"}
    said = capsys.readouterr().err
    assert f"Warning: {weights.parents[1]} was damaged after it was finished: checkpoint/model.safetensors has" in said


def test_labels_are_joined_by_clip_id_and_give_the_run_s_figures(casme2, published, own_copy):
    for column, values in own_copy.items():
        own_copy[column] = values[::-1]  # order must not matter
    results = evaluated(published, "--labels", "casme2", "--root", "/data/CASME2")
    assert results.pop("checks")["calibration_follows_from_inner"] is None  # the inner clips are not published
    assert results == {key: value for key, value in casme2[1].items() if key != "checks"}
    assert "y_AU1" not in pd.read_parquet(published / "predictions.parquet").columns


def refused(arguments, capsys, match):
    """Exit status 2, and one line that says it."""
    assert aullm("evaluate", *arguments) == 2
    said = capsys.readouterr().err
    assert re.search(match, said) and said.count("\n") == 1


def test_without_labels_it_says_how_to_get_them(published, capsys):
    refused([str(published), *FEW], capsys, r"labels of licensed data are not published. Join your own copy")


def test_other_labels_are_refused_unless_wanted(casme2, published, own_copy, capsys):
    own_copy["aus"][0] = [12] if own_copy["aus"][0] != [12] else [4]
    asked = [published, "--labels", "casme2", "--root", "/data/CASME2", *FEW]
    refused(asked, capsys, r"these labels have the fingerprint .* another release, other policies")
    assert evaluated(*asked, "--any_labels")["per_au"] != casme2[1]["per_au"]


def test_labels_come_from_the_data_room_with_the_run_s_policies(tmp_path, monkeypatch):
    pytest.importorskip("cv2")
    clip_trees = pytest.importorskip("support.clip_trees")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    root = clip_trees.casme2_tree(tmp_path / "CASME2")
    labels = load_labels(["casme2"], [str(root)], {"config": {"data": {"either": "drop", "root": "/elsewhere"}}})
    assert set(labels) == {"dataset", "clip_id", "aus"} and len(labels["aus"]) == len(labels["clip_id"]) > 0
    assert set(labels["dataset"]) == {"casme2"} and labels["clip_id"][0].startswith("casme2/")


def test_missing_clips_are_named(published, own_copy, capsys):
    for column, values in own_copy.items():
        own_copy[column] = values[1:]
    asked = [str(published), "--labels", "casme2", "--root", "/x", "--any_labels", *FEW]
    refused(asked, capsys, "no labels for 1 tested clips: sub01/EP00; load the whole data set")


def test_a_predictions_file_alone_is_scored_as_far_as_it_goes(casme2, tmp_path):
    table = pd.read_parquet(casme2[0] / "predictions.parquet")
    table.to_csv(tmp_path / "mine.csv", index=False)
    results = evaluated(tmp_path / "mine.csv", "--out", tmp_path / "out")
    assert results["mean"]["at_0.5"] == casme2[1]["mean"]["at_0.5"]
    assert "calibrated" not in results["rules"] and results["data"] == "casme2"
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written == results and (tmp_path / "out" / "tables" / "results.parquet").is_file()


def test_arguments_that_do_not_fit_are_errors(tmp_path, capsys):
    for arguments, said in (
        ([str(tmp_path / "no")], "does not exist; give a run folder"),
        (
            [str(tmp_path), "--labels", "casme2", "samm", "--root", "/x"],
            "2 --labels and 1 --root; give one root per name",
        ),
    ):
        assert aullm("evaluate", *arguments) == 2
        assert said in capsys.readouterr().err
