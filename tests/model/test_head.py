"""What the classification head reads: the LLM's last state, the clip's tokens, or both."""

import copy

import pytest
import torch
from torch import nn

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from support.tiny import clips, labels, tiny_config, tiny_llm, tiny_model

GRAPH = [{}, {"graph": True}]


@pytest.mark.parametrize("fields", GRAPH)
def test_a_fresh_head_on_both_predicts_as_if_there_were_no_llm(fields):
    x = clips()
    first, second = (
        AULLMForAUDetection.from_base_llm(tiny_config(head_reads="both", **fields), tiny_llm(seed=seed), seed=1).eval()
        for seed in (0, 1)
    )
    with torch.no_grad():
        states = [model(x, output_hidden_states=True).hidden_states[-1] for model in (first, second)]
        assert not torch.allclose(*states)  # the LLMs differ
        assert torch.equal(first(x).logits, second(x).logits)


@pytest.mark.parametrize("fields", GRAPH)
def test_the_logits_follow_from_state_and_tokens_by_hand(fields):
    model = tiny_model(head_reads="both", **fields)
    plain = tiny_model(**fields)
    plain.model.load_state_dict(model.model.state_dict())
    x = clips()
    with torch.no_grad():
        state = plain.model(x).last_hidden_state.double()
        output = model(x, output_evidence=True)
    parts = [state, *output.evidence.tokens.double().unbind(1)]
    parts = [part / (part.square().mean(1, keepdim=True) + torch.finfo(torch.float32).eps).sqrt() for part in parts]
    weight, bias = model.classifier.weight.double(), model.classifier.bias.double()
    torch.testing.assert_close(output.logits.double(), torch.cat(parts, 1) @ weight.T + bias, atol=1e-5, rtol=1e-5)


def test_the_llm_begins_to_count_with_the_first_steps():
    model = tiny_model(randomized=False, head_reads="both").train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.trained_parameters().values(), lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(clips(), labels=labels()).loss.backward()
        optimizer.step()
    width = model.classifier.state_width
    assert before["classifier.weight"][:, :width].abs().max() == 0 < before["classifier.weight"][:, width:].abs().min()
    still = [
        name
        for name, weights in model.trained_parameters().items()
        if torch.equal(weights, before[name]) and not name.endswith("log_alpha")
    ]
    assert still == []
    assert model.classifier.weight[:, :width].abs().max() > 0


def test_a_head_on_both_starts_afresh_and_is_loaded_as_it_was(tmp_path):
    model = tiny_model(head_reads="both")
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        loaded = AULLMForAUDetection.from_pretrained(tmp_path)
        assert torch.equal(loaded(clips()).logits, model(clips()).logits)
    model.reset_trained(3)
    assert model.classifier.weight[:, : model.classifier.state_width].abs().max() == 0


def test_a_head_on_tokens_alone_runs_no_llm(monkeypatch):
    model = tiny_model(head_reads="token", lora=None)
    with monkeypatch.context() as patch, torch.no_grad():
        patch.setattr(nn.ModuleList, "__iter__", lambda layers: pytest.fail("the LLM's layers were run"))
        assert model(clips()).logits.isfinite().all()
    assert not any("llm" in name for name in model.trained_parameters())


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"head_reads": "token"}, "AULLMConfig.lora is .* allowed: None with head_reads 'token'"),
        ({"head_reads": "both", "projector": "prompt"}, "AULLMConfig.head_reads is 'both'; allowed: 'state'"),
        ({"head_reads": "last"}, "AULLMConfig.head_reads is 'last'; allowed: one of 'state', 'token'"),
    ],
)
def test_what_does_not_go_together_is_refused(fields, named):
    with pytest.raises(ValueError, match=named):
        AULLMConfig(**fields)
