r"""The memory of a training step for published LLMs, from sizes alone: before a model is loaded, or a GPU rented.

    python training/benchmark.py memory --batch 32

The LLM is frozen, so its weights have neither gradients nor moments: a 7B LLM in bfloat16 trains on one GPU of 24 GB.
Sharding is for LLMs whose weights alone do not fit. Sums, not measurements: libraries' own needs come on top.
"""

import argparse

import torch
from transformers import Qwen2Config

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.training.memory import activation_bytes, step_memory, weights_of

# hidden, intermediate, layers, heads, key-value heads, words: as their configurations on the Hub say.
QWEN2 = {
    "Qwen2-1.5B": (1536, 8960, 28, 12, 2, 151936),
    "Qwen2.5-7B": (3584, 18944, 28, 28, 4, 152064),
    "Qwen2.5-14B": (5120, 13824, 48, 40, 8, 152064),
    "Qwen2.5-32B": (5120, 27648, 64, 40, 8, 152064),
    "Qwen2.5-72B": (8192, 29568, 80, 64, 8, 152064),
}
TEXT = 9  # tokens of the default prompt


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, default=32, help="clips per device and step")
    parser.add_argument("--projector", choices=("efp", "mid", "high", "linear"), default="efp")
    parser.add_argument("--devices", type=int, default=8, help="GPUs that share the LLM's layers")


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    """Gigabytes per device of every published LLM: whole, in four bits, and sharded."""
    rows = []
    for name in QWEN2:
        model = qwen2_detector(name, args.projector)
        weights = weights_of(model)
        activations = activation_bytes(model.config.text_config, TEXT + args.batch)
        ways = {
            "bfloat16, one GPU": {},
            "4 bits, one GPU": {"four_bit": True},
            f"{args.devices} GPUs, sharded, each": {"devices": args.devices},
        }
        sizes = {way: step_memory(weights, activations, **options).total / 1e9 for way, options in ways.items()}
        rows.append(
            {
                "LLM": name,
                "weights": f"{(weights.embedding + weights.layers) / 1e9:.1f} B",
                "trained": f"{weights.trained / 1e6:.0f} M",
                **{way: f"{size:.1f} GB" for way, size in sizes.items()},
            }
        )
    return {"memory of a training step": rows}


def qwen2_detector(name: str, projector: str) -> AULLMForAUDetection:
    """A detector around a published LLM, on the meta device."""
    hidden, intermediate, layers, heads, kv_heads, words = QWEN2[name]
    text = Qwen2Config(
        vocab_size=words,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    config = AULLMConfig(
        text_config=text.to_dict(),
        prompt_segments=[list(range(TEXT)), "visual"],
        llm_dtype="bfloat16",
        projector=projector,
    )
    with torch.device("meta"):
        return AULLMForAUDetection(config)
