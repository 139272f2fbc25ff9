"""How a model is made around an LLM, loaded, saved and exported.

A checkpoint holds what was trained, never the LLM it stands on: that one is named in the configuration with its
revision, and loaded once (base_llm.py), before the trained weights are put beside it. So nothing is allocated twice
and nothing is initialised only to be overwritten.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import SAFE_WEIGHTS_NAME, cached_file

from .adapters import freeze_llm, merged_state
from .arguments import check_seed, check_text, shown, some
from .base_llm import fingerprint, llm_config_of, load_llm, pinned_revision
from .configuration_aullm import AULLMConfig
from .graph import prior_mask
from .local_llms import resolve_llm
from .locating import CONFIG, check_location, hub_arguments
from .prompting import compile_prompt
from .quiet import quiet_loading

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "proxies")
LLM_ARGUMENTS = ("device_map", "max_memory", "offload_folder", "quantization_config", "attn_implementation")
# Arguments of transformers' loader that concern a checkpoint's repository, not the LLM's, or have no meaning here:
# there is one file of safetensors, and one allocation.
_NOT_OF_THE_LLM = (
    "revision",
    "subfolder",
    "trust_remote_code",
    "code_revision",
    "adapter_kwargs",
    "use_safetensors",
    "weights_only",
    "low_cpu_mem_usage",
    "_from_auto",
    "_from_pipeline",
    "_commit_hash",
)


class CheckpointMixin:
    """What transformers' models do with checkpoints, for one whose LLM stays outside."""

    @classmethod
    def from_base_llm(
        cls,
        config: AULLMConfig,
        base: str | None = None,
        revision: str | None = None,
        dtype: str | torch.dtype | None = None,
        *,
        seed: int = 0,
        **loading: Any,
    ) -> Any:
        """A fresh, trainable model around a frozen LLM, whose tokenizer compiles the prompt.

        Args:
            config: the model's configuration; it is copied.
            base: folder or Hub name of the LLM; by default the configuration's `llm_name_or_path`.
            revision: branch, tag or commit of the LLM; by default the configuration's.
            dtype: in which the LLM is kept; by default as it is stored.
            seed: the trained weights are drawn from it.
            **loading: for the LLM's loader: device_map, quantization_config, attn_implementation, token, cache_dir,
                local_files_only.

        Example:
            >>> from aullm_hf import AULLMConfig, AULLMForAUDetection, build_tiny_llm
            >>> llm = build_tiny_llm("tiny-llm")  # or a name on the Hub, such as "Qwen/Qwen2-1.5B"
            >>> model = AULLMForAUDetection.from_base_llm(AULLMConfig(aus=[1, 2, 4]), llm)
            >>> model.config.labels
            ['AU1', 'AU2', 'AU4']
        """
        _refuse_unknown(loading)
        if not isinstance(config, PreTrainedConfig):
            raise TypeError(f"config is {shown(config)}; allowed: an AULLMConfig.")
        check_text("base", base, "a folder, a Hub name, or None", paths=True)
        check_text("revision", revision, "a branch, tag or commit as text, or None")
        check_seed("seed", seed)
        config = copy.deepcopy(config)
        hub = {key: loading[key] for key in HUB_ARGUMENTS if key in loading}
        name, revision = base or config.llm_name_or_path, revision or config.llm_revision
        if name is None:
            raise ValueError("No base LLM: pass base='...' (a folder or a Hub name) or set config.llm_name_or_path.")
        place = resolve_llm(str(name))
        check_location("base" if base else "llm_name_or_path", place, revision=revision, **hub_arguments(hub))
        config.llm_name_or_path = str(name)
        config.llm_revision = pinned_revision(str(name), revision, **hub)
        config.text_config = llm_config_of(str(name), config.llm_revision, **hub)
        config.llm_dtype = _dtype_name(dtype) or config.llm_dtype
        config.llm_fingerprint = None
        tokenizer = AutoTokenizer.from_pretrained(place, revision=config.llm_revision, trust_remote_code=False, **hub)
        config.prompt_segments = compile_prompt(config.prompt_template, tokenizer)
        config.prompt_source = config.prompt_template
        config.validate()
        llm = load_llm(config, **loading)
        config.llm_dtype = _dtype_name(llm.dtype)
        config.llm_fingerprint = fingerprint(llm)
        model = cls(config, llm=llm)
        _move_beside_llm(model)
        model.reset_trained(seed)
        return model

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *model_args: Any,
        config: PreTrainedConfig | None = None,
        dtype: str | torch.dtype | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Load a checkpoint: its trained weights from here, its frozen LLM from where the configuration says.

        Args:
            pretrained_model_name_or_path: the checkpoint's folder, or its name on the Hub.
            config: another configuration than the checkpoint's.
            dtype: of the frozen LLM, by default what it was trained with; what was trained stays float32.
            output_loading_info: whether transformers' loading info is returned too.
            **kwargs: fields of the configuration by name, such as llm_name_or_path="/local/copy"; for the LLM's loader
                device_map, quantization_config (which could not be run here and is untried), attn_implementation;
                and where the checkpoint lies: revision, subfolder, token, cache_dir, local_files_only.

        Example:
            >>> from aullm_hf import AULLMForAUDetection
            >>> model = AULLMForAUDetection.from_pretrained("CHECKPOINT_FOLDER")  # or a name on the Hub
            >>> model.config.labels
            ['AU1', 'AU4', 'AU12']
        """
        path = pretrained_model_name_or_path
        check_text("pretrained_model_name_or_path", path, "a checkpoint's folder or Hub name", paths=True)
        if path is not None:
            check_location("pretrained_model_name_or_path", path, **hub_arguments(kwargs))
        dtype = kwargs.pop("torch_dtype", None) if dtype is None else dtype
        fields = set(cls.config_class.__dataclass_fields__)
        kwargs = {key: value for key, value in kwargs.items() if value is not None or key in fields}
        hub = {key: kwargs[key] for key in (*HUB_ARGUMENTS, "revision", "subfolder") if kwargs.get(key) is not None}
        if not isinstance(config, PreTrainedConfig):
            cls._refuse_others(config or path, hub)
            loading = {key: kwargs.pop(key) for key in (*LLM_ARGUMENTS, *HUB_ARGUMENTS) if key in kwargs}
            config, kwargs = cls.config_class.from_pretrained(
                config or path, return_unused_kwargs=True, **{**kwargs, **hub}
            )
            kwargs = {**kwargs, **loading}
        config = copy.deepcopy(config)
        for key in set(kwargs) & fields:
            setattr(config, key, kwargs.pop(key))
        if dtype not in (None, "auto"):
            config.llm_dtype = _dtype_name(dtype)
        config.validate()
        if config._attn_implementation is not None:  # where AutoModel has put what it was asked for
            kwargs.setdefault("attn_implementation", config._attn_implementation)
        if config.save_base_weights or path is None:
            if "quantization_config" in kwargs:
                raise ValueError(
                    "quantization_config is given for a self-contained checkpoint, where it would quantise more than "
                    "the LLM. Quantise the LLM of a checkpoint that names its base."
                )
            if path is not None:
                hub["use_safetensors"] = True  # nothing is unpickled, whatever else lies there
            with quiet_loading(reports=True):
                model, info = super().from_pretrained(
                    path, *model_args, config=config, output_loading_info=True, **{**kwargs, **hub}
                )
            if info["missing_keys"]:
                raise OSError(f"The checkpoint {path!r} lacks {some(sorted(info['missing_keys']))}.")
            if info["unexpected_keys"] and model.base_model is not model:  # the body alone leaves out the head
                raise OSError(
                    f"The checkpoint {path!r} holds tensors that its configuration has no place for: "
                    f"{some(sorted(info['unexpected_keys']))}."
                )
            freeze_llm(model.base_model.llm)
        else:
            llm_arguments = {key: value for key, value in kwargs.items() if key not in _NOT_OF_THE_LLM}
            _refuse_unknown(llm_arguments)
            llm = load_llm(config, **llm_arguments)
            with torch.device("meta"):  # what is trained comes from the file: nothing to allocate or draw before
                model = cls(config, llm=llm)
            load_trained(model, path, **hub)
            _move_beside_llm(model)
            info = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}
        check_constants(model)
        model.name_or_path = str(path)
        model.eval()
        return (model, info) if output_loading_info else model

    @classmethod
    def _refuse_others(cls, path: Any, hub: dict[str, Any]) -> None:
        fields, _ = cls.config_class.get_config_dict(path, **hub)
        if fields.get("model_type") != cls.config_class.model_type:
            kind = str(fields.get("model_type"))
            if kind.startswith(
                cls.config_class.model_type
            ):  # a sibling of this package, around which nothing is built
                advice = "It is there to be compared with: its figures are in its run. Give a checkpoint of AU-LLM."
            else:
                advice = "To build one around it, use AULLMForAUDetection.from_base_llm."
            raise ValueError(f"{str(path)!r} holds a model of type {kind!r}, not an AU-LLM checkpoint. {advice}")

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **kwargs: Any) -> None:
        """Write what was trained, with the configuration and, for the detector, the code that loads it anywhere."""
        if "max_shard_size" in kwargs and not self.config.save_base_weights:
            raise ValueError(f"max_shard_size is {kwargs['max_shard_size']!r}; what was trained is always one file.")
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process:
            share_weights(save_directory)
        if is_main_process and self._auto_class is not None:
            from .pipeline_aullm import AUDetectionPipeline

            custom_object_save(AUDetectionPipeline, save_directory)

    def merge_and_export(self, save_directory: Any, **kwargs: Any) -> None:
        """Write a self-contained checkpoint: adapters merged into the LLM, the LLM inside. It loads the same way.

        Args:
            save_directory: the folder to write; the model stays as it is.
            **kwargs: as for `save_pretrained`.

        Example:
            >>> from aullm_hf import AULLMForAUDetection
            >>> model = AULLMForAUDetection.from_pretrained("CHECKPOINT_FOLDER")
            >>> model.merge_and_export("merged")
            >>> AULLMForAUDetection.from_pretrained("merged").config.save_base_weights
            True
        """
        config = copy.deepcopy(self.config)
        config.lora, config.save_base_weights = None, True
        if os.path.isdir(config.llm_name_or_path or ""):  # a folder of this machine means nothing elsewhere
            config.llm_name_or_path = os.path.basename(os.path.abspath(config.llm_name_or_path))
        state = merged_state(self)
        with torch.device("meta"):
            merged = type(self)(config)
        merged.load_state_dict(state, assign=True)
        merged.save_pretrained(save_directory, **kwargs)


def share_weights(folder: str | os.PathLike) -> None:
    """Give saved weights the mode of the configuration, as the umask has it: safetensors 0.8 writes 0600."""
    mode = os.stat(os.path.join(folder, CONFIG)).st_mode & 0o777
    for name in os.listdir(folder):
        if name.endswith(".safetensors"):
            os.chmod(os.path.join(folder, name), mode)


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
        raise OSError(f"The checkpoint {path!r} lacks {len(missing)} trained tensors: {some(missing)}.")
    if unknown := sorted(set(weights) - wanted):
        raise OSError(
            f"The checkpoint {path!r} holds {len(unknown)} tensors that its configuration has no place for: "
            f"{some(unknown)}."
        )
    for key, value in weights.items():
        if value.is_floating_point():
            weights[key] = value.float()  # what is trained is held in float32, however it was saved
        if value.shape != own[key].shape:
            raise OSError(
                f"The checkpoint {path!r} holds {key} of shape {tuple(value.shape)}, its configuration asks for "
                f"{tuple(own[key].shape)}."
            )
    model.load_state_dict(weights, strict=False, assign=own[next(iter(wanted))].is_meta)


def check_constants(model: PreTrainedModel) -> None:
    """Refuse a configuration whose prompt or relations are not those that the loaded weights were trained with."""
    body, config = model.base_model, model.config
    text = [token for segment in config.prompt_segments if isinstance(segment, list) for token in segment]
    if body.prompt.text_ids.tolist() != text:
        raise ValueError(
            "prompt_segments of the configuration are not those the checkpoint was trained with. A trained model "
            "keeps its prompt; make a fresh one for another."
        )
    if body.graph is not None and not torch.equal(body.graph.prior.cpu(), prior_mask(config.prior_edges, config.aus)):
        raise ValueError(
            "prior_edges of the configuration are not those that the checkpoint's graph was trained with. Load it "
            "with its own, then replace them: model.set_prior(edges)."
        )


# -------------------------------------------------------------------- fresh weights


@contextmanager
def seeded_start(model: PreTrainedModel, seed: int) -> Iterator[None]:
    """Inside, weights are drawn from `seed` alone, on the CPU: an accelerator draws other numbers from the same seed.

    Trained parameters that lie elsewhere are replaced while it lasts, and filled with what was drawn at its end.
    """
    check_seed("seed", seed)
    elsewhere = [
        (module, name, parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.requires_grad and parameter.device.type != "cpu"
    ]
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        for module, name, parameter in elsewhere:
            module.register_parameter(name, nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype)))
        try:
            yield
            for module, name, parameter in elsewhere:
                parameter.copy_(module.get_parameter(name))
        finally:
            for module, name, parameter in elsewhere:
                module.register_parameter(name, parameter)


def _move_beside_llm(model: PreTrainedModel) -> None:
    """Put everything that is not the LLM on the device where the LLM takes its input."""
    body = model.base_model
    embeddings = body.llm.get_input_embeddings()
    device = embeddings.weight.device
    if device.type == "meta":  # offloaded: accelerate's hook says where it runs
        device = embeddings._hf_hook.execution_device
    for module in (model, body):
        for child in module.children():
            if child not in (body, body.llm):
                child.to(device)


def _refuse_unknown(arguments: dict[str, Any]) -> None:
    for key in arguments:
        if key not in (*HUB_ARGUMENTS, *LLM_ARGUMENTS):
            raise TypeError(
                f"'{key}' is neither a field of AULLMConfig nor an argument of the loader "
                f"({', '.join((*LLM_ARGUMENTS, *HUB_ARGUMENTS))}, dtype, config, revision, subfolder)."
            )


def _dtype_name(dtype: str | torch.dtype | None) -> str | None:
    return None if dtype in (None, "auto") else str(dtype).removeprefix("torch.")


__all__ = ["CheckpointMixin", "frozen_keys", "load_trained", "seeded_start", "share_weights", "trained_keys"]
