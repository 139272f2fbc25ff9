"""A call that spares work gives the rows that a plain call gives, and their gradients."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoModel, BloomConfig

from aullm_hf.model.reading_llm import SHORT, plain_attention, read_llm, spare_last_mlp, trains_short
from support.tiny import FAMILIES, tiny_model


def llm_of(family="qwen2", **fields):
    llm = tiny_model(family, **fields).model.llm
    return llm, llm.config.hidden_size


def rows_in_last_mlp(llm, call) -> list[int]:
    """How many rows the last MLP's own layers were given."""
    seen = []
    mlp = llm.layers[-1].mlp
    handle = next(part for part in mlp.modules() if isinstance(part, nn.Linear)).register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].shape[:-1].numel())
    )
    call()
    handle.remove()
    return seen


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=10, deadline=None)
@given(data=st.data(), sequences=st.integers(1, 4), length=st.integers(1, 9), seed=st.integers(0, 999))
def test_the_rows_and_their_gradients_are_those_of_a_plain_call(family, data, sequences, length, seed):
    llm, width = llm_of(family)
    torch.manual_seed(seed)
    places = sequences * length
    rows = torch.tensor(data.draw(st.lists(st.integers(0, places - 1), min_size=1, max_size=places, unique=True)))
    embeds = (torch.randn(sequences, length, width) * 0.3).requires_grad_()
    plain = llm(inputs_embeds=embeds, use_cache=False).last_hidden_state.flatten(0, 1)[rows]
    weight = torch.randn_like(plain)
    trained = [embeds, *(p for p in llm.parameters() if p.requires_grad)]
    expected = torch.autograd.grad((plain * weight).sum(), trained)
    spared = read_llm(llm, embeds, rows, use_cache=False)
    torch.testing.assert_close(spared, plain, atol=1e-5, rtol=1e-5)
    for found, wanted in zip(torch.autograd.grad((spared * weight).sum(), trained), expected, strict=True):
        size = wanted.abs().max().clamp(min=1)  # sums over many numbers are not of size 1
        assert (found - wanted).abs().max() < 2e-5 * size


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_mlp_sees_what_is_read_and_nothing_else(family):
    llm, width = llm_of(family)
    embeds, rows = torch.randn(3, 5, width), torch.tensor([4, 9, 14])
    assert rows_in_last_mlp(llm, lambda: read_llm(llm, embeds, rows)) == [3]
    assert rows_in_last_mlp(llm, lambda: llm(inputs_embeds=embeds)) == [15], "a plain call stays a plain call"
    assert rows_in_last_mlp(llm, lambda: read_llm(llm, embeds, torch.arange(15))) == [15]


def test_another_thread_in_the_same_llm_is_not_spared():
    llm, width = llm_of()
    embeds, inside, go_on, found = torch.randn(2, 5, width), threading.Event(), threading.Event(), []

    def pause(*_):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            assert go_on.wait(20)

    handle = llm.layers[-1].mlp.register_forward_pre_hook(pause)
    other = threading.Thread(target=lambda: found.append(read_llm(llm, embeds, torch.tensor([9]))))
    other.start()
    assert inside.wait(20)
    whole = llm(inputs_embeds=embeds).last_hidden_state
    go_on.set()
    other.join(20)
    handle.remove()
    torch.testing.assert_close(whole, llm(inputs_embeds=embeds).last_hidden_state)
    torch.testing.assert_close(found[0], whole[1, 4:5], atol=1e-5, rtol=1e-5)


def test_an_mlp_with_adapters_is_not_spared():
    lora = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.5, "target_modules": ["q_proj", "down_proj"]}
    llm, width = llm_of(lora=lora)
    embeds = torch.randn(2, 5, width)
    assert rows_in_last_mlp(llm, lambda: read_llm(llm, embeds, torch.tensor([4, 9]))) == [10]


def test_an_mlp_that_is_given_more_than_its_rows_is_not_spared():
    """BLOOM's adds the residual itself."""
    sizes = {"vocab_size": 64, "hidden_size": 16, "n_layer": 2, "n_head": 2}
    llm = AutoModel.from_config(BloomConfig(**sizes)).eval()
    spare_last_mlp(llm)
    embeds, rows = torch.randn(2, 5, 16), torch.tensor([4, 9])
    plain = llm(inputs_embeds=embeds, use_cache=False).last_hidden_state.flatten(0, 1)[rows]
    torch.testing.assert_close(read_llm(llm, embeds, rows, use_cache=False), plain)


def test_layers_that_run_again_are_not_spared():
    llm, width = llm_of()
    llm.activation_checkpointing_enable()
    llm.train()
    embeds = torch.randn(2, 5, width, requires_grad=True)
    rows = torch.tensor([4, 9])
    calls = rows_in_last_mlp(llm, lambda: read_llm(llm, embeds, rows, use_cache=False).sum().backward())
    assert calls == [10, 10], "once forward, once more in the backward pass"


def test_plain_attention_is_for_short_bfloat16_training_on_a_cpu():
    short, long = torch.zeros(1, SHORT, 8), torch.zeros(1, SHORT + 1, 8)
    assert trains_short(short.bfloat16())
    assert not trains_short(short) and not trains_short(long.bfloat16())
    assert not trains_short(torch.empty(1, 4, 8, dtype=torch.bfloat16, device="meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert trains_short(short)
    with torch.no_grad():
        assert not trains_short(short.bfloat16())


def test_plain_and_fused_attention_agree_in_bfloat16():
    llm, width = llm_of()
    llm.to(torch.bfloat16)
    embeds = (torch.randn(4, 9, width) * 0.3).bfloat16().requires_grad_()
    fused = llm(inputs_embeds=embeds, use_cache=False).last_hidden_state
    weight = torch.randn(fused.shape)
    (wanted,) = torch.autograd.grad((fused.float() * weight).sum(), embeds)
    plain = read_llm(llm, embeds, torch.arange(36), use_cache=False).view_as(fused)
    (found,) = torch.autograd.grad((plain.float() * weight).sum(), embeds)
    torch.testing.assert_close(plain, fused, atol=0.05, rtol=0.05)
    assert (found - wanted).float().norm() < 0.05 * wanted.float().norm()


def test_threads_that_overlap_leave_attention_as_they_found_it():
    fused = torch.backends.cuda.flash_sdp_enabled
    assert fused()
    first, second = plain_attention(), plain_attention()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not fused(), "the second is still inside"
    second.__exit__(None, None, None)
    assert fused()
