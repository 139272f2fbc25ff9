"""Tiny random language models with a byte-level tokenizer, saved like any model of the Hub.

For the tests and the quickstart: what runs on them runs on the real LLMs, which are a name away.
"""

from pathlib import Path
from typing import Any

from .arguments import check_choice, check_path, check_whole

BYTE_TOKENS = 256
BOS, EOS = "<bos>", "<eos>"

# What differs between the families beyond their class: Gemma's head size and Gemma 3's windows.
_FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {  # configuration class, model class, fields
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {}),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", {"head_dim": 16}),
    "gemma3": (
        "Gemma3TextConfig",
        "Gemma3ForCausalLM",
        {"head_dim": 16, "sliding_window": 512, "sliding_window_pattern": 2},
    ),
}
_ADDS_BOS = {"llama", "gemma", "gemma3"}
_SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}


def build_tiny_llm(
    path: str | Path, family: str = "qwen2", seed: int = 0, dtype: str = "float32", **sizes: Any
) -> Path:
    """Write a small random causal LM of `family` with its tokenizer to `path`, and return the path.

    Args:
        path: the folder to write.
        family: "qwen2", "llama", "gemma" or "gemma3".
        seed: the weights are drawn from it.
        dtype: "float32", "bfloat16" or "float16".
        **sizes: fields of the family's configuration, such as hidden_size. The vocabulary is the 256 bytes and two
            special tokens, or larger where `vocab_size` says so.

    Example:
        >>> from transformers import AutoModel
        >>> from aullm_hf import build_tiny_llm
        >>> llm = AutoModel.from_pretrained(build_tiny_llm("tiny-llm", family="llama", hidden_size=32))
        >>> llm.config.model_type, llm.config.hidden_size
        ('llama', 32)
    """
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    from .model.checkpointing import share_weights

    check_path("path", path, "a folder to write")
    check_choice("family", family, sorted(_FAMILIES))
    check_whole("seed", seed, 0)
    check_choice("dtype", dtype, ("float32", "bfloat16", "float16"))
    config_name, model_name, extra = _FAMILIES[family]
    config_class = getattr(transformers, config_name)
    if unknown := sorted(set(sizes) - set(config_class.__dataclass_fields__)):
        raise ValueError(f"{config_name} has no field {', '.join(unknown)}.")
    for name, size in sizes.items():
        if name.endswith("_size") or name.startswith("num_"):
            check_whole(name, size, 1, 1 << 20)
    sizes = {"vocab_size": BYTE_TOKENS + 2, **_SIZES, **extra, **sizes}
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise ValueError(
            f"hidden_size is {sizes['hidden_size']}, which num_attention_heads, {sizes['num_attention_heads']}, must "
            "divide."
        )
    if sizes["vocab_size"] < BYTE_TOKENS + 2:
        raise ValueError(f"vocab_size is {sizes['vocab_size']}; the byte-level tokenizer needs {BYTE_TOKENS + 2}.")

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, BOS, EOS])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if family in _ADDS_BOS:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
        )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=EOS, model_max_length=1024
    )

    config = config_class(
        bos_token_id=vocabulary[BOS], eos_token_id=vocabulary[EOS], pad_token_id=vocabulary[EOS], **sizes
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, model_name)(config).to(getattr(torch, dtype))
    model.save_pretrained(path)
    share_weights(path)
    fast.save_pretrained(path)
    return Path(path)
