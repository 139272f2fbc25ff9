"""Baselines under the runner: the same tables and checkpoints as AU-LLM's, teachers first, and they learn."""

import json

import numpy as np
import pytest
import torch
import yaml

from aullm_hf.baselines import ARCHITECTURES, BaselineForAUDetection, BaselineVideoProcessor
from aullm_hf.data import load_clips
from aullm_hf.evaluation import read_run, score_predictions
from aullm_hf.training.model import model_config
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.settings import ConfigError
from support.tiny_run import ROOT, baseline_yaml, killed_at, tables, train

AUS = ["AU1", "AU4", "AU12"]


@pytest.mark.parametrize("kind", ["led-sssnet", "sssnet-flow", "lbp-top-svm", "dvasp"])
def test_a_run_leaves_tables_and_checkpoints_that_agree(kind, tmp_path):
    run = tmp_path / "run"
    assert train(baseline_yaml(tmp_path, kind), run) == 0
    read = read_run(run)
    assert len(read.predictions) == 18 and len(read.folds) == 3
    assert score_predictions(read.predictions, read.folds, inner="holdout", resamples=10)
    clips = load_clips("synthetic", aus=[1, 4, 12], subjects=3, clips_per_subject=6, size=16)
    clips = {clip["clip_id"]: np.asarray(clip["frames"]) for clip in clips}
    checkpoint = run / "folds" / "sub02" / "checkpoint"
    model = BaselineForAUDetection.from_pretrained(checkpoint)
    processor = BaselineVideoProcessor.from_pretrained(checkpoint)
    rows = read.predictions[read.predictions["fold"] == "sub02"]
    with torch.no_grad():
        logits = model(processor([clips[name] for name in rows["clip_id"]])["pixel_values"]).logits
    assert np.allclose(logits.numpy(), rows[[f"z_{au}" for au in AUS]], atol=1e-3)
    assert np.allclose(model.probabilities(logits).numpy(), rows[[f"p_{au}" for au in AUS]], atol=1e-3)
    entry = json.loads((run / "folds" / "sub02" / "fold.json").read_text())
    assert model.config.thresholds == entry["thresholds"]
    assert entry["train_seconds"] > 0 and entry["test_seconds"] > 0
    assert not any("teacher" in name for name in entry["files"])  # left behind
    info = json.loads((run / "run.json").read_text())
    assert info["model_kind"] == kind and info["base_llm"] is None
    assert info["parameters"]["trained"] == sum(one.numel() for one in model.parameters())


@pytest.mark.parametrize(
    ("moment", "call"), [("between teacher and student", 1), ("the student's second checkpoint", 6)]
)
def test_a_killed_student_goes_on_with_the_same_teacher(moment, call, tmp_path):
    """The first kill comes when the teacher is in its place, the other one later: the same bytes, either way."""
    config = baseline_yaml(tmp_path, "at", save_steps=1)
    train(config, tmp_path / "whole", "--folds", "sub01")
    if moment.startswith("between"):
        killed_at(
            "aullm_hf.training.fitting",
            "replace_folder",
            call,
            train,
            config,
            tmp_path / "cut",
            "--folds",
            "sub01",
            after=True,
        )
    else:
        killed_at(
            "aullm_hf.training.trainer", "seal", call, train, config, tmp_path / "cut", "--folds", "sub01", after=True
        )
    assert (tmp_path / "cut/folds/sub01/work/teacher0/checkpoint/model.safetensors").is_file()
    assert not (tmp_path / "cut/folds/sub01/fold.json").is_file()
    train(config, tmp_path / "cut", "--folds", "sub01")
    cut, whole = (tmp_path / name / "folds" / "sub01" for name in ("cut", "whole"))
    assert tables(cut) == tables(whole)
    assert (cut / "checkpoint/model.safetensors").read_bytes() == (whole / "checkpoint/model.safetensors").read_bytes()


def test_no_teacher_sees_the_test_subject(tmp_path, monkeypatch):
    """Teachers train on the rows of their student, and on no others."""
    from aullm_hf.training import fitting, fold

    seen, original = [], fitting.fit

    def watched(context, task, rows, *args):
        seen.append((context.model.config.architecture, tuple(rows)))
        return original(context, task, rows, *args)

    for module in (fitting, fold):
        monkeypatch.setattr(module, "fit", watched)
    train(baseline_yaml(tmp_path, "sp"), tmp_path / "run", "--folds", "sub01")
    assert [name for name, _ in seen] == ["sp", "resnet34"] and seen[0][1] == seen[1][1]


def test_views_that_draw_nothing_refuse_augmentation(tmp_path, capsys):
    config = baseline_yaml(tmp_path, "sssnet-flow", augment_shift=1)
    assert train(config, tmp_path / "run") == 2
    assert "augment_shift is 1, but sssnet-flow sees the same of a clip in every step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"model_kind": "vgg"}, r"model_kind is 'vgg'; allowed: 'aullm', 'lbp-top-svm', .*'led-sssnet'"),
        ({"model_kind": "sp", "projector": "mid"}, "projector is 'mid', which sp has no use for"),
        ({"model_kind": "aullm", "svm_c": 2.0}, "svm_c is 2.0, which aullm has no use for"),
        ({"model_kind": "sp", "dropout": 2.0}, "The model section: BaselineConfig.dropout is 2.0"),
    ],
)
def test_what_does_not_fit_the_kind_is_refused(tmp_path, model, message):
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"model": {"llm_name_or_path": None, **model}}))
    with pytest.raises(ConfigError, match=message):
        model_config(load_run_config(path).model, [1, 4])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_baseline_has_its_recipes_and_a_row_in_every_table(kind):
    recipes = ROOT / "hub_configs"
    for place in ("casme2", "samm", "cross-casme2-to-samm", "cross-samm-to-casme2"):
        config = load_run_config(recipes / f"{place}-baseline-{kind}.yaml")
        assert config.model.model_kind == kind and config.protocol.inner == "none" and config.seeds == [1]
        assert ARCHITECTURES[kind].title in (recipes / "sweeps" / f"{place}.yaml").read_text()
    assert f"model_kind: {kind}}}" in (recipes / "sweeps" / "easy.yaml").read_text()


# -------------------------------------------------------------------- learning


def easy_f1(tmp_path, kind, *options):
    """Mean F1 at the fold's own thresholds, and always-active's, on the clips of the quickstart."""
    run = tmp_path / kind
    recipe = ROOT / "hub_configs" / "quickstart-baseline.yaml"
    assert train(recipe, run, "--model_kind", kind, "--use_cpu", "true", *options) == 0
    read = read_run(run)
    scores = score_predictions(read.predictions, read.folds, inner="holdout", resamples=0)
    return scores.mean("calibrated", "f1"), scores.mean("always_present", "f1")


@pytest.mark.parametrize(("kind", "least"), [("flow-svm", 0.8), ("lbp-top-svm", 0.68)])
def test_a_machine_learns_easy_clips_in_seconds(kind, least, tmp_path):
    f1, floor = easy_f1(tmp_path, kind)
    assert f1 > least > floor + 0.15


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if not kind.endswith("svm")])
def test_a_network_learns_easy_clips_in_minutes(kind, tmp_path):
    f1, floor = easy_f1(tmp_path, kind)
    assert f1 > 0.68 > floor + 0.15
