"""Detectors of the real shapes with random weights: how long a pass takes does not depend on the weights' values."""

import argparse

import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from aullm_hf.model import AULLMConfig

# hidden, intermediate, layers, heads, key-value heads: Qwen2's own for 0.5b and 1.5b.
SHAPES = {
    "tiny": (64, 128, 2, 4, 2),
    "0.1b": (512, 2048, 12, 8, 2),
    "0.5b": (896, 4864, 24, 14, 2),
    "1.5b": (1536, 8960, 28, 12, 2),
}
VOCABULARY = 151936  # Qwen2's; the tiny LLM has 256 bytes and two special tokens
LAYOUTS = ("text first", "visual first")
SMALL_VISION = {"image_size": 32, "backbone_channels": [4, 8], "se_reduction": 4}  # beside the tiny LLM


def add_shape_arguments(parser: argparse.ArgumentParser, shape: str = "tiny") -> None:
    parser.add_argument("--shape", choices=SHAPES, default=shape, help="size of the LLM")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the LLM's weights")
    add_device_argument(parser)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="where it runs")


def add_prompt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="clips at once")
    parser.add_argument("--prompt", type=int, nargs="+", default=[16], help="text tokens beside the visual one")
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=["text first"], help="order of the prompt")


def llm_config(shape: str) -> Qwen2Config:
    hidden, intermediate, layers, heads, kv_heads = SHAPES[shape]
    return Qwen2Config(
        vocab_size=VOCABULARY if shape != "tiny" else 258,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=True,
    )


def detector_config(shape: str, dtype: str, prompt: int, *, layout: str = "text first", **fields) -> AULLMConfig:
    """A detector of the real shape and `prompt` text tokens, before the visual one or, as the paper has it, after."""
    text = [list(range(prompt))] if prompt else []
    return AULLMConfig(
        text_config=llm_config(shape).to_dict(),
        prompt_segments=[*text, "visual"] if layout == "text first" else ["visual", *text],
        llm_dtype=dtype,
        **(SMALL_VISION if shape == "tiny" else {}),
        **fields,
    )


def causal_llm(shape: str, dtype: str) -> Qwen2ForCausalLM:
    """Drawn in its own dtype: a 1.5B LLM in float32 would take twice the memory of what it is."""
    return AutoModelForCausalLM.from_config(llm_config(shape), dtype=getattr(torch, dtype))


def prompt_settings(args: argparse.Namespace) -> list[dict]:
    """The columns that say what a row was measured for: each number of text tokens in each layout."""
    return [
        {"shape": args.shape, "dtype": args.dtype, "prompt": prompt, "layout": layout}
        for prompt in args.prompt
        for layout in args.layout
    ]
