"""What of the model is written, and how the frozen LLM comes back.

A checkpoint holds what was trained, never the LLM it stands on: that one is named in the configuration with its
revision, and loaded once, by transformers' own loader, before the trained weights are put beside it. So nothing is
allocated twice and nothing is initialised only to be overwritten.
"""

import hashlib
import threading
from typing import Any

import torch
from huggingface_hub import resolve_revision
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file, logging

from .configuration_aullm import AULLMConfig
from .dropout import PairedDropout
from .graph import prior_mask
from .locating import check_location, hub_arguments

ADAPTER = "default"
_QUIET = threading.Lock()  # transformers' verbosity is global: one load at a time lowers it

# Fields of an LLM's configuration that say how it was stored or is run, not what it computes.
_NOT_IDENTITY = {
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}


# -------------------------------------------------------------------- the frozen LLM


def llm_config_of(name: str, revision: str | None, **hub: Any) -> PreTrainedConfig:
    """The decoder's configuration of a local or Hub model; its failure says what can be done.

    It forgets where it lay, which would be written into every checkpoint. Code of a repository is never run.
    """
    try:
        whole = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False, **hub)
    except (OSError, ValueError) as error:
        at = f" at revision {revision!r}" if revision else ""
        raise OSError(
            f"The base LLM {name!r}{at} could not be read ({str(error).splitlines()[0]}). Check the name and your "
            "access to it, or pass llm_name_or_path='/path/to/a/local/copy'. Offline, it must be in the cache already."
        ) from error
    config = whole.get_text_config(decoder=True)
    config.name_or_path = ""
    return config


def pinned_revision(name: str, revision: str | None, **hub: Any) -> str | None:
    """The commit that `revision` stands for, so that a checkpoint names weights that cannot move."""
    known = {key: hub[key] for key in ("token", "cache_dir", "local_files_only") if key in hub}
    try:
        return getattr(resolve_revision(name, revision=revision, **known), "resolved", revision)
    except Exception as error:  # a folder, or an unreachable Hub: the loader that follows has the better message
        logging.get_logger(__name__).debug("no commit for %s: %s", name, error)
        return revision


def load_llm(config: AULLMConfig, **loading: Any) -> PreTrainedModel:
    """The frozen, headless LLM that `config` names, checked to be the one it was made with."""
    name, revision = config.llm_name_or_path, config.llm_revision
    if name is None:
        raise ValueError(
            "This configuration names no base LLM (llm_name_or_path is None), and the checkpoint holds none. "
            "Pass llm_name_or_path='...', or make a fresh model with AULLMForAUDetection.from_base_llm."
        )
    hub = {
        key: loading.pop(key) for key in ("token", "cache_dir", "local_files_only", "force_download") if key in loading
    }
    advice = " If the LLM is somewhere else here, pass llm_name_or_path='/path/to/it'."
    check_location("llm_name_or_path", name, revision=revision, advice=advice, **hub_arguments(hub))
    check_same_llm(config.text_config, llm_config_of(name, revision, **hub), name)
    with _QUIET:
        verbosity = logging.get_verbosity()
        logging.set_verbosity_error()  # an unused lm_head would be reported; what is really missing is raised below
        try:
            llm, info = AutoModel.from_pretrained(
                name,
                revision=revision,
                dtype=config.llm_dtype or "auto",
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **hub,
                **loading,
            )
        finally:
            logging.set_verbosity(verbosity)
    if llm.config.get_text_config(decoder=True) is not llm.config:
        raise ValueError(
            f"{name!r} is a {llm.config.model_type} model with more than text in it. Save its language model apart "
            "(its decoder's save_pretrained) and name that."
        )
    if missing := sorted(info["missing_keys"]):
        raise OSError(f"The base LLM {name!r} lacks {len(missing)} of its weights: {_some(missing)}.")
    if config.llm_fingerprint is not None and (found := fingerprint(llm)) is not None:
        if found != config.llm_fingerprint:
            raise ValueError(
                f"The weights of {name!r} (fingerprint {found}) are not those of the LLM this checkpoint was "
                f"trained on (fingerprint {config.llm_fingerprint}), although the shapes agree: its LoRA "
                "weights would mean nothing there. Point llm_name_or_path to the right LLM, or pass "
                "llm_fingerprint=None if you know better."
            )
    return llm


def check_same_llm(wanted: PreTrainedConfig, found: PreTrainedConfig, name: str) -> None:
    """A ValueError that names every field in which the LLM at hand is not the one the checkpoint was made for."""
    wanted_fields, found_fields = _identity(wanted), _identity(found)
    differences = [
        f"{field} is {found_fields.get(field)!r} there and {wanted_fields.get(field)!r} here"
        for field in sorted(set(wanted_fields) | set(found_fields))
        if wanted_fields.get(field) != found_fields.get(field)
    ]
    if differences:
        raise ValueError(f"This checkpoint was made for another LLM than {name!r}: " + "; ".join(differences) + ".")


def _identity(config: PreTrainedConfig) -> dict[str, Any]:
    return {field: value for field, value in config.to_dict().items() if field not in _NOT_IDENTITY}


def fingerprint(llm: PreTrainedModel) -> str | None:
    """A short hash of a few values of every weight, the same whether they are held in float32 or bfloat16.

    None where they cannot be told: rounded to float16, quantised, or left on disk.
    """
    quantized = getattr(llm, "hf_quantizer", None) is not None
    if quantized or llm.dtype == torch.float16 or any(weight.is_meta for weight in llm.parameters()):
        return None
    digest = hashlib.sha256()
    for name, weight in sorted(llm.named_parameters()):
        if "lora_" not in name:
            sample = weight.detach().flatten()[:16].to("cpu", torch.bfloat16).view(torch.int16)
            digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]


# -------------------------------------------------------------------- adapters


def inject_lora(llm: PreTrainedModel, lora: dict[str, Any]) -> None:
    """Put peft's LoRA layers into the LLM, in float32 whatever the LLM's dtype."""
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
    adapted = [name for name, module in llm.named_modules() if isinstance(module, LoraLayer)]
    for target in targets if isinstance(targets, list) else []:
        if not any(f".{name}".endswith(f".{target}") for name in adapted):
            raise ValueError(f"lora['target_modules'] holds {target!r}, which matches no layer of this LLM.")
    for name, parameter in llm.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    for module in llm.modules():
        if isinstance(module, LoraLayer) and lora.get("lora_dropout"):
            module.lora_dropout[ADAPTER] = PairedDropout(lora["lora_dropout"])


def reset_lora(llm: nn.Module) -> None:
    """As peft means it: A random, B zero, so that a fresh adapter changes nothing."""
    for module in llm.modules():
        if isinstance(module, LoraLayer):
            module.reset_lora_parameters(ADAPTER, True)


def freeze_llm(llm: nn.Module) -> None:
    """Only the adapters of the LLM are trained. Loading resets this, so it is called after every load."""
    for name, parameter in llm.named_parameters():
        parameter.requires_grad_("lora_" in name)


# -------------------------------------------------------------------- trained weights


def frozen_keys(model: nn.Module, llm_prefix: str) -> set[str]:
    """Names of the tensors that a checkpoint leaves out: the LLM's own."""
    return {key for key in model.state_dict() if key.startswith(llm_prefix) and "lora_" not in key}


def trained_keys(model: PreTrainedModel) -> set[str]:
    """Names of the tensors that a checkpoint holds: what was trained, and the buffers beside it."""
    return set(model.state_dict()) - set(model._keys_to_ignore_on_save)


def load_trained(model: PreTrainedModel, path: str, **hub: Any) -> None:
    """Fill every trained tensor of `model` from the checkpoint at `path`; what is missing or left over is an error."""
    file = cached_file(path, SAFE_WEIGHTS_NAME, **hub)
    try:
        weights = load_file(file)
    except SafetensorError as error:
        raise OSError(f"{file} is damaged ({error}). Fetch or write it again.") from error
    if model.base_model is model:  # the body alone, from a checkpoint of the whole
        prefix = f"{model.base_model_prefix}."
        if any(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    own = model.state_dict()
    wanted = trained_keys(model)
    if missing := sorted(wanted - set(weights)):
        raise OSError(f"The checkpoint {path!r} lacks {len(missing)} trained tensors: {_some(missing)}.")
    if unknown := sorted(set(weights) - wanted):
        raise OSError(
            f"The checkpoint {path!r} holds {len(unknown)} tensors that its configuration has no place for: "
            f"{_some(unknown)}."
        )
    for key, value in weights.items():
        if value.is_floating_point():
            weights[key] = value.float()  # what is trained is held in float32, however it was saved
        if value.shape != own[key].shape:
            raise OSError(
                f"The checkpoint {path!r} holds {key} of shape {tuple(value.shape)}, its configuration asks for "
                f"{tuple(own[key].shape)}."
            )
    text_ids = "prompt.text_ids" if model.base_model is model else f"{model.base_model_prefix}.prompt.text_ids"
    segments = [segment for segment in model.config.prompt_segments if isinstance(segment, list)]
    if weights[text_ids].tolist() != [token for segment in segments for token in segment]:
        raise ValueError(
            f"prompt_segments of the configuration are not those the checkpoint {path!r} was trained with. A trained "
            "model keeps its prompt; make a fresh one for another."
        )
    model.load_state_dict(weights, strict=False, assign=own[next(iter(wanted))].is_meta)
    check_prior(model)


def check_prior(model: PreTrainedModel) -> None:
    """The configuration of a loaded model must name the relations that its graph was trained with."""
    graph, config = model.base_model.graph, model.config
    if graph is not None and not torch.equal(graph.prior.cpu(), prior_mask(config.prior_edges, config.aus)):
        raise ValueError(
            "prior_edges of the configuration are not those that the checkpoint's graph was trained with. Load it "
            "with its own, then replace them: model.set_prior(edges)."
        )


def merged_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The model's tensors with every adapter added into the layer it adapts, under that layer's plain name."""
    if getattr(model.base_model.llm, "hf_quantizer", None) is not None:
        raise ValueError(
            "The LLM is quantised, so nothing exact can be merged into it. Load it unquantised, then export."
        )
    adapted = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
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


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


__all__ = [
    "check_prior",
    "fingerprint",
    "freeze_llm",
    "frozen_keys",
    "inject_lora",
    "llm_config_of",
    "load_llm",
    "load_trained",
    "merged_state",
    "pinned_revision",
    "reset_lora",
    "trained_keys",
]
