"""The frozen LLM that a checkpoint names and does not hold: found, loaded once, and checked to be the right one."""

import hashlib
import os
import re
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file, logging

from .arguments import some
from .configuration_aullm import AULLMConfig
from .local_llms import resolve_llm
from .locating import CONFIG, check_location, hub_arguments
from .quiet import quiet_loading

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


def llm_config_of(name: str, revision: str | None, **hub: Any) -> PreTrainedConfig:
    """The decoder's configuration of a local or Hub model; its failure says what can be done.

    It forgets where it lay, which would be written into every checkpoint. Code of a repository is never run.
    """
    place = resolve_llm(name)
    try:
        whole = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False, **hub)
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
    if os.path.isdir(name):
        return revision
    try:
        file = cached_file(name, CONFIG, revision=revision, **hub)
    except OSError as error:  # the loader that follows has the better message
        logging.get_logger(__name__).debug("no commit for %s: %s", name, error)
        return revision
    match = re.search(r"[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]", file)
    return match[1] if match else revision


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
    place = resolve_llm(name)
    check_location("llm_name_or_path", place, revision=revision, advice=advice, **hub_arguments(hub))
    check_same_llm(config.text_config, llm_config_of(name, revision, **hub), name)
    with quiet_loading():  # an unused lm_head would be reported; what is really missing is raised below
        llm, info = AutoModel.from_pretrained(
            place,
            revision=revision,
            dtype=config.llm_dtype or "auto",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **hub,
            **loading,
        )
    if llm.config.get_text_config(decoder=True) is not llm.config:
        raise ValueError(
            f"{name!r} is a {llm.config.model_type} model with more than text in it. Save its language model apart "
            "(its decoder's save_pretrained) and name that."
        )
    if missing := sorted(info["missing_keys"]):
        raise OSError(f"The base LLM {name!r} lacks {len(missing)} of its weights: {some(missing)}.")
    if config.llm_fingerprint is not None and (actual := fingerprint(llm)) is not None:
        if actual != config.llm_fingerprint:
            raise ValueError(
                f"The weights of {name!r} (fingerprint {actual}) are not those of the LLM this checkpoint was "
                f"trained on (fingerprint {config.llm_fingerprint}), although the shapes agree: its LoRA "
                "weights would mean nothing there. Point llm_name_or_path to the right LLM, or pass "
                "llm_fingerprint=None if you know better."
            )
    return llm


def check_same_llm(expected: PreTrainedConfig, actual: PreTrainedConfig, name: str) -> None:
    """A ValueError that names every field in which the LLM at hand is not the one the checkpoint was made for."""
    expected_fields, actual_fields = _identity(expected), _identity(actual)
    differences = [
        f"{field} is {actual_fields.get(field)!r} there and {expected_fields.get(field)!r} here"
        for field in sorted(set(expected_fields) | set(actual_fields))
        if expected_fields.get(field) != actual_fields.get(field)
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


__all__ = ["fingerprint", "llm_config_of", "load_llm", "pinned_revision"]
