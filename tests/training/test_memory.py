"""The memory of a step: its counts are the model's own, and ways of holding it relate as they must."""

import benchmark
import pytest
import torch
from benchmarks.memory import QWEN2, qwen2_detector

from aullm_hf.training.memory import NF4, TRAINED, activation_bytes, step_memory, weights_of


@pytest.fixture(scope="module")
def seven():
    return qwen2_detector("Qwen2.5-7B", "efp")


def test_weights_are_counted_by_name(seven):
    weights = weights_of(seven)
    frozen = {name: p.numel() for name, p in seven.named_parameters() if not p.requires_grad}
    assert weights.embedding == frozen.pop("model.llm.embed_tokens.weight")
    assert weights.layers == sum(frozen.values())
    assert weights.trained == sum(p.numel() for p in seven.trained_parameters().values())
    assert weights.largest_layer >= sum(n for name, n in frozen.items() if ".layers.0." in name)


def test_the_published_shape_has_its_published_size(seven):
    """Qwen2.5-7B: 7.61 B weights, of which 6.53 B beside the two embeddings."""
    weights = weights_of(seven)
    assert weights.layers == pytest.approx(6.53e9, rel=0.005)
    assert weights.layers + 2 * weights.embedding == pytest.approx(7.61e9, rel=0.005)


def test_one_device_holds_everything(seven):
    weights = weights_of(seven)
    memory = step_memory(weights, activations=5)
    assert memory.frozen == 2 * (weights.embedding + weights.layers)
    assert memory.trained == TRAINED * weights.trained
    assert memory.total == memory.frozen + memory.trained + 5


def test_four_bits_leave_the_embedding_as_it_is(seven):
    weights = weights_of(seven)
    saved = step_memory(weights, 0).total - step_memory(weights, 0, four_bit=True).total
    assert saved == pytest.approx(weights.layers * (2 - NF4 / 8), abs=2)


@pytest.mark.parametrize("devices", [2, 8, 64])
def test_shares_add_up(seven, devices):
    weights = weights_of(seven)
    alone, shared = step_memory(weights, 7), step_memory(weights, 7, devices=devices)
    whole = 2 * weights.embedding + 2 * 2 * weights.largest_layer  # the embedding, and two layers gathered
    assert devices * (shared.frozen - whole) == pytest.approx(2 * weights.layers, abs=devices)
    assert shared.trained == alone.trained and shared.activations == alone.activations == 7


def test_activations_grow_with_the_tokens(seven):
    text = seven.config.text_config
    assert activation_bytes(text, 30) == 3 * activation_bytes(text, 10) > 0
    assert activation_bytes(text, 10, each=4) == 2 * activation_bytes(text, 10)


def test_activations_are_about_what_autograd_keeps():
    """To a factor of two, against what a pass of a small LLM packs away for its backward pass, adapters and all."""
    from benchmarks.shapes import detector_config

    from aullm_hf.model import AULLMForAUDetection

    model = AULLMForAUDetection(detector_config("tiny", "float32", 16)).train()
    kept: dict[int, int] = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    token = torch.randn(64, 64, requires_grad=True)
    body = model.model
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        state = body.prompt(body.llm, {"visual": token}, 64).last_hidden_state
    measured = sum(size for place, size in kept.items() if place not in weights)
    assert state.requires_grad
    planned = activation_bytes(model.config.text_config, 16 + 64, each=4)
    assert 0.5 < planned / measured < 2


def test_the_table_has_a_line_for_every_llm(capsys):
    assert benchmark.main(["memory", "--threads", "1", "--projector", "linear", "--devices", "4"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in QWEN2) and "4 GPUs, sharded" in shown
