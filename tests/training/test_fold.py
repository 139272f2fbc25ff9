"""What a run leaves behind: tables without leaks, checkpoints that give the table's numbers again, every protocol."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from aullm_hf.evaluation import read_run, score_predictions
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from support.tiny_run import tiny_yaml, train

AUS = ["AU1", "AU4", "AU12"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_yaml(tmp_path_factory.mktemp("folds"), training={"num_train_epochs": 1, "save_strategy": "no"})


@pytest.fixture(scope="module")
def run(config):
    assert train(config, config.parent / "run", "--final_fit") == 0
    return config.parent / "run"


def _clips(**options):
    from aullm_hf.data import load_clips

    return load_clips("synthetic", **{"subjects": 3, "clips_per_subject": 6, "size": 16, "aus": [1, 4, 12], **options})


def test_every_clip_is_tested_once_by_a_model_that_never_saw_its_subject(run):
    read = read_run(run)
    clips = _clips()
    assert sorted(read.predictions["clip_id"]) == sorted(clips["clip_id"])
    labels = {clip["clip_id"]: clip["aus"] for clip in clips.remove_columns("frames")}
    for row in read.predictions.to_dict("records"):
        assert [row[f"y_{au}"] for au in AUS] == [int(au[2:]) in labels[row["clip_id"]] for au in AUS]
    for entry in read.folds:
        assert not set(entry["seen_subjects"]) & set(entry["test_subjects"])
        assert len(entry["seen_subjects"]) == 2 and entry["seconds"] > 0
    assert score_predictions(read.predictions, read.folds, inner="holdout", resamples=10)


def test_run_json_says_what_was_run(run):
    info = json.loads((run / "run.json").read_text())
    assert info["aus"] == [1, 4, 12] and info["seeds"] == [1] and info["protocol"] == "loso"
    assert info["inner"] == "holdout" and info["model_kind"] == "aullm"
    assert info["data"]["n_clips"] == 18 and info["data"]["n_subjects"] == 3 and info["data"]["licensed"] is False
    assert info["base_llm"]["name"] == "tiny:qwen2" and set(info["versions"]) >= {"torch", "transformers", "aullm_hf"}
    assert str(run.parent) not in (run / "run.json").read_text()  # it may be published
    assert len(info["data"]["fingerprint"]) == 64 and info["data"]["label_release"] == "synthetic v2, easy, seed 0"


def test_a_checkpoint_gives_the_tables_numbers_again(run):
    read = read_run(run)
    clips = {clip["clip_id"]: clip for clip in _clips()}
    folder = run / "folds" / "sub02"
    model = AULLMForAUDetection.from_pretrained(folder / "checkpoint")
    processor = AULLMVideoProcessor.from_pretrained(folder / "checkpoint")
    rows = read.predictions[read.predictions["fold"] == "sub02"]
    pixels = processor([np.asarray(clips[name]["frames"]) for name in rows["clip_id"]])["pixel_values"]
    with torch.no_grad():
        logits = model(pixels).logits
    assert np.allclose(logits.numpy(), rows[[f"z_{au}" for au in AUS]], atol=1e-4)
    assert np.allclose(model.probabilities(logits).numpy(), rows[[f"p_{au}" for au in AUS]], atol=1e-4)
    entry = json.loads((folder / "fold.json").read_text())
    assert model.config.thresholds == entry["thresholds"] and model.config.calibration == entry["calibration"]
    assert set(entry["files"]) >= {"checkpoint/model.safetensors", "predictions.parquet", "log.json"}
    assert json.loads((folder / "log.json").read_text())[0]["loss"] > 0


def test_the_final_fit_has_seen_everybody_and_is_calibrated_on_the_folds(run):
    entry = json.loads((run / "final" / "fold.json").read_text())
    assert len(entry["seen_subjects"]) == 3
    model = AULLMForAUDetection.from_pretrained(run / "final" / "checkpoint")
    assert model.config.thresholds == entry["thresholds"]
    assert "final" not in pd.read_parquet(run / "predictions.parquet")["fold"].unique()


def test_no_fold_begins_where_another_ended(config, tmp_path, run):
    """Fold by fold in any order: the same weights, the same noise, the same table."""
    for name in ("sub03", "sub01", "sub02"):
        train(config, tmp_path / "run", "--folds", name)
    assert (tmp_path / "run" / "predictions.parquet").read_bytes() == (run / "predictions.parquet").read_bytes()


def test_calibration_follows_from_the_inner_clips_alone(run):
    from aullm_hf.evaluation import fit_calibration

    read = read_run(run)
    for entry in read.folds:
        inner = read.inner[read.inner["fold"] == entry["fold"]]
        subjects = (inner["dataset"] + ":" + inner["subject"]).tolist()
        assert set(subjects) <= set(entry["seen_subjects"])
        z, y = (inner[[f"{kind}_{au}" for au in AUS]].to_numpy() for kind in "zy")
        assert fit_calibration(z, y, AUS, subjects=subjects).to_dict()["thresholds"] == entry["thresholds"]


def test_what_a_subject_shows_changes_nothing_in_the_model_that_is_tested_on_it(config, run, tmp_path, monkeypatch):
    """A mark in the test subject's frames and other labels for it: weights, calibration and thresholds stay."""
    from aullm_hf.training import loop

    original = loop.clips_of

    def planted(dataset, aus, **options):
        clips = original(dataset, aus, **options)
        frames, labels = clips.frames.copy(), clips.labels.copy()
        for row in (row for row, subject in enumerate(clips.table["subject"]) if subject == "02"):
            frames[clips.starts[row] : clips.starts[row + 1], :4, :4] = 255 * labels[row, 0]
            labels[row] = 1 - labels[row]
        return replace(clips, frames=frames, labels=labels)

    monkeypatch.setattr(loop, "clips_of", planted)
    assert train(config, tmp_path / "run", "--folds", "sub02") == 0
    before, after = run / "folds" / "sub02", tmp_path / "run" / "folds" / "sub02"
    for name in ("checkpoint/model.safetensors", "checkpoint/config.json", "inner.parquet", "log.json"):
        assert (before / name).read_bytes() == (after / name).read_bytes(), name
    assert (before / "predictions.parquet").read_bytes() != (after / "predictions.parquet").read_bytes()


def test_refit_calibrates_first_and_then_trains_on_everybody_but_the_test(config, tmp_path, run):
    assert train(config, tmp_path / "run", "--inner", "refit", "--folds", "sub01") == 0
    refit = json.loads((tmp_path / "run/folds/sub01/fold.json").read_text())
    hold = json.loads((run / "folds/sub01/fold.json").read_text())
    assert refit["calibration"] == hold["calibration"] and refit["thresholds"] == hold["thresholds"]
    both = [pd.read_parquet(folder / "folds/sub01/predictions.parquet") for folder in (run, tmp_path / "run")]
    assert not np.allclose(both[0]["z_AU1"], both[1]["z_AU1"])
    assert not (tmp_path / "run/folds/sub01/work").exists()


def test_none_reports_without_calibration(config, tmp_path):
    assert train(config, tmp_path / "run", "--inner", "none") == 0
    read = read_run(tmp_path / "run")
    assert read.inner is None and "thresholds" not in read.folds[0]
    assert np.allclose(read.predictions["p_AU1"], 1 / (1 + np.exp(-read.predictions["z_AU1"])), atol=1e-6)


def test_several_seeds_are_several_rows_a_clip(config, tmp_path):
    assert train(config, tmp_path / "run", "--seeds", "1", "2", "--folds", "sub01") == 0
    assert train(config, tmp_path / "run", "--seeds", "1", "2") == 0
    read = read_run(tmp_path / "run")
    assert read.predictions["seed"].tolist() == [1] * 18 + [2] * 18
    assert {path.name for path in (tmp_path / "run/folds").iterdir()} == {
        f"sub0{subject}-seed{seed}" for subject in (1, 2, 3) for seed in (1, 2)
    }
    one, two = (read.predictions[read.predictions["seed"] == seed]["z_AU1"].to_numpy() for seed in (1, 2))
    assert not np.allclose(one, two)


def test_across_domains_subjects_carry_their_data_sets_name(tmp_path):
    config = tiny_yaml(
        tmp_path,
        data={"datasets": ["synthetic-casme2", "synthetic-samm"], "subjects": 2, "aus": "cross_domain"},
        protocol={"protocol": "cross_domain", "source": "synthetic-casme2", "target": "synthetic-samm"},
        training={"num_train_epochs": 1},
    )
    assert train(config, tmp_path / "run") == 0
    (entry,) = read_run(tmp_path / "run").folds
    assert entry["fold"] == "synthetic-casme2-to-synthetic-samm"
    assert entry["test_subjects"] == ["synthetic-samm:006", "synthetic-samm:007"]
    assert train(config, tmp_path / "all", "--protocol", "leave_one_dataset_out") == 0
    assert [entry["fold"] for entry in read_run(tmp_path / "all").folds] == ["synthetic-casme2", "synthetic-samm"]


def test_shuffled_labels_are_the_same_labels_elsewhere(config, tmp_path):
    assert train(config, tmp_path / "run", "--labels", "shuffled", "--folds", "sub01") == 0
    from aullm_hf.training.data import load_run_data
    from aullm_hf.training.parsing import load_run_config

    data = load_run_data(load_run_config(config, ["--labels", "shuffled"]).data, 16)
    plain = _clips()
    assert data.clips["clip_id"][:] == plain["clip_id"][:] and "SHUFFLED" in data.label_release
    assert sorted(map(tuple, data.clips["aus"])) == sorted(map(tuple, plain["aus"]))
    assert list(map(tuple, data.clips["aus"])) != list(map(tuple, plain["aus"]))


def test_errors_come_as_one_line(config, tmp_path, capsys):
    assert train(config, tmp_path / "run", "--projector", "midd") == 2
    assert "aullm train: The model section: AULLMConfig.projector is 'midd'; allowed" in capsys.readouterr().err
    assert train(config, tmp_path / "run", "--datasets", "casme2") == 2
    assert "casme2 is handed out by its owners: say where you unpacked it with --root" in capsys.readouterr().err


def test_a_checkpoint_without_the_llm_finds_it_by_name(config, tmp_path):
    """As with a real LLM: what was trained is saved, the LLM is loaded from where the run had it."""
    assert train(config, tmp_path / "run", "--save_base_weights", "false", "--folds", "sub01") == 0
    folder = tmp_path / "run/folds/sub01"
    model = AULLMForAUDetection.from_pretrained(folder / "checkpoint")
    from safetensors import safe_open

    with safe_open(folder / "checkpoint" / "model.safetensors", "pt") as saved:
        assert not [name for name in saved.keys() if ".llm." in name and "lora_" not in name]
    clips = {clip["clip_id"]: np.asarray(clip["frames"]) for clip in _clips()}
    table = pd.read_parquet(folder / "predictions.parquet")
    processor = AULLMVideoProcessor.from_pretrained(folder / "checkpoint")
    with torch.no_grad():
        logits = model(processor([clips[name] for name in table["clip_id"]])["pixel_values"]).logits
    assert np.allclose(logits.numpy(), table[[f"z_{au}" for au in AUS]], atol=1e-4)


def test_half_precision_leaves_no_trace_on_the_shared_model(config, tmp_path):
    """Autocast is put around `forward` for every training and taken off again: folds agree in any order."""
    for name, folds in {"one": ["sub01,sub02,sub03"], "other": ["sub03", "sub02,sub01"]}.items():
        for part in folds:
            assert train(config, tmp_path / name, "--bf16", "true", "--folds", part) == 0
    one, other = (tmp_path / name / "predictions.parquet" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_the_saved_configuration_is_the_run_again(run, tmp_path):
    assert train(run / "config.yaml", tmp_path / "run") == 0
    assert (tmp_path / "run" / "predictions.parquet").read_bytes() == (run / "predictions.parquet").read_bytes()


def test_trackers_keep_their_logs_beside_the_folds(config, tmp_path):
    options = ["--report_to", "tensorboard", "--logging_steps", "1", "--folds", "sub01,sub02"]
    assert train(config, tmp_path / "run", *options) == 0
    events = {path.parent.name for path in (tmp_path / "run" / "logs").rglob("events.*")}
    assert events == {"sub01", "sub02"}


def test_the_final_fit_waits_for_the_folds_unless_told_otherwise(config, tmp_path, capsys):
    assert train(config, tmp_path / "run", "--folds", "sub01", "--final_fit") == 0
    assert "The final fit waits for the last fold" in capsys.readouterr().out
    assert not (tmp_path / "run" / "final").exists()
    assert train(config, tmp_path / "run", "--folds", "none", "--final_fit") == 0
    entry = json.loads((tmp_path / "run" / "final" / "fold.json").read_text())
    assert set(entry["thresholds"].values()) == {0.5} and len(entry["flagged"]) == 3


def test_a_recipe_can_ask_for_the_final_fit(config, tmp_path):
    """It comes with the last fold, and not before; `--folds none` reads the data and trains nothing."""
    recipe = yaml.safe_load(config.read_text())
    recipe["protocol"]["final_fit"] = True
    path, run = tmp_path / "recipe.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(recipe))
    for folds in (["none"], ["sub01", "sub02"], ["sub03"]):
        assert not (run / "final").exists()
        assert train(path, run, "--folds", *folds) == 0
    assert len(json.loads((run / "final" / "fold.json").read_text())["seen_subjects"]) == 3
    assert train(path, tmp_path / "without", "--final_fit", "false") == 0
    assert not (tmp_path / "without" / "final").exists()


def test_folds_are_named_in_several_words_or_with_commas(config, tmp_path):
    for number, words in enumerate((["sub01", "sub03"], ["sub01,sub03"], ["sub01,", "sub03"])):
        run = tmp_path / str(number)
        assert train(config, run, "--folds", *words) == 0
        assert sorted(path.parent.name for path in run.glob("folds/*/fold.json")) == ["sub01", "sub03"]


def test_clips_that_cannot_be_told_apart_are_not_ranked_by_noise(config, tmp_path):
    """Without motion every clip of a fold gets the same logits, to the last digit that is kept (its edge apart)."""
    assert train(config, tmp_path / "run", "--frames", "onset") == 0
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    logits = table.groupby("fold")[[f"z_{au}" for au in AUS]]
    assert (logits.nunique() == 1).to_numpy().mean() > 0.8 and (logits.max() - logits.min()).max().max() < 1.5e-4
    for entry in read_run(tmp_path / "run").folds:
        assert entry["flagged"] == AUS and set(entry["thresholds"].values()) == {0.5}
