"""How much memory a training step takes on a device, from sizes alone: before a model is loaded, or a GPU rented.

    python training/memory_plan.py --batch 32

The LLM is frozen, so its weights have neither gradient nor moments: a 7B LLM in bfloat16 trains on one GPU of 24 GB.
Sharding is for LLMs whose weights alone do not fit. Sums, not measurements: libraries' own needs come on top.
"""

import argparse
import math
from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig, Qwen2Config

from ..model import AULLMConfig, AULLMForAUDetection

TRAINED = 16  # bytes: a float32 weight, its gradient, Adam's two moments
NF4 = 4.127  # bits a weight of bitsandbytes' 4-bit layers, their doubly quantised scales included
# hidden, intermediate, layers, heads, key-value heads, words: as their configurations on the Hub say.
QWEN2 = {
    "Qwen2-1.5B": (1536, 8960, 28, 12, 2, 151936),
    "Qwen2.5-7B": (3584, 18944, 28, 28, 4, 152064),
    "Qwen2.5-14B": (5120, 13824, 48, 40, 8, 152064),
    "Qwen2.5-32B": (5120, 27648, 64, 40, 8, 152064),
    "Qwen2.5-72B": (8192, 29568, 80, 64, 8, 152064),
}
TEXT = 9  # tokens of the default prompt


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


def qwen2_detector(name: str, projector: str) -> AULLMForAUDetection:
    """A detector around a published LLM, without its numbers."""
    hidden, intermediate, layers, heads, kv_heads, words = QWEN2[name]
    text = Qwen2Config(
        vocab_size=words,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    segments = [list(range(TEXT)), "visual"]
    with torch.device("meta"):
        return AULLMForAUDetection(
            AULLMConfig(
                text_config=text.to_dict(), prompt_segments=segments, llm_dtype="bfloat16", projector=projector
            )
        )


def table(batch: int, projector: str, devices: int) -> list[str]:
    """GB a device of every published LLM, whole, in four bits, and sharded."""
    lines = [
        f"| LLM | weights | trained | bfloat16, one GPU | 4 bits, one GPU | {devices} GPUs, sharded, each |",
        "|---|---|---|---|---|---|",
    ]
    for name in QWEN2:
        model = qwen2_detector(name, projector)
        weights = weights_of(model)
        activations = activation_bytes(model.config.text_config, TEXT + batch)
        ways = [{}, {"four_bit": True}, {"devices": devices}]
        sizes = [f"{step_memory(weights, activations, **way).total / 1e9:.1f} GB" for way in ways]
        billions = (weights.embedding + weights.layers) / 1e9
        lines.append(f"| {name} | {billions:.1f} B | {weights.trained / 1e6:.0f} M | {' | '.join(sizes)} |")
    return lines


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=32, help="clips a device and step")
    parser.add_argument("--projector", choices=("efp", "mid", "high", "linear", "mge"), default="efp")
    parser.add_argument("--devices", type=int, default=8)
    args = parser.parse_args(argv)
    print("\n".join(table(args.batch, args.projector, args.devices)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
