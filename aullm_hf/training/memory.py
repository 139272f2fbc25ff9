"""How much memory a training step takes on a device, from sizes alone: sums, not measurements.

The LLM is frozen, so its weights have neither gradients nor moments. Libraries' own needs come on top.
"""

import math
from dataclasses import dataclass

from transformers import PreTrainedConfig

from ..model import AULLMForAUDetection

TRAINED = 16  # bytes: a float32 weight, its gradient, Adam's two moments
NF4 = 4.127  # bits a weight of bitsandbytes' 4-bit layers, their doubly quantised scales included


@dataclass(frozen=True)
class Weights:
    """Numbers of weights: what stays as it is, and what is trained."""

    embedding: int  # of the frozen ones, those of the embedding: never quantised
    layers: int  # of the frozen ones, those of the LLM's layers
    largest_layer: int  # sharded weights are gathered a layer at a time
    trained: int


@dataclass(frozen=True)
class Memory:
    """Bytes on each device."""

    frozen: int
    trained: int
    activations: int

    @property
    def total(self) -> int:
        return self.frozen + self.trained + self.activations


def weights_of(model: AULLMForAUDetection) -> Weights:
    """Counted; the model may be on the meta device."""
    llm, embedding = model.base_model.llm, model.get_input_embeddings().weight.numel()
    frozen = sum(p.numel() for p in llm.parameters() if not p.requires_grad)
    return Weights(
        embedding=embedding,
        layers=frozen - embedding,
        largest_layer=(frozen - embedding) // llm.config.num_hidden_layers,
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
    )


def activation_bytes(text: PreTrainedConfig, tokens: int, each: int = 2) -> int:
    """What a training pass of the LLM over so many tokens keeps for its backward pass."""
    width = 16 * text.hidden_size + 4 * getattr(text, "intermediate_size", 0)
    return each * tokens * text.num_hidden_layers * width


def step_memory(
    weights: Weights, activations: int, *, bytes_each: int = 2, devices: int = 1, four_bit: bool = False
) -> Memory:
    """Of a step that keeps so many bytes of activations. Several `devices` share the LLM's layers, as sharded_step.py
    does it; the embedding and what is trained stay whole."""
    layers = weights.layers * NF4 / 8 if four_bit else weights.layers * bytes_each
    frozen = layers / devices + weights.embedding * bytes_each
    if devices > 1:  # the layer at work and the next, whole
        frozen += 2 * weights.largest_layer * bytes_each
    return Memory(math.ceil(frozen), weights.trained * TRAINED, activations)
