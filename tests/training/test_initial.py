"""`--init`: every training of a run begins from a checkpoint's vision weights, or is told why it cannot."""

import json

import pytest
import torch
from safetensors.torch import load_file

from aullm_hf import AULLMConfig, packaged
from aullm_hf.training import fitting, initial
from aullm_hf.training.initial import initial_provenance, initial_weights
from aullm_hf.training.settings import ConfigError
from support.tiny import tiny_model
from support.tiny_run import baseline_yaml, tiny_yaml, train


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A checkpoint of the tiny run's shapes, as if it came with the package."""
    folder = tmp_path_factory.mktemp("given")
    data = {"datasets": ["synthetic-samm"], "subjects": 2}
    config = tiny_yaml(folder, data=data, training={"num_train_epochs": 1, "seed": 7})
    assert train(config, folder / "run", "--protocol", "holdout", "--inner", "none", "--test_fraction", "0.5") == 0
    return folder / "run" / "folds" / "holdout" / "checkpoint"


def test_a_fold_begins_from_its_vision_weights_and_projector(given, tmp_path, monkeypatch, capsys):
    begun = []
    run_trainer = fitting._run_trainer
    monkeypatch.setattr(
        fitting, "_run_trainer",
        lambda trainer, work: begun.append({k: v.clone() for k, v in trainer.model.state_dict().items()})
        or run_trainer(trainer, work),
    )  # fmt: skip
    monkeypatch.setattr(packaged, "PACKAGED", given)
    config = tiny_yaml(tmp_path, training={"num_train_epochs": 1})
    assert train(config, tmp_path / "run", "--init", "wild") == 0
    assert "does not fit" not in capsys.readouterr().out
    drawn, own = (f"synthetic-{name} v2 (easy), SYNTHETIC faces" for name in ("samm", "casme2"))
    assert json.loads((tmp_path / "run" / "run.json").read_text())["data"]["begun_from"] == [drawn]
    later = tmp_path / "run" / "folds" / "sub01" / "checkpoint"
    assert AULLMConfig.from_pretrained(later).begun_from == [drawn]
    assert initial_provenance(str(later)) == [own, drawn]
    weights = load_file(given / "model.safetensors")
    vision = [name for name in weights if name.startswith((*initial.VISION, *initial.AFTER))]
    assert len(begun) == 3 and len(vision) > 15
    for state in begun:
        for name in vision:
            assert torch.equal(state[name], weights[name]), name
        assert not torch.equal(state["classifier.weight"], weights["classifier.weight"])


def test_weights_that_may_have_seen_who_is_tested_are_refused(given, tmp_path, capsys):
    both = {"datasets": ["synthetic-casme2", "synthetic-samm"], "subjects": 2}
    config = tiny_yaml(tmp_path, data=both, training={"num_train_epochs": 1})
    begun = ("--init", str(given))
    assert train(config, tmp_path / "loso", *begun) == 2
    said = capsys.readouterr().err
    assert "which was trained on synthetic-samm v2 (easy)" in said and "--folds none --final_fit" in said
    assert not (tmp_path / "loso" / "run.json").exists()

    def across(source, target):
        folder = tmp_path / f"to-{target}"
        protocol = ("--protocol", "cross_domain", "--source", f"synthetic-{source}", "--target", f"synthetic-{target}")
        return train(config, folder, *begun, *protocol, "--inner", "none")

    assert across("casme2", "samm") == 2
    assert across("samm", "casme2") == 0  # those whom it has seen are not tested
    nobody = ("--folds", "none", "--final_fit", "--inner", "none")
    assert train(config, tmp_path / "final", *begun, *nobody) == 0


def test_what_follows_the_3d_cnn_begins_fresh_where_it_does_not_fit(given, capsys):
    sizes = {"image_size": 16, "backbone_channels": [4, 8], "se_reduction": 4, "high_dim": 8}
    model = tiny_model(**sizes, projector_hidden=24)
    weights = initial_weights(str(given), model)
    assert all(name.startswith(initial.VISION) for name in weights) and "model.backbone.conv1.weight" in weights
    assert "what follows it begins fresh" in capsys.readouterr().out


def test_another_smoothing_of_the_flow_is_said(tmp_path, capsys):
    sizes = {"image_size": 16, "backbone_channels": [4, 8], "se_reduction": 4, "high_dim": 8, "motion": "flow"}
    tiny_model(**sizes, flow_smoothing=2.0).save_pretrained(tmp_path)
    initial_weights(str(tmp_path), tiny_model(**sizes, flow_smoothing=2.0))
    assert "smoothing" not in capsys.readouterr().out
    initial_weights(str(tmp_path), tiny_model(**sizes))
    assert "with flow_smoothing: 2.0; this run has 0.0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"backbone_channels": [4, 16]}, r"conv2.weight is \(8, 4, 2, 3, 3\) there and \(16, 4, 2, 3, 3\)"),
        ({"motion": "flow"}, "model.flow.log_scale is missing there"),
    ],
)
def test_a_3d_cnn_that_does_not_fit_is_refused_in_words(given, fields, named):
    sizes = {"image_size": 16, "backbone_channels": [4, 8], "se_reduction": 4, "high_dim": 8}
    with pytest.raises(ConfigError, match=named) as refused:
        initial_weights(str(given), tiny_model(**{**sizes, **fields}))
    assert "backbone_channels" in str(refused.value)


def test_no_checkpoint_there_no_checkpoint_with_the_package_and_no_use_for_one(given, tmp_path, monkeypatch, capsys):
    with pytest.raises(ConfigError, match="give 'wild', or the folder of a checkpoint"):
        initial_weights(str(tmp_path), tiny_model())
    monkeypatch.setattr(packaged, "PACKAGED", tmp_path)
    with pytest.raises(ConfigError, match="came without its checkpoint"):
        initial_weights("wild", tiny_model())
    assert train(baseline_yaml(tmp_path, "led-sssnet"), tmp_path / "run", "--init", str(given)) == 2
    assert "led-sssnet has no use for" in capsys.readouterr().err
