"""Tiny models: the smallest that still have every part of the real ones."""

import copy
import itertools
import os
import tempfile
from functools import cache
from pathlib import Path

import torch
from transformers import PreTrainedModel

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.tiny_llm import build_tiny_llm

FAMILIES = ("qwen2", "llama", "gemma", "gemma3")
PROJECTORS = ("efp", "high", "mid", "linear", "prompt")
# Every subset of AULLM++'s modules that has one; CCR flips AUs in the graph, so it comes with it.
MODULES = {"mge": {"mge": True}, "graph": {"graph": True}, "ccr": {"ccr_weight": 1.0}}
SUBSETS = {
    "+".join(chosen): {field: value for name in chosen for field, value in MODULES[name].items()}
    for count in (1, 2, 3)
    for chosen in itertools.combinations(MODULES, count)
    if "graph" in chosen or "ccr" not in chosen
}
# The name that transformers has for it; before 5.23 the second.
CHECKPOINTING = next(
    name
    for name in ("activation_checkpointing", "gradient_checkpointing")
    if hasattr(PreTrainedModel, f"{name}_enable")
)
# Where the visual token stands: the published code's layout, the paper's, and in the middle.
LAYOUTS = ("Find the action units:{visual}", "{visual} Find the action units:", "A face: {visual} Its action units:")


@cache
def _folder() -> tempfile.TemporaryDirectory:
    """In the folder of the test session, where there is one; removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="tiny-llm-", dir=os.environ.get("TEST_SESSION"))


@cache
def tiny_llm(family: str = "qwen2", dtype: str = "float32", seed: int = 0, **sizes) -> str:
    """A tiny LLM on disk, built once a process."""
    name = "-".join([family, dtype, str(seed), *(f"{k}{v}" for k, v in sorted(sizes.items()))])
    return str(build_tiny_llm(Path(_folder().name) / name, family, seed=seed, dtype=dtype, **sizes))


def tiny_config(**fields) -> AULLMConfig:
    """Every part present, dropout off, so that equalities can be exact."""
    defaults = {
        "aus": [1, 4, 12],
        "image_size": 32,
        "backbone_channels": [4, 8],
        "se_reduction": 4,
        "high_dim": 16,
        "vision_dropout": 0.0,
        "projector_dropout": 0.0,
        "graph_dropout": 0.0,
        "graph_width": 16,
        "lora": {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]},
    }
    return AULLMConfig(**{**defaults, **fields})


def tiny_model(*given: object, **fields) -> AULLMForAUDetection:
    """What `built_model` gives for these arguments: a copy of the one that is built once a process, in a tenth of the
    time. The random numbers drawn afterwards are the same whether it was there already or not.
    """
    key = repr((given, fields))
    if key not in _BUILT:
        with torch.random.fork_rng(devices=[]):
            _BUILT[key] = built_model(*given, **fields)
    return copy.deepcopy(_BUILT[key])


_BUILT: dict[str, AULLMForAUDetection] = {}


def built_model(
    family: str = "qwen2", seed: int = 0, randomized: bool = True, layers: int = 2, **fields
) -> AULLMForAUDetection:
    """A tiny detector in eval mode; `randomized` also fills LoRA's B, so that the adapters do something."""
    loading = {"attn_implementation": fields.pop("attn_implementation")} if "attn_implementation" in fields else {}
    llm = tiny_llm(family, num_hidden_layers=layers)
    model = AULLMForAUDetection.from_base_llm(tiny_config(**fields), llm, seed=seed, **loading)
    if randomized:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.2, generator=generator)
    return model.eval()


def clips(count: int = 5, config: AULLMConfig | None = None, seed: int = 0) -> torch.Tensor:
    """Random pixel_values (count, T, 1, H, W)."""
    config = config or tiny_config()
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, config.num_frames, 1, config.image_size, config.image_size, generator=generator)


def labels(count: int = 5, num_labels: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (count, num_labels), generator=generator).float()
