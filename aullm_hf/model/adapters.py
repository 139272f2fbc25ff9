"""LoRA through peft: put into the frozen LLM, started as a no-op, and merged into it for an export.

peft is imported where there are adapters: a model without them starts sooner.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel

from .dropout import PairedDropout

if TYPE_CHECKING:
    from peft.tuners.lora import LoraLayer

ADAPTER = "default"


def inject_lora(llm: PreTrainedModel, lora: dict[str, Any]) -> None:
    """Put peft's LoRA layers into the LLM, in float32 whatever the LLM's dtype."""
    from peft import LoraConfig, inject_adapter_in_model

    try:
        inject_adapter_in_model(LoraConfig(**lora), llm, adapter_name=ADAPTER)
    except ValueError as error:
        if "target modules" not in str(error).lower():
            raise
        linear = sorted({name.split(".")[-1] for name, module in llm.named_modules() if isinstance(module, nn.Linear)})
        raise ValueError(
            f"lora['target_modules'] is {lora['target_modules']!r}, which this LLM has not; it has "
            f"{', '.join(linear)}."
        ) from error
    targets = lora["target_modules"]
    adapted = lora_layers(llm)
    for target in targets if isinstance(targets, list) else []:
        if not any(f".{name}".endswith(f".{target}") for name in adapted):
            raise ValueError(f"lora['target_modules'] holds {target!r}, which matches no layer of this LLM.")
    for name, parameter in llm.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    for layer in adapted.values() if lora.get("lora_dropout") else ():
        layer.lora_dropout[ADAPTER] = PairedDropout(lora["lora_dropout"])


def lora_layers(model: nn.Module) -> dict[str, "LoraLayer"]:
    """The layers that have an adapter, by name."""
    if not any("lora_" in name for name, _ in model.named_parameters()):
        return {}
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def reset_lora(llm: nn.Module) -> None:
    """As peft means it: A random, B zero, so that a fresh adapter changes nothing."""
    for layer in lora_layers(llm).values():
        layer.reset_lora_parameters(ADAPTER, True)


def freeze_llm(llm: nn.Module) -> None:
    """Only the adapters of the LLM are trained. Loading resets this, so it is called after every load."""
    for name, parameter in llm.named_parameters():
        parameter.requires_grad_("lora_" in name)


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors with every adapter added into the layer it adapts, under that layer's plain name."""
    if getattr(model.base_model.llm, "hf_quantizer", None) is not None:
        raise ValueError(
            "The LLM is quantised, so nothing exact can be merged into it. Load it unquantised, then export."
        )
    adapted = lora_layers(model)
    merged: dict[str, torch.Tensor] = {}
    for key, value in model.state_dict().items():
        owner = next((name for name in adapted if key.startswith(f"{name}.")), None)
        if owner is None:
            merged[key] = value
        elif key == f"{owner}.base_layer.weight":
            delta = adapted[owner].get_delta_weight(ADAPTER)
            merged[f"{owner}.weight"] = (value.float() + delta.float()).to(value.dtype)
        elif key.startswith(f"{owner}.base_layer."):
            merged[key.replace(".base_layer.", ".")] = value
    return merged


__all__ = ["freeze_llm", "inject_lora", "lora_layers", "merged_state", "reset_lora"]
