"""How much memory a training step takes on a device, from sizes alone: sums, not measurements.

The LLM is frozen, so its weights have neither gradients nor moments. Libraries' own needs come on top.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedConfig

from ..baselines import BaselineForAUDetection, BaselineVideoProcessor
from ..model import AULLMConfig, AULLMForAUDetection

TRAINED = 16  # bytes: a float32 weight, its gradient, Adam's two moments
NF4 = 4.127  # bits per weight of bitsandbytes' 4-bit layers, their doubly quantised scales included


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
    """Count a detector's weights; it may be on the meta device."""
    llm, embedding = model.base_model.llm, model.get_input_embeddings().weight.numel()
    frozen = sum(p.numel() for p in llm.parameters() if not p.requires_grad)
    return Weights(
        embedding=embedding,
        layers=frozen - embedding,
        largest_layer=(frozen - embedding) // llm.config.num_hidden_layers,
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
    )


def activation_bytes(text: PreTrainedConfig, tokens: int, each: int = 2) -> int:
    """Bytes that a training pass of the LLM over so many tokens keeps for its backward pass."""
    width = 16 * text.hidden_size + 4 * getattr(text, "intermediate_size", 0)
    return each * tokens * text.num_hidden_layers * width


def aullm_activations(config: AULLMConfig) -> int:
    """Bytes that a step keeps per clip: of the 3D-CNN and of the LLM's pass over the clip's own tokens."""
    low, mid = config.backbone_channels
    after_first = config.image_size - 4
    after_second = after_first // 3 - 2
    first = 3 * low * (config.num_frames - 1) * after_first**2
    second = 6 * mid * (config.num_frames - 2) * after_second**2
    segments = config.prompt_segments
    first_slot = next(place for place, segment in enumerate(segments) if isinstance(segment, str))
    tokens = sum(1 if isinstance(segment, str) else len(segment) for segment in segments[first_slot:])
    return 4 * (first + second) + activation_bytes(config.text_config, tokens)


def baseline_activations(model: BaselineForAUDetection, processor: BaselineVideoProcessor) -> int:
    """Bytes that a step keeps per clip: the outputs of all layers of the network, which loses its weights by this."""
    sizes: list[int] = []

    def measure(_module, _inputs, output) -> None:
        sizes.append(output.numel() * output.element_size() if isinstance(output, torch.Tensor) else 0)

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(measure)
    size = model.config.image_size
    pixels = processor(np.zeros((8, size, size), dtype=np.uint8))["pixel_values"]
    with torch.no_grad():
        model.to_empty(device="cpu").eval()(pixels)
    return sum(sizes)


def step_memory(
    weights: Weights, activations: int, *, bytes_each: int = 2, devices: int = 1, four_bit: bool = False
) -> Memory:
    """The memory of a step that keeps so many bytes of activations.

    Several `devices` share the LLM's layers, as in sharded_step.py; the embedding and what is trained stay whole.
    """
    layers = weights.layers * NF4 / 8 if four_bit else weights.layers * bytes_each
    frozen = layers / devices + weights.embedding * bytes_each
    if devices > 1:  # the layer at work and the next, whole
        frozen += 2 * weights.largest_layer * bytes_each
    return Memory(math.ceil(frozen), weights.trained * TRAINED, activations)
