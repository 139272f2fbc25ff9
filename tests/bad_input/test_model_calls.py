"""Every argument of the model, its configuration and its processor, with values that it does not take."""

import copy
import warnings
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given

from aullm_hf import AULLMConfig, AULLMForAUDetection, AULLMVideoProcessor, build_tiny_llm
from support.refusals import outcome
from support.tiny import clips, labels, tiny_config, tiny_llm, tiny_model
from support.wrong_values import TRIED, WRONG, wrong_values

MODELS = {"AU-LLM": tiny_model(), "AULLM++": tiny_model(mge=True, graph=True)}
X, Y = clips(2), labels(2)
LLM, CONFIG = tiny_llm(), AULLMConfig()
FIELDS = [one.name for one in fields(AULLMConfig) if "help" in one.metadata]
LORA = ("r", "lora_alpha", "lora_dropout", "target_modules", "layers_to_transform", "rank_pattern", "use_rslora", "x")

PIXELS = (
    X[0], X[:, :3], X[:0], X.int(), X.bool(), X.numpy(), [X], X * float("nan"), X / 0, X * 1e38, X.to(torch.complex64),
    torch.full_like(X, float("inf")).half(),
    X.to("meta"), X.to_sparse(), torch.zeros(2, 6, 3, 32, 32), torch.zeros(2, 6, 1, 32, 33), X.to(torch.float8_e4m3fn),
)  # fmt: skip
TARGETS = (
    Y[:1], Y[:, :2], Y * 2, Y - 2, Y * float("nan"), Y.numpy(), Y.tolist(), Y[None], Y.to("meta"), Y / 0,
    Y.to(torch.complex64), torch.full((2, 3), -100), torch.full((2, 3), 255, dtype=torch.uint8),
)  # fmt: skip
EDGES = ([[1, 4]], [[1, 1, "opposing"]], [[1, 99, "opposing"]], [["1", "4", "opposing"]], ["abc"], [[True, 4, "x"]])
VIDEOS = (
    np.zeros((0, 4, 4), np.uint8), np.zeros((3, 0, 4), np.uint8), np.zeros((3, 4, 4, 2), np.uint8),
    np.full((3, 4, 4), np.nan), np.full((3, 4, 4), -1), np.full((3, 4, 4), 256), np.zeros((3, 4, 4), object),
    np.zeros((3, 4, 4), "M8[s]"), np.zeros((2, 2, 3, 4, 4, 4), np.uint8), np.full((3, 4, 4), 1.01),
    np.broadcast_to(np.uint8(3), (3, 10**5, 10**5)), np.broadcast_to(np.uint8(3), (3, 4, 10**6)),
    [np.zeros((4, 4), np.uint8), np.zeros((4, 5), np.uint8)], [np.zeros((3, 4, 4), np.uint8), None],
    {"frames": np.zeros((3, 4, 4), np.uint8)}, torch.zeros(3, 4, 4, device="meta"), "clip.png",
)  # fmt: skip


@pytest.mark.parametrize("name", [*FIELDS, "aus"])
@TRIED
@given(value=wrong_values())
def test_configuration(name, value):
    def make():
        config = AULLMConfig(**{name: value})
        assert AULLMConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()

    others = {
        "aus": "id2label",
        "backbone_channels": "se_reduction",
    }  # the fields that a value of this one contradicts
    outcome(make, name, others.get(name, name), types=(ValueError, TypeError))


@pytest.mark.parametrize("name", FIELDS)
@TRIED
@given(value=wrong_values())
def test_assignment(name, value):
    outcome(lambda: setattr(copy.copy(CONFIG), name, value), name)


@pytest.mark.parametrize("key", LORA)
@TRIED
@given(value=wrong_values())
def test_lora(key, value):
    outcome(lambda: AULLMConfig(lora={"r": 4, "target_modules": ["q_proj"], key: value}), f"lora[{key!r}]")


@pytest.mark.parametrize("name", MODELS)
@TRIED
@given(value=wrong_values(*PIXELS))
def test_pixels(name, value):
    model = MODELS[name]
    with torch.no_grad():
        outcome(lambda: _finite(model(value).logits), "pixel_values")
        outcome(lambda: _finite(model.model(value).last_hidden_state), "pixel_values")
        outcome(lambda: model.explain(value), "pixel_values")


def _finite(found: torch.Tensor) -> None:
    assert found.isfinite().all()


@pytest.mark.parametrize("name", MODELS)
@TRIED
@given(value=wrong_values(*TARGETS).filter(lambda value: value is not None))
def test_labels(name, value):
    model = MODELS[name]
    with torch.no_grad():
        outcome(lambda: _finite(model(X, labels=value).loss), "labels")
        outcome(lambda: _finite(model.loss(model(X).logits, value)), "labels")
        outcome(lambda: model.probabilities(value), "logits")


@TRIED
@given(value=wrong_values(*EDGES))
def test_names_edges_and_seeds(value):
    model = MODELS["AULLM++"]
    before = model.config.prior_edges
    outcome(lambda: model.explain(X[:1], value), "aus")
    outcome(lambda: model.set_prior(value), "edge")
    model.set_prior(before)
    outcome(lambda: MODELS["AU-LLM"].reset_trained(value) if type(value) is not int else None, "seed")


@pytest.mark.parametrize("argument", ["config", "base", "revision", "seed", "unknown"])
@TRIED
@given(value=wrong_values().filter(lambda value: not isinstance(value, str)))
def test_a_model_around_an_llm(argument, value):
    given_ = {"config": tiny_config(), "base": LLM, argument: value}
    if argument == "base" and value is None:
        return  # as good as left out: the configuration's
    outcome(lambda: _quietly(lambda: AULLMForAUDetection.from_base_llm(**given_)), argument)


def _quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call()


@pytest.mark.parametrize("value", [value for value in WRONG if value is not None and not isinstance(value, str)])
def test_what_is_loaded(value):
    outcome(lambda: AULLMForAUDetection.from_pretrained(value), "pretrained_model_name_or_path", "repo", "folder", "/")


@TRIED
@given(value=wrong_values(*VIDEOS))
def test_clips(value):
    processor = AULLMVideoProcessor(size=16)
    for options in ({}, {"train": True}):
        outcome(lambda: processor(value, **options), "clip", "AULLMVideoProcessor", repr(value), "video")  # noqa: B023


@pytest.mark.parametrize("name", ["num_frames", "size", "value_range", "include_last", "face"])
@TRIED
@given(value=wrong_values())
def test_processor_settings(name, value):
    outcome(lambda: AULLMVideoProcessor(**{name: value}), name)


@pytest.mark.parametrize("name", ["train", "generator", "return_tensors", "num_frames", "unknown"])
@TRIED
@given(value=wrong_values())
def test_processor_options(name, value):
    outcome(lambda: AULLMVideoProcessor(size=16)(np.zeros((8, 9, 9), np.uint8), **{name: value}), name)


@pytest.mark.parametrize("name", ["path", "family", "seed", "dtype", "hidden_size", "num_attention_heads", "unknown"])
@TRIED
@given(value=wrong_values().filter(lambda value: type(value) is not int or value < 64))
def test_tiny_llms(name, value, tmp_path_factory):
    if name == "path" and isinstance(value, str):
        return
    folder = tmp_path_factory.getbasetemp() / "tiny"
    outcome(lambda: build_tiny_llm(**{"path": folder, name: value}), name)
