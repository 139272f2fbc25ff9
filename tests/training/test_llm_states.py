"""What is read off an LLM's states, against scikit-learn, and from a trained run to the table."""

import llm_states
import numpy as np
from peft.tuners.lora import LoraLayer
from sklearn.linear_model import Ridge
from sklearn.metrics import average_precision_score

from support.tiny import tiny_model
from support.tiny_run import tiny_yaml, train


def test_a_layer_is_read_as_scikit_learn_reads_it():
    rng = np.random.default_rng(0)
    labels = {part: (rng.random((60, 3)) < 0.4).astype(float) for part in ("train", "test")}
    told = rng.normal(size=(3, 20))
    train_states, test_states = (5 + labels[part] @ told + rng.normal(size=(60, 20)) for part in ("train", "test"))
    row = llm_states.layer_row(7, train_states, test_states, labels)
    centred = train_states - train_states.mean(axis=0)
    alpha = llm_states.RIDGE * (centred**2).sum() / len(centred)
    scores = Ridge(alpha=alpha).fit(train_states, labels["train"]).predict(test_states)
    ap = np.mean([average_precision_score(labels["test"][:, au], scores[:, au]) for au in range(3)])
    assert row["AP of a ridge regression"] == f"{100 * ap:.1f}" and row["layer"] == "7"
    assert row["differs between clips, %"] == f"{100 * centred.var(axis=0).mean() / (train_states**2).mean():.3g}"


def test_how_far_lora_moved_is_the_merged_weight_minus_the_frozen_one():
    model = tiny_model()
    layers = [layer for layer in model.modules() if isinstance(layer, LoraLayer)]
    frozen = [layer.get_base_layer().weight.clone() for layer in layers]
    line = llm_states.moved(model)
    for layer in layers:
        layer.merge()
    shares = [
        ((layer.get_base_layer().weight - weight).norm() / weight.norm()).item()
        for layer, weight in zip(layers, frozen, strict=True)
    ]
    assert line == (
        f"LoRA moved its {len(layers)} layers by {100 * min(shares):.2g} to {100 * max(shares):.2g} % of their norm."
    )
    assert llm_states.moved(tiny_model(lora=None)) == "There are no adapters."


def test_a_runs_layers_become_a_table(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(tiny_yaml(tmp_path, training={"max_steps": 2}), run) == 0
    capsys.readouterr()
    assert llm_states.main([str(run)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["0", "1"]
