"""`torch_compile`: the same figures and the same names, and one compilation for all folds."""

import json

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from torch._dynamo.utils import counters

from aullm_hf.training import loop
from aullm_hf.training.compiling import compiled_parts
from support.tiny import tiny_model
from support.tiny_run import tiny_yaml, train

FOLDS = ("--folds", "sub01,sub02")


def _names(run):
    with safe_open(run / "folds/sub02/checkpoint/model.safetensors", framework="pt") as file:
        return set(file.keys())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    assert train(tiny_yaml(folder), folder / "run", *FOLDS) == 0
    return folder / "run"


def _compiled_run(folder, monkeypatch, *options):
    """A run, and how many graphs had been compiled at the end of each of its folds."""
    graphs, original = [], loop.train_fold

    def counted(*args, **kwargs):
        original(*args, **kwargs)
        graphs.append(counters["stats"]["unique_graphs"])

    monkeypatch.setattr(loop, "train_fold", counted)
    torch._dynamo.reset()
    counters.clear()
    assert train(tiny_yaml(folder), folder / "run", *FOLDS, "--torch_compile", "true", *options) == 0
    return folder / "run", graphs


def _agree(run, plain):
    """Up to float noise, dropout's draws included."""
    for name in ("predictions.parquet", "inner.parquet"):
        one, other = (pd.read_parquet(folder / "folds/sub02" / name) for folder in (run, plain))
        logits = [column for column in one if column.startswith("z_")]
        assert one[logits].to_numpy() == pytest.approx(other[logits].to_numpy(), abs=1e-3)
    logs = [json.loads((folder / "folds/sub02/log.json").read_text()) for folder in (run, plain)]
    assert [entry["loss"] for entry in logs[0]] == pytest.approx([entry["loss"] for entry in logs[1]], abs=1e-4)


def test_one_compilation_serves_all_folds_and_no_name_changes(tmp_path, plain, monkeypatch):
    """With the compiler's front alone: graphs are found and reused as ever, and run as they are."""
    run, graphs = _compiled_run(tmp_path, monkeypatch, "--torch_compile_backend", "eager")
    assert len(graphs) == 2 and graphs[0] == graphs[1] > 0
    assert not counters["graph_break"]
    assert _names(run) == _names(plain)
    _agree(run, plain)


@pytest.mark.slow
def test_compiled_code_computes_the_same(tmp_path, plain, monkeypatch):
    run, graphs = _compiled_run(tmp_path, monkeypatch)
    assert graphs[0] == graphs[1] > 0
    assert _names(run) == _names(plain)
    _agree(run, plain)


def test_the_llm_and_the_3d_cnn_are_what_is_compiled():
    model = tiny_model()
    assert compiled_parts(model) == [model.model.backbone, model.model.llm]
