"""What a Trainer's checkpoint holds beside the weights comes back as it was, and nothing is unpickled on the way."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.training.checkpoints import load_state, random_state, save_state, set_random_state
from support.tiny_run import forked, killed_at, tables, tiny_yaml, train

_KEYS = st.one_of(st.integers(-3, 300), st.text(max_size=4))
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False), st.text(max_size=5),
    st.sampled_from([torch.zeros(0), torch.tensor(3.0), torch.arange(6, dtype=torch.uint8).reshape(2, 3),
                     torch.ones(3, 4, dtype=torch.bfloat16).T, np.arange(4, dtype=np.uint32)]),
)  # fmt: skip
_TREES = st.recursive(
    _LEAVES,
    lambda one: st.lists(one, max_size=3) | st.tuples(one, one) | st.dictionaries(_KEYS, one, max_size=3),
    max_leaves=8,
)


def _same(one, other) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray):
        alike = type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape
        return alike and bool((one == other).all())
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and one == other


@settings(max_examples=60, deadline=None)
@given(tree=_TREES)
def test_a_tree_comes_back_as_it_was(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / "state.safetensors"
    save_state(tree, path)
    assert _same(tree, load_state(path))


def test_what_is_no_plain_value_is_refused_by_its_type(tmp_path):
    with pytest.raises(TypeError, match="A checkpoint cannot hold Random"):
        save_state({"hook": random.Random()}, tmp_path / "state.safetensors")


def test_random_numbers_go_on_where_they_were(tmp_path):
    save_state(random_state(), tmp_path / "state.safetensors")

    def draw():
        return random.random(), np.random.rand(), torch.rand(2).tolist()

    first = draw()
    set_random_state(load_state(tmp_path / "state.safetensors"))
    assert draw() == first


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop])
def test_an_optimizer_and_its_schedule_take_the_same_next_step(tmp_path, kind):
    from transformers import get_linear_schedule_with_warmup

    def made(weights):
        optimizer = kind([{"params": [weights], "name": "head"}], lr=0.1)
        return optimizer, get_linear_schedule_with_warmup(optimizer, 2, 8)

    def step(weights, optimizer, schedule):
        weights.grad = torch.sin(weights.detach() * 3)
        optimizer.step()
        schedule.step()

    weights = torch.nn.Parameter(torch.linspace(-1, 1, 5))
    optimizer, schedule = made(weights)
    for _ in range(3):
        step(weights, optimizer, schedule)
    for name, part in (("optimizer", optimizer), ("schedule", schedule)):
        save_state(part.state_dict(), tmp_path / name)
    again = torch.nn.Parameter(copy.deepcopy(weights.detach()))
    others = made(again)
    for name, part in zip(("optimizer", "schedule"), others, strict=True):
        part.load_state_dict(load_state(tmp_path / name))
    step(weights, optimizer, schedule)
    step(again, *others)
    assert torch.equal(weights, again) and schedule.get_last_lr() == others[1].get_last_lr()


def test_a_gradient_scaler_comes_back(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    scaler.scale(torch.tensor(1.0))
    save_state(scaler.state_dict(), tmp_path / "scaler")
    other = torch.amp.GradScaler("cpu")
    other.load_state_dict(load_state(tmp_path / "scaler"))
    assert other.state_dict() == scaler.state_dict() and other.get_scale() == 512.0


def _without_pickle(function, *args):
    """The function with everything that pickles or unpickles made to fail."""

    def refused(*_, **__):
        raise AssertionError("something was unpickled")

    pickle.load = pickle.loads = pickle.Unpickler = torch.load = torch.save = refused
    raise SystemExit(function(*args))


def _evaluate_and_predict(run):
    from support.commands import aullm

    aullm("evaluate", run, "--resamples", "10")
    clip = np.zeros((8, 16, 16), dtype=np.uint8)
    from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor

    checkpoint = run / "folds" / "sub01" / "checkpoint"
    pixels = AULLMVideoProcessor.from_pretrained(checkpoint)([clip])["pixel_values"]
    assert AULLMForAUDetection.from_pretrained(checkpoint)(pixels).logits.isfinite().all()
    return 0


def test_training_stops_goes_on_and_is_scored_without_a_pickle(tmp_path):
    config = tiny_yaml(tmp_path)
    train(config, tmp_path / "undisturbed")
    run = tmp_path / "run"
    assert killed_at("aullm_hf.training.trainer", "seal", 2, _without_pickle, train, config, run, after=True) == -9
    kept = {path.suffix for path in run.glob("folds/*/work/checkpoint-*/*")}
    assert kept == {".safetensors", ".json"}  # no code: a training goes on from it
    assert {path.suffix for path in run.glob("folds/*/checkpoint/*")} <= {".safetensors", ".json", ".py"}
    assert forked(_without_pickle, train, config, run) == 0
    assert tables(run) == tables(tmp_path / "undisturbed")
    assert forked(_without_pickle, _evaluate_and_predict, run) == 0
