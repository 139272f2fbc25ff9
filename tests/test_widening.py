"""In which dtype the frozen LLM computes, in training and in predicting."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from aullm_hf import widening
from aullm_hf.inference import AUDetector
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.training import loop
from support.tiny import clips, tiny_config, tiny_llm
from support.tiny_run import tiny_yaml, train
from support.videos import noise

TOLERANCE = 0.03  # of the largest logit, which is about 1: what bfloat16's eight bits allow after a few layers


@pytest.fixture
def capabilities(monkeypatch):
    """Of the processor that the code finds itself on; none to begin with."""
    found: dict[str, bool] = {}
    monkeypatch.setattr(widening.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(widening.torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: None)  # tests that follow are in this process
    return found


def _model(dtype: str = "bfloat16", **fields) -> AULLMForAUDetection:
    return AULLMForAUDetection.from_base_llm(tiny_config(**fields), tiny_llm("qwen2"), dtype=dtype).eval()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_llm_in_a_dtype_that_is_emulated_computes_the_same_in_float32(capabilities, dtype):
    model, pixels = _model(dtype), clips(4)
    weights = {name: weight.clone() for name, weight in model.model.llm.state_dict().items()}
    with torch.no_grad():
        before = model(pixels).logits
        with widening.widened_llm(model):
            within = model(pixels).logits
            for name, weight in model.model.llm.state_dict().items():
                assert weight.dtype == torch.float32 and torch.equal(weight, weights[name].float()), name
        assert torch.equal(model(pixels).logits, before)
    assert not torch.equal(before, within)
    torch.testing.assert_close(within, before, rtol=0, atol=TOLERANCE * float(before.abs().max()))
    after = model.model.llm.state_dict()
    assert {name: weight.dtype for name, weight in after.items()} == {name: one.dtype for name, one in weights.items()}


@pytest.mark.parametrize(
    ("instructions", "machine", "device", "memory"),
    [
        ("avx512_bf16", "x86_64", "cpu", 1 << 40),
        ("amx_bf16", "AMD64", "cpu", 1 << 40),
        ("avx2", "arm64", "cpu", 1 << 40),
        ("avx2", "x86_64", "meta", 1 << 40),
        ("avx2", "x86_64", "cpu", 1 << 10),
    ],
    ids=["bf16", "AMX", "ARM", "elsewhere", "memory"],
)
def test_elsewhere_it_stays_as_it_is(capabilities, monkeypatch, instructions, machine, device, memory):
    capabilities[instructions] = True
    monkeypatch.setattr(widening.platform, "machine", lambda: machine)
    monkeypatch.setattr(widening.psutil, "virtual_memory", lambda: SimpleNamespace(total=memory))
    assert widening.widen_llm(_model().to(device)) == {}


def test_a_detector_computes_in_float32_unless_a_dtype_is_named_or_the_model_given(capabilities, tmp_path):
    capabilities["avx2"] = True
    model = _model()
    processor = AULLMVideoProcessor.for_config(model.config)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "checkpoint")
    options = {"face": "none", "window": 0, "device": "cpu"}
    widened = AUDetector(tmp_path / "checkpoint", **options)
    named = AUDetector(tmp_path / "checkpoint", dtype="bfloat16", **options)
    given = AUDetector(model, processor=processor, **options)
    dtypes = [detector.model.model.llm.dtype for detector in (widened, named, given)]
    assert dtypes == [torch.float32, torch.bfloat16, torch.bfloat16]
    read = [clip for seed in range(4) for clip in widened.read(np.stack(noise(12, seed=seed)))]
    p, expected = widened.probabilities(read), named.probabilities(read)
    assert np.array_equal(expected, given.probabilities(read)) and not np.array_equal(expected, p)
    np.testing.assert_allclose(p, expected, rtol=0, atol=TOLERANCE / 4)  # a logistic curve rises by a quarter at most


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ({"save_base_weights": False}, [], {(True, torch.float32), (False, torch.float32)}),
        ({"save_base_weights": True}, [], {(True, torch.bfloat16), (False, torch.float32)}),  # checkpoints hold it
        ({"save_base_weights": False}, ["--bf16", "true"], {(True, torch.bfloat16), (False, torch.bfloat16)}),
    ],
    ids=["frozen", "saved", "autocast"],
)
def test_a_run_trains_and_predicts_in_float32(capabilities, tmp_path, monkeypatch, model, options, expected):
    capabilities["avx2"] = True
    seen, original = set(), AULLMForAUDetection.forward

    def noted(model, *args, **kwargs):
        seen.add((model.training, model.model.llm.dtype))
        return original(model, *args, **kwargs)

    monkeypatch.setattr(AULLMForAUDetection, "forward", noted)
    llm = {"llm_name_or_path": tiny_llm("qwen2"), "llm_dtype": "bfloat16", "tiny_llm": None} | model
    words = ["--folds", "sub01", "--num_train_epochs", "1", *options]
    assert train(tiny_yaml(tmp_path, model=llm), tmp_path / "run", *words) == 0
    assert seen == expected
