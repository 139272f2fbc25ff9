"""A run of AULLM++: its losses in the log, its prior from nobody but the fold's own training clips."""

import json

import numpy as np
import pytest

from aullm_hf.evaluation.run_folder import read_json, read_table
from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.relation_prior import edges_from_labels
from aullm_hf.training.parsing import load_run_config
from support.tiny_run import tiny_yaml, train

AUS = [1, 4, 12]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    modules = {"mge": True, "graph": True, "ccr_weight": 0.5, "prior": "train"}
    sizes = {"graph_width": 8, "prompt_template": "AUs:{instruction}{content}"}
    return tiny_yaml(
        tmp_path_factory.mktemp("aullmpp"),
        model={**modules, **sizes},
        data={"subjects": 3, "clips_per_subject": 12},
        training={"num_train_epochs": 1, "save_strategy": "no"},
    )


@pytest.fixture(scope="module")
def run(config):
    assert train(config, config.parent / "run") == 0
    return config.parent / "run"


def test_the_loss_is_logged_term_by_term(run):
    terms = {"loss_detection", "loss_auxiliary", "loss_flip", "loss_consistency"}
    for log in run.glob("folds/*/log.json"):
        entries = json.loads(log.read_text())
        assert entries
        for entry in entries:
            assert terms <= set(entry)
            assert sum(entry[term] for term in terms) == pytest.approx(entry["loss"], rel=1e-3, abs=2e-4)


def test_the_prior_is_that_of_the_folds_training_clips_and_of_no_others(run, config):
    everything = read_table(run / "predictions.parquet").set_index("clip_id")
    actual = []
    for folder in sorted(run.glob("folds/*")):
        fold = read_json(folder / "fold.json")
        kept_out = set(read_table(folder / "inner.parquet")["clip_id"])
        subject = everything["dataset"] + ":" + everything["subject"]
        mine = everything[~subject.isin(fold["test_subjects"]) & ~everything.index.isin(kept_out)]
        assert len(mine) == 12
        labels = mine[[f"y_AU{au}" for au in AUS]].to_numpy(dtype=np.float32)
        model = AULLMForAUDetection.from_pretrained(folder / "checkpoint")
        assert model.config.prior_edges == edges_from_labels(labels, AUS)
        actual.append(model.config.prior_edges)
    assert len(actual) == 3


def test_rates_reach_the_modules(config):
    from aullm_hf.training.model import build_model
    from aullm_hf.training.optimizer import parameter_groups

    settings = load_run_config(config, ["--graph_learning_rate", "0.02", "--vision_learning_rate", "0.03"])
    model = build_model(settings.model, AUS, config.parent / "rates", 1)
    rates = {}
    for group in parameter_groups(model.trained_parameters(), settings.training):
        rates |= {id(parameter): group["lr"] for parameter in group["params"]}
    names = {name: rates[id(parameter)] for name, parameter in model.trained_parameters().items()}
    assert {rate for name, rate in names.items() if name.startswith("model.graph.")} == {0.02}
    assert {rate for name, rate in names.items() if name.startswith(("model.backbone.", "model.mge."))} == {0.03}
