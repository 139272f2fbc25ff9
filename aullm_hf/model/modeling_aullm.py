"""AU-LLM ("AU-LLM: Micro-Expression Action Unit Detection via Enhanced LLM-Powered Visual Fusion", arXiv 2507.21778)
and AULLM++ (arXiv 2603.08387, of which the abstract is known: its modules are our design under its names).

frames -> temporal filter -> 3D-CNN -> projector -> one token in the prompt of a frozen, LoRA-tuned LLM -> its last
state -> one linear layer -> a logit per AU. AULLM++ weighs the 3D-CNN's map by a gate (evidence.py), reads it at
several granularities (projectors.py), adds a graph of AUs with a token of its own (relations.py), and in training asks
what would be predicted without the evidence (counterfactual.py); each is a switch of the configuration. Assembly only;
each part has a file of its own.

Departures from AU-LLM's code: the loss follows the paper's formula (losses.py), the text is read once for the whole
batch (prompting.py), no language-model head is built.
"""

import copy
import math
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import init
from transformers import AutoModel, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import custom_object_save
from transformers.utils import ModelOutput

from .arguments import check_dense, check_seed, check_text, check_within, shown
from .backbone import HighLevelHead, MotionBackbone
from .checkpointing import (
    check_prior,
    fingerprint,
    freeze_llm,
    frozen_keys,
    inject_lora,
    llm_config_of,
    load_llm,
    load_trained,
    merged_state,
    pinned_revision,
    reset_lora,
)
from .configuration_aullm import AULLMConfig
from .counterfactual import evidence_loss, intervene, invariance_loss
from .dropout import PairedDropout3d, share_noise
from .evidence import EvidenceCells, EvidenceGate
from .explaining import ClipExplanation, explain
from .graph import GraphReading, RelationGraph, RelationLayer, prior_mask
from .led import TemporalFilter
from .locating import check_location, hub_arguments
from .losses import configured_loss
from .projectors import PROJECTORS, MultiGranularityProjector, PromptTokens
from .prompting import LLMReading, Prompt, compile_prompt
from .reading_llm import spare_last_mlp
from .starting import drawn_on_the_cpu

_HUB_KEYS = ("cache_dir", "force_download", "local_files_only", "token", "proxies")
_OWN_START = (TemporalFilter, PromptTokens, EvidenceGate, EvidenceCells, RelationGraph, RelationLayer)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_LLM_KEYS = ("device_map", "max_memory", "offload_folder", "quantization_config", "attn_implementation")


@dataclass
class AULLMModelOutput(ModelOutput):
    """What the body found in each clip.

    last_hidden_state (B, d): the LLM's state at the prompt's last position; with `projector="prompt"` F_high follows
    it. The rest comes with `output_evidence`, as far as the model has it: tokens (B, slots, d), the projector's first,
    then the graph's; channel_attention
    (B, T-2, C); mid_map (B, C, T', H', W'), as the gate left it; evidence_gates (B, T', H', W') in (0, 1);
    content_attention (B, T', H', W') and au_attention (B, n_AU, T', H', W'), each of sum 1; relation_strengths
    (B, n_AU, n_AU, relations), rows of sum 1; aux_logits (B, n_AU), each node's opinion; evidence_logits (B, n_AU),
    what its own evidence says alone. `evidence.pixel_map` lines the maps up with the pixels.
    """

    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    tokens: torch.Tensor | None = None
    channel_attention: torch.Tensor | None = None
    mid_map: torch.Tensor | None = None
    evidence_gates: torch.Tensor | None = None
    content_attention: torch.Tensor | None = None
    au_attention: torch.Tensor | None = None
    relation_strengths: torch.Tensor | None = None
    aux_logits: torch.Tensor | None = None
    evidence_logits: torch.Tensor | None = None


@dataclass
class AUDetectionOutput(ModelOutput):
    """loss (scalar, with labels), logits (B, n_AU), and on request what AULLMModelOutput says.

    loss_parts: where the loss has several terms, each as it enters the sum, without gradient.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    tokens: torch.Tensor | None = None
    channel_attention: torch.Tensor | None = None
    mid_map: torch.Tensor | None = None
    evidence_gates: torch.Tensor | None = None
    content_attention: torch.Tensor | None = None
    au_attention: torch.Tensor | None = None
    relation_strengths: torch.Tensor | None = None
    aux_logits: torch.Tensor | None = None
    evidence_logits: torch.Tensor | None = None
    loss_parts: dict[str, torch.Tensor] | None = None


@dataclass
class ClipReading:
    """What became of F_mid: the LLM's last states and everything found on the way. Rows are those of F_mid."""

    last_hidden: torch.Tensor  # (B, d)
    llm: LLMReading
    tokens: torch.Tensor | None  # (B, slots, d)
    content_attention: torch.Tensor | None
    graph: GraphReading | None


class AULLMPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving shared by the body and the detector."""

    config_class = AULLMConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    input_modalities = ("video",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    # The loss is a mean over clips: the Trainer has to divide it by the accumulation steps itself.
    accepts_loss_kwargs = False

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, _OWN_START):
            module.reset_parameters()
        elif isinstance(module, (nn.Linear, nn.Conv3d)):
            init.kaiming_uniform_(module.weight, a=math.sqrt(5))
            bound = 1 / math.sqrt(module.weight[0].numel())
            if module.bias is not None:
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm3d):
            init.ones_(module.weight)
            init.zeros_(module.bias)
            init.zeros_(module.running_mean)
            init.ones_(module.running_var)
            init.zeros_(module.num_batches_tracked)
        elif isinstance(module, AULLMModel):  # comes after the LLM's own initialisation, which would undo it
            reset_lora(module.llm)

    def reset_trained(self, seed: int) -> None:
        """Give everything that is trained a fresh start, determined by `seed` alone; the frozen LLM stays as it is."""
        check_seed("seed", seed)
        body = self.base_model
        devices = [body.device] if body.device.type == "cuda" else []
        frozen = {id(module) for module in body.llm.modules()}
        with torch.random.fork_rng(devices), torch.no_grad(), drawn_on_the_cpu(self):
            torch.manual_seed(seed)
            for module in self.modules():
                if id(module) not in frozen and module is not body:
                    self._init_weights(module)
            reset_lora(body.llm)  # last, so that the rest starts alike with and without adapters

    def trained_parameters(self) -> dict[str, nn.Parameter]:
        """What the optimizer sees, by name."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    # ---------------------------------------------------------------- a fresh model

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
    ) -> "AULLMPreTrainedModel":
        """A trainable model around a local or Hub LLM, kept in `dtype` (None: as it is stored) and frozen.

        `base` and `revision` default to the configuration's. The prompt is compiled with the LLM's tokenizer, the
        trained weights are drawn from `seed`. `loading` goes to the LLM's loader: device_map, quantization_config,
        attn_implementation, token, cache_dir, local_files_only.
        """
        _refuse_unknown(loading)
        if not isinstance(config, PreTrainedConfig):
            raise TypeError(f"config is {shown(config)}; allowed: an AULLMConfig.")
        check_text("base", base, "a folder, a Hub name, or None", paths=True)
        check_text("revision", revision, "a branch, tag or commit as text, or None")
        check_seed("seed", seed)
        config = copy.deepcopy(config)
        hub = {key: loading[key] for key in _HUB_KEYS if key in loading}
        name = base or config.llm_name_or_path
        if name is None:
            raise ValueError("No base LLM: pass base='...' (a folder or a Hub name) or set config.llm_name_or_path.")
        check_location(
            "base" if base else "llm_name_or_path",
            name,
            revision=revision or config.llm_revision,
            **hub_arguments(hub),
        )
        config.llm_name_or_path = str(name)
        config.llm_revision = pinned_revision(str(name), revision or config.llm_revision, **hub)
        config.text_config = llm_config_of(str(name), config.llm_revision, **hub)
        config.llm_dtype = _dtype_name(dtype) or config.llm_dtype
        config.llm_fingerprint = None
        tokenizer = AutoTokenizer.from_pretrained(name, revision=config.llm_revision, trust_remote_code=False, **hub)
        config.prompt_segments = compile_prompt(config.prompt_template, tokenizer)
        config.prompt_source = config.prompt_template
        config.validate()
        llm = load_llm(config, **loading)
        config.llm_dtype = _dtype_name(llm.dtype)
        config.llm_fingerprint = fingerprint(llm)
        model = cls(config, llm=llm)
        model._beside_llm()
        model.reset_trained(seed)
        return model

    # ---------------------------------------------------------------- loading and saving

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

        `dtype` is the frozen LLM's (default: what the checkpoint was trained with); what was trained stays float32.
        `llm_name_or_path="/local/copy"` and other configuration fields can be overridden by name. `device_map` and
        `quantization_config` concern the frozen LLM; quantisation could not be run here and is untried.
        """
        path = pretrained_model_name_or_path
        check_text("pretrained_model_name_or_path", path, "a checkpoint's folder or Hub name", paths=True)
        if path is not None:
            check_location("pretrained_model_name_or_path", path, **hub_arguments(kwargs))
        dtype = kwargs.pop("torch_dtype", None) if dtype is None else dtype
        kwargs = {k: v for k, v in kwargs.items() if v is not None or k in cls.config_class.__dataclass_fields__}
        where = {key: kwargs[key] for key in (*_HUB_KEYS, "revision", "subfolder") if kwargs.get(key) is not None}
        if not isinstance(config, PreTrainedConfig):
            cls._refuse_others(config or path, where)
            known = {key: kwargs.pop(key) for key in (*_LLM_KEYS, *_HUB_KEYS) if key in kwargs}
            config, kwargs = cls.config_class.from_pretrained(
                config or path, return_unused_kwargs=True, **{**kwargs, **where}
            )
            kwargs = {**kwargs, **known}
        config = copy.deepcopy(config)
        for key in set(kwargs) & set(cls.config_class.__dataclass_fields__):
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
                where["use_safetensors"] = True  # nothing is unpickled, whatever else lies there
            model, info = super().from_pretrained(
                path, *model_args, config=config, output_loading_info=True, **{**kwargs, **where}
            )
            if info["missing_keys"]:
                raise OSError(f"The checkpoint {path!r} lacks {', '.join(sorted(info['missing_keys']))}.")
            freeze_llm(model.base_model.llm)
            check_prior(model)
        else:
            for key in ("revision", "subfolder", "trust_remote_code", "_from_auto", "_from_pipeline", "_commit_hash"):
                kwargs.pop(key, None)  # of this repository, not of the LLM's
            for key in ("adapter_kwargs", "code_revision", "use_safetensors", "weights_only", "low_cpu_mem_usage"):
                kwargs.pop(key, None)  # without a meaning here: safetensors only, one allocation always
            _refuse_unknown(kwargs)
            llm = load_llm(config, **kwargs)
            with torch.device("meta"):  # what is trained comes from the file: nothing to allocate or draw before
                model = cls(config, llm=llm)
            load_trained(model, path, **where)
            model._beside_llm()
            info = {"missing_keys": set(), "unexpected_keys": set(), "mismatched_keys": set(), "error_msgs": []}
        model.name_or_path = str(path)
        model.eval()
        return (model, info) if output_loading_info else model

    @classmethod
    def _refuse_others(cls, path: Any, where: dict[str, Any]) -> None:
        found, _ = cls.config_class.get_config_dict(path, **where)
        if found.get("model_type") != cls.config_class.model_type:
            raise ValueError(
                f"{str(path)!r} holds a model of type {found.get('model_type')!r}, not an AU-LLM checkpoint. To "
                "build one around it, use AULLMForAUDetection.from_base_llm."
            )

    def _beside_llm(self) -> None:
        """Put everything that is not the LLM on the device where the LLM takes its input."""
        embeddings = self.base_model.llm.get_input_embeddings()
        device = embeddings.weight.device
        if device.type == "meta":  # offloaded: accelerate's hook says where it runs
            device = embeddings._hf_hook.execution_device
        for module in (self, self.base_model):
            for child in module.children():
                if child not in (self.base_model, self.base_model.llm):
                    child.to(device)

    def save_pretrained(self, save_directory: Any, is_main_process: bool = True, **kwargs: Any) -> None:
        """Write what was trained, with the configuration and, for the detector, the code that loads it anywhere."""
        if "max_shard_size" in kwargs and not self.config.save_base_weights:
            raise ValueError(f"max_shard_size is {kwargs['max_shard_size']!r}; what was trained is always one file.")
        super().save_pretrained(save_directory, is_main_process=is_main_process, **kwargs)
        if is_main_process and self._auto_class is not None:
            from .pipeline_aullm import AUDetectionPipeline

            custom_object_save(AUDetectionPipeline, save_directory)

    def merge_and_export(self, save_directory: Any, **kwargs: Any) -> None:
        """Write a self-contained checkpoint: adapters merged into the LLM, the LLM inside. It loads the same way."""
        config = copy.deepcopy(self.config)
        config.lora, config.save_base_weights = None, True
        if os.path.isdir(config.llm_name_or_path or ""):  # nobody else has that folder, nor needs it
            config.llm_name_or_path = os.path.basename(os.path.abspath(config.llm_name_or_path))
        state = merged_state(self)
        with torch.device("meta"):
            merged = type(self)(config)
        merged.load_state_dict(state, assign=True)
        merged.save_pretrained(save_directory, **kwargs)


class AULLMModel(AULLMPreTrainedModel):
    """The body: a clip in, the LLM's reading of it out."""

    def __init__(self, config: AULLMConfig, llm: PreTrainedModel | None = None):
        super().__init__(config)
        config.validate()
        self.led = TemporalFilter(config)
        self.backbone = MotionBackbone(config)
        self.gate = EvidenceGate(config) if config.evidence_gate else None
        self.mid_drop = PairedDropout3d(config.vision_dropout)
        self.high = HighLevelHead(config) if config.uses_high else None
        self.projector = PROJECTORS[config.projector](config)
        self.graph = RelationGraph(config) if config.graph else None
        self.prompt = Prompt(config)
        if llm is None:
            dtype = getattr(torch, config.llm_dtype) if config.llm_dtype else None
            llm = AutoModel.from_config(config.text_config, dtype=dtype)
        self.llm = llm
        if config.lora:
            inject_lora(self.llm, config.lora)
        spare_last_mlp(self.llm)
        self.post_init()
        freeze_llm(self.llm)
        if not config.save_base_weights:
            self._keys_to_ignore_on_save = frozen_keys(self, "llm.")

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    def forward(
        self,
        pixel_values: torch.Tensor,
        return_dict: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_evidence: bool | None = None,
    ) -> AULLMModelOutput | tuple:
        """pixel_values (B, T, 1, H, W), as the processor makes them."""
        config = self.config
        f_mid, channel_attention = self.see(pixel_values)
        gate = self.weigh(f_mid)
        reading = self.read(
            f_mid,
            gate,
            output_hidden_states=_or(output_hidden_states, config.output_hidden_states),
            output_attentions=_or(output_attentions, config.output_attentions),
        )
        output = AULLMModelOutput(
            last_hidden_state=reading.last_hidden,
            hidden_states=reading.llm.hidden_states,
            attentions=reading.llm.attentions,
        )
        if output_evidence:
            output.tokens, output.channel_attention = reading.tokens, channel_attention
            output.mid_map = f_mid if gate is None else f_mid * gate[:, None].to(f_mid.dtype)
            output.evidence_gates, output.content_attention = gate, reading.content_attention
            if reading.graph is not None:
                output.au_attention, output.aux_logits = reading.graph.attention, reading.graph.logits
                output.relation_strengths = reading.graph.strengths
                output.evidence_logits = reading.graph.evidence_logits
        return output if _or(return_dict, self.config.return_dict) else output.to_tuple()

    def see(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Clips -> F_mid (B, C, T', H', W') and the channel attention (B, T-2, C)."""
        self.check_input(pixel_values)
        motion = self.led(pixel_values)[:, 1:]  # (B, T-1, 1, H, W)
        motion = motion.transpose(1, 2).to(self.backbone.conv1.weight.dtype)  # (B, 1, T-1, H, W)
        return self.backbone(motion)

    def weigh(self, f_mid: torch.Tensor) -> torch.Tensor | None:
        """How far each cell of F_mid counts, (B, T', H', W'); None for a model without a gate."""
        return None if self.gate is None else self.gate(f_mid)

    def read(
        self,
        f_mid: torch.Tensor,
        gate: torch.Tensor | None = None,
        *,
        owner: torch.Tensor | None = None,
        prior: torch.Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> ClipReading:
        """F_mid and its gate -> the tokens -> the LLM's reading of them.

        Rows of F_mid may be counterfactual: `owner` (B) names the clip whose noise of dropout each shares, `prior`
        (B, n, n, relations) stands in for the graph's.
        """
        if owner is not None or self.mid_drop.owner is not None:
            for part in (self.mid_drop, self.high, self.projector, self.graph):
                if part is not None:
                    share_noise(part, owner)
        f_mid = self.mid_drop(f_mid)
        if gate is not None:
            f_mid = f_mid * gate[:, None].to(f_mid.dtype)
        f_high = self.high(f_mid) if self.high is not None else None  # (B, 256)
        slots, where = self._content(f_mid, f_high)
        graph = self.graph(f_mid, f_high, prior) if self.graph is not None else None
        if graph is not None:
            slots = {"content": slots["visual"], "instruction": graph.token}
        llm = self.prompt(self.llm, slots, len(f_mid), output_hidden_states, output_attentions, owner)
        last = llm.last_hidden.to(f_mid.device)  # (B, d)
        if "prompt" in slots:
            return ClipReading(torch.cat([last.to(f_high.dtype), f_high], dim=1), llm, None, where, graph)
        return ClipReading(last, llm, torch.stack(list(slots.values()), dim=1), where, graph)

    def _content(
        self, f_mid: torch.Tensor, f_high: torch.Tensor | None
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """The projector's tokens by slot and, where it looks at cells, where it looked."""
        if isinstance(self.projector, PromptTokens):
            return {"prompt": self.projector()}, None
        if isinstance(self.projector, MultiGranularityProjector):
            token, where = self.projector(f_mid, f_high)
            return {"visual": token}, where
        read = [f_mid.flatten(1)] * self.config.uses_mid + [f_high] * self.config.uses_high
        return {"visual": self.projector(torch.cat(read, dim=1))}, None  # (B, d)

    def set_prior(self, edges: list[list]) -> None:
        """Other relations between the AUs than those the graph was made with."""
        if self.graph is None:
            raise ValueError("This model has no relation graph (config.graph is False): there is no prior to set.")
        if not isinstance(edges, (list, tuple)) or not all(isinstance(edge, (list, tuple)) for edge in edges):
            raise ValueError(f"edges is {shown(edges)}; allowed: a list of edges such as [1, 2, 'co-occurring'].")
        wanted = copy.deepcopy(self.config)
        wanted.prior_edges = [list(edge) for edge in edges]
        wanted.validate()
        self.config.prior_edges = wanted.prior_edges
        if self.config.prior == "facs":
            self.config.prior = "given"
        self.graph.prior.copy_(prior_mask(wanted.prior_edges, wanted.aus))

    def check_input(self, pixel_values: torch.Tensor) -> None:
        """Raise a ValueError that says what is expected, if the clips are anything else."""
        config = self.config
        expected = (config.num_frames, 1, config.image_size, config.image_size)
        if not isinstance(pixel_values, torch.Tensor) or pixel_values.ndim != 5 or pixel_values.shape[1:] != expected:
            got = tuple(pixel_values.shape) if isinstance(pixel_values, torch.Tensor) else type(pixel_values).__name__
            raise ValueError(
                f"pixel_values is {got}; expected a tensor (clips, {', '.join(map(str, expected))}): frames, one grey "
                "channel, height, width. AULLMVideoProcessor makes it from any clip."
            )
        if len(pixel_values) == 0:
            raise ValueError("pixel_values holds no clip; expected at least one.")
        if pixel_values.dtype not in _FLOATS:
            raise ValueError(
                f"pixel_values has dtype {pixel_values.dtype}; expected floating point, as the processor makes."
            )
        check_dense("pixel_values", pixel_values, "a tensor of frames")
        check_within("pixel_values", pixel_values, -1e30, 1e30, "finite numbers, as the processor makes")


class AULLMForAUDetection(AULLMPreTrainedModel):
    """The detector: a clip in, a logit per AU out (`config.aus` names them, in order)."""

    def __init__(self, config: AULLMConfig, llm: PreTrainedModel | None = None):
        super().__init__(config)
        config.auto_map = {
            "AutoConfig": "configuration_aullm.AULLMConfig",
            "AutoModel": "modeling_aullm.AULLMForAUDetection",
            "AutoModelForVideoClassification": "modeling_aullm.AULLMForAUDetection",
        }
        config.custom_pipelines = {
            "au-detection": {"impl": "pipeline_aullm.AUDetectionPipeline", "pt": ["AutoModel"], "type": "video"}
        }
        self.model = AULLMModel(config, llm=llm)
        self.classifier = nn.Linear(config.head_input, config.num_labels)
        self.post_init()
        freeze_llm(self.model.llm)
        if not config.save_base_weights:
            self._keys_to_ignore_on_save = frozen_keys(self, "model.llm.")

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        return_dict: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        output_evidence: bool | None = None,
    ) -> AUDetectionOutput | tuple:
        """pixel_values (B, T, 1, H, W) and, to train, labels (B, n_AU) of 0 and 1."""
        if labels is not None and self.training and self.config.ccr_weight:
            if output_evidence or output_hidden_states or output_attentions:
                raise ValueError(
                    "A training pass with CCR (ccr_weight above 0) returns loss, logits and loss_parts only. Ask for "
                    "evidence, hidden states or attentions in eval mode, or without labels."
                )
            output = self._train_with_counterfactuals(pixel_values, labels)
            return output if _or(return_dict, self.config.return_dict) else output.to_tuple()
        wants_nodes = labels is not None and self.model.graph is not None
        body = self.model(
            pixel_values,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_evidence=output_evidence or wants_nodes,
            return_dict=True,
        )
        logits = self.classify(body.last_hidden_state)  # (B, n_AU)
        loss = parts = None
        if labels is not None:
            nodes = None if body.aux_logits is None else (body.aux_logits, body.evidence_logits)
            loss, parts = _sum(self._terms(logits, labels, nodes))
        asked = self.config.keys_to_ignore_at_inference if output_evidence else ("hidden_states", "attentions")
        found = {name: body[name] for name in asked if name in body}
        output = AUDetectionOutput(loss=loss, logits=logits, loss_parts=parts, **found)
        return output if _or(return_dict, self.config.return_dict) else output.to_tuple()

    def set_prior(self, edges: list[list]) -> None:
        """Other relations between the AUs than those the graph was made with."""
        self.model.set_prior(edges)

    def explain(self, pixel_values: torch.Tensor, aus: str | Collection[str] = "active") -> list[ClipExplanation]:
        """Why each clip of (B, T, 1, H, W) got its probabilities: an explanation a clip.

        `aus`: "active" (where none is, the likeliest), "all", or names. For each: where its evidence lies, whom it
        heard in the graph, and how far its probability falls without the one or the other.
        """
        return explain(self, pixel_values, aus)

    def classify(self, last_hidden: torch.Tensor) -> torch.Tensor:
        """The LLM's last states (B, d) -> logits (B, n_AU)."""
        return self.classifier(last_hidden.to(self.classifier.weight.dtype))

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The asymmetric loss with the configuration's settings."""
        for name, given in (("logits", logits), ("labels", labels)):
            check_dense(name, given, f"a tensor (clips, {len(self.config.labels)})")
        if labels.shape != logits.shape:
            raise ValueError(
                f"labels has shape {tuple(labels.shape)}, the logits {tuple(logits.shape)}: one row a clip, one "
                f"column each of {', '.join(self.config.labels)}."
            )
        check_within("labels", labels, 0, 1, "0 where an AU is absent and 1 where it is active")
        return configured_loss(self.config, logits, labels)

    def _terms(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        nodes: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> dict[str, torch.Tensor]:
        """The loss, term by term, each with its weight."""
        config = self.config
        terms = {"detection": self.loss(logits, labels)}
        if (
            nodes is not None
        ):  # the nodes' opinions, and what each saw by itself; at weight 0 for DDP, which waits for all
            terms["auxiliary"] = config.aux_weight * sum(self.loss(one, labels) for one in nodes)
        return terms

    def _train_with_counterfactuals(self, pixel_values: torch.Tensor, labels: torch.Tensor) -> AUDetectionOutput:
        """One pass over the clips and over what some of them would be with another background, or without evidence."""
        config, body, batch = self.config, self.model, len(pixel_values)
        f_mid, _ = body.see(pixel_values)
        gate = body.weigh(f_mid)
        seen = f_mid
        f_mid, owner = intervene(f_mid, gate, config.ccr_fraction, config.ccr_cells, body.gate.mean)
        body.gate.remember(seen)
        count = (len(owner) - batch) // 2
        # Another background leaves the gate as it was; without the evidence it is computed anew, or it would tell.
        gates = torch.cat([gate[owner[:-count]], body.weigh(f_mid[-count:])])
        reading = body.read(f_mid, gates, owner=owner)
        logits = self.classify(reading.last_hidden)  # (B + 2n, n_AU)
        factual, background, removed = logits.split([batch, count, count])
        chosen = owner[-count:]
        graph = reading.graph
        nodes = None if graph is None else (graph.logits[:batch], graph.evidence_logits[:batch])
        terms = self._terms(factual, labels, nodes)
        terms["invariance"] = config.ccr_weight * invariance_loss(factual[chosen], background)
        terms["evidence"] = config.ccr_weight * evidence_loss(
            factual[chosen], removed, labels[chosen], config.ccr_margin
        )
        loss, parts = _sum(terms)
        return AUDetectionOutput(loss=loss, logits=factual, loss_parts=parts)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Calibrated probabilities (B, n_AU): sigmoid(a z + b) with the configuration's (a, b) per AU."""
        check_dense("logits", logits, "a tensor (clips, AUs)")
        if logits.ndim == 0 or logits.shape[-1] != len(self.config.labels):
            raise ValueError(
                f"logits has shape {tuple(logits.shape)}; expected (clips, {len(self.config.labels)}): one column "
                f"each of {', '.join(self.config.labels)}."
            )
        pairs = torch.tensor([self.config.calibration[label] for label in self.config.labels], device=logits.device)
        return (logits.float() * pairs[:, 0] + pairs[:, 1]).sigmoid()


def _refuse_unknown(loading: dict[str, Any]) -> None:
    for key in loading:
        if key not in (*_HUB_KEYS, *_LLM_KEYS):
            raise TypeError(
                f"'{key}' is neither a field of AULLMConfig nor an argument of the loader ({', '.join(_LLM_KEYS)}, "
                f"{', '.join(_HUB_KEYS)}, dtype, config, revision, subfolder)."
            )


def _sum(terms: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
    """The whole loss, and its terms where there are several."""
    loss = torch.stack(list(terms.values())).sum() if len(terms) > 1 else terms["detection"]
    return loss, {name: term.detach() for name, term in terms.items()} if len(terms) > 1 else None


def _or(asked: bool | None, otherwise: bool | None) -> bool:
    return bool(otherwise if asked is None else asked)


def _dtype_name(dtype: str | torch.dtype | None) -> str | None:
    return None if dtype in (None, "auto") else str(dtype).removeprefix("torch.")


__all__ = ["AUDetectionOutput", "AULLMForAUDetection", "AULLMModel", "AULLMModelOutput", "AULLMPreTrainedModel"]
