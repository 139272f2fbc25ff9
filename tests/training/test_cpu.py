"""Training on a CPU: in which dtype the frozen LLM computes, and what becomes of freed memory."""

import platform
import resource
import sys
from types import SimpleNamespace

import pytest
import torch

from aullm_hf.model import AULLMForAUDetection
from aullm_hf.training import cpu, loop
from support.processes import Started
from support.tiny import clips, tiny_config, tiny_llm
from support.tiny_run import tiny_yaml, train

EMULATES = {"avx2": True, "avx512_bf16": False}


@pytest.fixture
def capabilities(monkeypatch):
    """Of the processor that the code finds itself on; none to begin with."""
    found: dict[str, bool] = {}
    monkeypatch.setattr(cpu.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(cpu.torch.cpu, "get_capabilities", lambda: found)
    monkeypatch.setattr(loop, "keep_freed_memory", lambda: None)  # tests that follow are in this process
    return found


def _model(dtype: str = "bfloat16", **fields) -> AULLMForAUDetection:
    return AULLMForAUDetection.from_base_llm(tiny_config(**fields), tiny_llm("qwen2"), dtype=dtype).eval()


def _training(device: str = "cpu", bf16: bool = False):
    return SimpleNamespace(device=torch.device(device), bf16=bf16, fp16=False)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_an_llm_in_a_dtype_that_is_emulated_computes_the_same_in_float32(capabilities, dtype):
    model, pixels = _model(dtype), clips(4)
    weights = {name: weight.clone() for name, weight in model.model.llm.state_dict().items()}
    with torch.no_grad():
        before = model(pixels).logits
        with cpu.suited_llm(model, _training()):
            within = model(pixels).logits
            for name, weight in model.model.llm.state_dict().items():
                assert weight.dtype == torch.float32 and torch.equal(weight, weights[name].float()), name
        assert torch.equal(model(pixels).logits, before)
    assert not torch.equal(before, within)
    torch.testing.assert_close(within, before, rtol=0, atol=0.03 * float(before.abs().max()))
    after = model.model.llm.state_dict()
    assert {name: weight.dtype for name, weight in after.items()} == {name: one.dtype for name, one in weights.items()}


@pytest.mark.parametrize(
    ("instructions", "machine", "training", "fields", "memory"),
    [
        ("avx512_bf16", "x86_64", _training(), {}, 1 << 40),
        ("amx_bf16", "AMD64", _training(), {}, 1 << 40),
        ("avx2", "arm64", _training(), {}, 1 << 40),
        ("avx2", "x86_64", _training("cuda"), {}, 1 << 40),
        ("avx2", "x86_64", _training(bf16=True), {}, 1 << 40),
        ("avx2", "x86_64", _training(), {"save_base_weights": True}, 1 << 40),  # checkpoints would hold it
        ("avx2", "x86_64", _training(), {}, 1 << 10),
    ],
    ids=["bf16", "AMX", "ARM", "GPU", "autocast", "saved", "memory"],
)
def test_elsewhere_it_stays_as_it_is(capabilities, monkeypatch, instructions, machine, training, fields, memory):
    capabilities[instructions] = True
    monkeypatch.setattr(cpu.platform, "machine", lambda: machine)
    monkeypatch.setattr(cpu.psutil, "virtual_memory", lambda: SimpleNamespace(total=memory))
    model = _model(**fields)
    with cpu.suited_llm(model, training):
        assert model.model.llm.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("dtype", "instructions", "training", "fused"),
    [
        ("bfloat16", "avx512_bf16", _training(), False),
        ("float32", "avx512_bf16", _training(bf16=True), False),  # autocast: attention is in bfloat16 as well
        ("float32", "avx512_bf16", _training(), True),
        ("bfloat16", "avx2", _training(), True),  # widened
        ("bfloat16", "avx512_bf16", _training("cuda"), True),
    ],
)
def test_attention_in_narrow_dtypes_is_not_fused(capabilities, dtype, instructions, training, fused):
    capabilities[instructions] = True
    model, pixels = _model(dtype), clips(4)
    with torch.no_grad():
        before = model(pixels).logits
        with cpu.suited_llm(model, training):
            assert torch.backends.cuda.flash_sdp_enabled() is fused
            within = model(pixels).logits
    assert torch.backends.cuda.flash_sdp_enabled()
    torch.testing.assert_close(within, before, rtol=0, atol=0.03 * float(before.abs().max()))


def test_a_run_trains_in_float32_and_predicts_in_the_dtype_of_its_recipe(capabilities, tmp_path, monkeypatch):
    capabilities["avx2"] = True
    seen, original = [], AULLMForAUDetection.forward

    def noted(model, *args, **kwargs):
        seen.append((model.training, model.model.llm.dtype))
        return original(model, *args, **kwargs)

    monkeypatch.setattr(AULLMForAUDetection, "forward", noted)
    llm = {
        "llm_name_or_path": tiny_llm("qwen2"),
        "llm_dtype": "bfloat16",
        "save_base_weights": False,
        "tiny_llm": None,
    }
    assert train(tiny_yaml(tmp_path, model=llm), tmp_path / "run", "--folds", "sub01", "--num_train_epochs", "1") == 0
    assert set(seen) == {(True, torch.float32), (False, torch.bfloat16)}


def _faults_of_a_block_that_was_there_before() -> None:
    """Exits with 0 if 64 MiB that were freed are given again without the system clearing their pages once more."""
    cpu.keep_freed_memory()
    for _ in range(6):  # at first two places may take turns: an aligned block does not fit where an equal one lay
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)
    sys.exit(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before > 2**24 * 4 / resource.getpagesize() / 10)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_freed_memory_is_kept():
    # forked from a process that has the libraries and little else: what a session's tests left is no part of it
    assert Started(_faults_of_a_block_that_was_there_before).wait() == 0
