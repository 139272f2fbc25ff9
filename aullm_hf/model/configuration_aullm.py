"""The configuration of AU-LLM: the whole model as data, a documented line per field, checked whenever one is assigned.

Files of configurations do without `from __future__ import annotations`: it would make text of the types, which are
then not checked.
"""

import math
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Literal

from transformers import AutoConfig, PreTrainedConfig

from .arguments import shown
from .config_fields import Number, SettingError, checked, setting
from .config_rules import (
    CALIBRATION,
    DECODER,
    EXPONENT,
    LABELS,
    LAYOUT,
    LORA,
    SEGMENTS,
    STATE_DICT_LAYOUT,
    THRESHOLDS,
    is_whole,
    slots_of,
    text_of,
    widths,
)
from .relation_prior import EDGE_KINDS, facs_edges
from .versions import warn_if_untested

warn_if_untested()  # here, because this file is imported before all others of the model

CASME2_AUS = (1, 2, 4, 7, 12, 14, 15, 17)
SHARED_SLOTS = ("prompt",)  # slots whose content is the same for every clip
TASK_TEXT = "Analyze the facial features to classify action units:"
DEDUCTION_TEXT = "Classify action units from evidence and relations:"  # no more tokens than the text above
PUBLISHED_LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}
# The LLM of the papers is 1.5B wide; a configuration without one describes that shape.
PUBLISHED_LLM = {
    "model_type": "qwen2",
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


# -------------------------------------------------------------------- the configurations


class AUDetectorConfig(PreTrainedConfig):
    """What the configuration of every AU detector holds: AU-LLM's and the baselines'."""

    # Labels
    id2label: dict | None = setting(None, "AU names by the index of their logit", rule=LABELS)
    label2id: dict | None = setting(None, "the inverse of id2label, from which it follows")
    problem_type: Literal["multi_label_classification"] = setting(
        "multi_label_classification", "several AUs may be active"
    )
    calibration: dict | None = setting(None, "by AU [a, b]: its probability is sigmoid(a z + b)", rule=CALIBRATION)
    thresholds: dict | None = setting(None, "by AU the probability from which it counts as active", rule=THRESHOLDS)

    # What the weights come from
    training_data: str | None = setting(None, "what it was trained on: 'synthetic-casme2 v2 (easy), SYNTHETIC faces'")
    begun_from: list[str] | None = setting(None, "what the weights that training began with had been trained on")
    clips_cropped: bool | None = setting(None, "whether training clips came cropped to the face")
    state_dict_layout: int = setting(STATE_DICT_LAYOUT, "version of the weights' names and shapes", rule=LAYOUT)

    # Input and temporal filter
    num_frames: int = setting(6, "frames that the model reads of a clip", 4, 1024)
    image_size: int = setting(64, "height and width of a frame in pixels", 16, 1024)
    led_alpha: Number = setting(10.0, "initial gain of the temporal filter", 0, open_ends=True)
    led_r1: Number = setting(0.4, "initial first pole of the temporal filter", 0, 1, open_ends=True)
    led_r2: Number = setting(0.05, "initial second pole of the temporal filter", 0, 1, open_ends=True)

    # Backbone
    backbone_channels: list = setting([32, 64], "channels of the 3D-CNN's two convolutions", rule=widths(2))
    high_dim: int = setting(256, "size of the high-level feature F_high", 1, 1 << 20)

    # Loss
    loss_gamma_pos: Number = setting(0.0, "focusing exponent of active AUs", 0, rule=EXPONENT)
    loss_gamma_neg: Number = setting(4.0, "focusing exponent of absent AUs", 0, rule=EXPONENT)
    loss_margin: Number = setting(0.05, "probability up to which an absent AU costs nothing", 0, 0.99)
    loss_focus_gradient: bool = setting(False, "whether gradients pass through the focusing weights")

    def __post_init__(self, **kwargs: Any) -> None:
        self._refuse_misspelled(kwargs)
        aus = kwargs.pop("aus", None)
        if aus is not None:
            if not (isinstance(aus, list | tuple) and aus and all(is_whole(au, 1, 999) for au in aus)):
                self.refuse("aus", "a list of AU numbers such as [1, 2, 4], whole numbers from 1 to 999", aus)
            if self.id2label is not None and [f"AU{au}" for au in aus] != self.labels:
                raise ValueError(
                    f"{type(self).__name__} got aus={aus!r} and id2label={self.id2label!r}, which differ: give one."
                )
        if self.id2label is None:
            self.id2label = {index: f"AU{au}" for index, au in enumerate(aus or CASME2_AUS)}
        self.label2id = self.label2id or self._inverse_labels
        super().__post_init__(**kwargs)
        if self.calibration is None:
            self.calibration = {label: [1.0, 0.0] for label in self.labels}
        if self.thresholds is None:
            self.thresholds = dict.fromkeys(self.labels, 0.5)

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers' own, and what was overridden is checked together with the rest."""
        if "aus" in kwargs:
            raise ValueError(
                f"{cls.__name__}.aus is {shown(kwargs['aus'])}; allowed: no AUs at loading: a trained head has a row "
                "for each of its own AUs."
            )
        loaded = super().from_dict(config_dict, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).validate()
        return loaded

    @property
    def aus(self) -> list[int]:
        """The AU numbers, in the order of the logits."""
        return [int(label.removeprefix("AU")) for label in self.labels]

    @property
    def labels(self) -> list[str]:
        """The AU names, in the order of the logits."""
        return [label for _, label in sorted(self.id2label.items(), key=lambda item: int(item[0]))]

    def refuse(self, field: str, allowed: str, *value: Any) -> None:
        """Raise the ValueError about a field that does not go with the others."""
        value = value[0] if value else getattr(self, field)
        raise SettingError(f"{type(self).__name__}.{field} is {shown(value)}; allowed: {allowed}.")

    @property
    def _inverse_labels(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self.labels)}

    def validate_labels(self) -> None:
        if self.label2id != self._inverse_labels:
            self.refuse("label2id", f"the inverse of id2label, {self._inverse_labels}; leave it out")
        for name in ("calibration", "thresholds"):
            if set(getattr(self, name) or {}) != set(self.labels):
                self.refuse(name, f"a dictionary with the keys {self.labels}")

    def validate_filter(self) -> None:
        if self.led_r1 == self.led_r2:
            self.refuse("led_r2", f"anything but led_r1 = {self.led_r1}: equal poles filter everything away")

    def _refuse_misspelled(self, given: dict[str, Any]) -> None:
        """transformers keeps any unknown name (and writes `_name_or_path`); one that is nearly a field's is a slip."""
        names = [one.name for one in fields(self) if one.name not in PreTrainedConfig.__dataclass_fields__]
        for name in given:
            if name != "aus" and not name.startswith("_"):
                if near := get_close_matches(name, [*names, "aus"], n=1, cutoff=0.87):
                    raise ValueError(f"{type(self).__name__} has no field '{name}'. Did you mean '{near[0]}'?")


@checked("AULLMConfig.{}")
class AULLMConfig(AUDetectorConfig):
    """Everything that makes an AU-LLM or AULLM++.

    Args:
        aus: the AU numbers in the order of the logits, stored as id2label; CASME II's eight by default.
        **fields: the fields below, and any of transformers' own.

    Example:
        >>> from aullm_hf import AULLMConfig
        >>> config = AULLMConfig(aus=[1, 2, 4], mge=True, graph=True)
        >>> config.labels
        ['AU1', 'AU2', 'AU4']
        >>> config.prompt_template
        'Classify action units from evidence and relations:{instruction}{content}'
    """

    model_type = "aullm"
    sub_configs = {"text_config": AutoConfig}
    # What the Trainer leaves out of its predictions: everything but the logits.
    keys_to_ignore_at_inference = ["intensity", "hidden_states", "attentions", "evidence", "loss_parts"]

    # Motion
    motion: Literal["led", "flow", "both"] = setting("led", "input of the 3D-CNN: filtered frames, optical flow")
    flow_smoothing: Number = setting(0.0, "standard deviation, in pixels, of what evens out the flow", 0, 16)

    # Backbone
    se_reduction: int = setting(16, "reduction of the squeeze-and-excitation over the channels", 1, 1 << 16)
    vision_dropout: Number = setting(0.3, "dropout of F_mid and F_high", 0, 0.999)

    # Projector
    projector: Literal["efp", "high", "mid", "linear", "prompt"] = setting("efp", "what makes the visual token")
    projector_hidden: int | None = setting(None, "hidden width; None: half of what goes in and out", 1, 1 << 20)
    projector_dropout: Number = setting(0.3, "dropout between the projector's layers", 0, 0.999)
    projector_activation: Literal["none", "relu", "sigmoid", "gelu"] = setting("none", "the paper's: sigmoid")
    token_norm: bool = setting(False, "whether tokens get the norm of the prompt's text embeddings")
    num_prompt_tokens: int = setting(8, "learned tokens of the projector 'prompt'", 1, 4096)

    # Head
    head_reads: Literal["state", "token", "both"] = setting(
        "state", "the LLM's last state, the clip's tokens, or both"
    )

    # Intensity
    intensity: bool = setting(False, "whether there is an ordinal output of intensities, A to E")
    intensity_weight: Number = setting(1.0, "weight of the intensities' loss", 0, open_ends=True)

    # Evidence (AULLM++: MGE)
    mge: bool = setting(False, "whether the 3D-CNN's map is read at several granularities")

    # Relations (AULLM++: R-AUGNN)
    graph: bool = setting(False, "whether there is a graph of AUs, with a token of its own")
    nodes: Literal["cells", "chunk"] = setting("cells", "made by attention over cells, or by projection")
    graph_width: int = setting(64, "width of a node", 1, 1 << 16)
    graph_layers: int = setting(2, "rounds of attention between neighbours", 1, 64)
    graph_heads: int = setting(4, "heads of a node's attention", 1, 1 << 16)
    graph_dropout: Number = setting(0.1, "dropout of the graph", 0, 0.999)
    prior: Literal["facs", "train", "given"] = setting("facs", "edges of FACS, of a fold's labels, or prior_edges")
    prior_edges: list | None = setting(None, "[[1, 2, 'co-occurring'], ..]; None: those of FACS")
    aux_weight: Number = setting(0.2, "weight of the nodes' own loss", 0)

    # Counterfactuals (AULLM++: CCR, training only)
    ccr_weight: Number = setting(0.0, "weight of the counterfactual losses; 0: off, at no cost", 0)
    ccr_fraction: Number = setting(0.25, "share of a batch's clips in which an AU is flipped", 0, 1)
    ccr_margin: Number = setting(1.0, "how far the logit of a flipped AU has to move", 0)

    # Language model
    llm_name_or_path: str | None = setting(None, "folder or Hub name of the frozen LLM")
    llm_revision: str | None = setting(None, "branch, tag or commit of the LLM")
    llm_dtype: Literal["float32", "bfloat16", "float16"] | None = setting(None, "dtype of the LLM; None: as stored")
    llm_fingerprint: str | None = setting(None, "tells the LLM from another of the same shape")
    text_config: PreTrainedConfig | dict | None = setting(None, "configuration of the LLM", rule=DECODER)
    lora: dict | None = setting(PUBLISHED_LORA, "fields of peft's LoraConfig; None: no adapters", rule=LORA)
    save_base_weights: bool = setting(False, "whether the checkpoint holds the LLM too")

    # Prompt
    prompt_template: str | None = setting(None, "text with slots such as {visual}; None: the task's")
    prompt_segments: list | None = setting(None, "what the template compiled to: token ids and slots", rule=SEGMENTS)
    prompt_source: str | None = setting(None, "the template that prompt_segments were compiled from")
    clips_per_sequence: int | None = setting(None, "clips sharing a copy of the text; None: the cheapest", 1, 1 << 20)

    def __post_init__(self, **kwargs: Any) -> None:
        if not isinstance(self.text_config, PreTrainedConfig):
            fields = {"model_type": "qwen2", **(PUBLISHED_LLM if self.text_config is None else self.text_config)}
            try:
                self.text_config = AutoConfig.for_model(**fields)
            except Exception as error:  # of its own fields
                self.refuse("text_config", f"fields of a decoder's configuration ({str(error).splitlines()[0]})")
        super().__post_init__(**kwargs)
        if self.prompt_template is None:
            slots = "".join(f"{{{slot}}}" for slot in self.token_slots)
            self.prompt_template = (DEDUCTION_TEXT if self.graph else TASK_TEXT) + slots
        elif self.projector == "prompt" and not slots_of(self.prompt_template):
            self.prompt_template += "{prompt}"  # text alone: the learned tokens follow it
        if self.graph and self.prior_edges is None and self.prior != "given":
            self.prior_edges = facs_edges(self.aus)
        if self.prior == "facs" and self.prior_edges not in (None, facs_edges(self.aus)):
            self.prior = "given"

    # ---------------------------------------------------------------- derived sizes

    @property
    def motion_channels(self) -> int:
        """Channels of what the 3D-CNN reads: one of the filter, three of the flow (u, v, strain)."""
        return {"led": 1, "flow": 3, "both": 4}[self.motion]

    @property
    def attended_shape(self) -> tuple[int, int, int, int]:
        """x_att's (channels, time, height, width), as the backbone's kernels and its first pooling leave it."""
        side = (self.image_size - 4) // 3 - 2
        return self.backbone_channels[1], self.num_frames - 2, side, side

    @property
    def mid_shape(self) -> tuple[int, int, int, int]:
        """F_mid's: x_att's, pooled by two."""
        channels, *cells = self.attended_shape
        return channels, *(size // 2 for size in cells)

    @property
    def mid_features(self) -> int:
        return math.prod(self.mid_shape)

    @property
    def uses_high(self) -> bool:
        return self.projector != "mid"

    @property
    def uses_mid(self) -> bool:
        return self.projector in ("efp", "mid", "linear")

    @property
    def token_slots(self) -> tuple[str, ...]:
        """The slots that the prompt must have, in the order of the default template.

        The content token stands last, where the classifier reads: earlier, it reaches the classifier through attention
        alone, which short trainings hardly learned.
        """
        if self.projector == "prompt":
            return ("prompt",)
        return ("instruction", "content") if self.graph else ("visual",)

    @property
    def projector_input(self) -> int:
        return self.uses_mid * self.mid_features + self.uses_high * self.high_dim

    @property
    def head_input(self) -> int:
        """What the classifier reads: the LLM's state, the tokens, and F_high where no token tells of the clip."""
        vectors = {"state": 1, "token": len(self.token_slots), "both": 1 + len(self.token_slots)}[self.head_reads]
        return vectors * self.text_config.hidden_size + (self.high_dim if self.projector == "prompt" else 0)

    # ---------------------------------------------------------------- fields that must go together

    def validate_sizes(self) -> None:
        channels = self.backbone_channels[1]
        if self.se_reduction > channels:
            self.refuse("se_reduction", f"a whole number from 1 to {channels}, the last of backbone_channels")
        if self.graph_width % self.graph_heads:
            self.refuse("graph_heads", f"a divisor of graph_width, {self.graph_width}")

    def validate_counterfactuals(self) -> None:
        if self.ccr_weight and not self.graph:
            self.refuse("ccr_weight", "0 where there is no graph, in which CCR flips AUs (graph=True)")
        if self.ccr_weight and not self.ccr_fraction:
            self.refuse("ccr_fraction", "above 0 while ccr_weight is")

    def validate_head(self) -> None:
        if self.head_reads != "state" and self.projector == "prompt":
            self.refuse("head_reads", "'state' for projector 'prompt', which makes no token of the clip")
        if self.head_reads == "token" and self.lora:
            self.refuse("lora", "None with head_reads 'token': no LLM is run, so its adapters would not be trained")

    def validate_relations(self) -> None:
        if not self.graph:
            if self.prior_edges is not None:
                self.refuse("prior_edges", "None where there is no graph (graph=True)")
            return
        if self.projector == "prompt":
            self.refuse("graph", "False for projector 'prompt', whose LLM gets no token of the clip")
        if self.prior_edges is None:
            self.refuse("prior_edges", "a list of edges such as [1, 2, 'co-occurring']")
        for edge in self.prior_edges:
            known = isinstance(edge, list) and len(edge) == 3 and edge[0] != edge[1] and edge[2] in EDGE_KINDS
            if not (known and all(type(au) is int and au in self.aus for au in edge[:2])):
                kinds = ", ".join(map(repr, EDGE_KINDS))
                self.refuse("prior_edges", f"two of the AUs {self.aus} and one of {kinds}", edge)

    def validate_prompt(self) -> None:
        # Only the base class: a checkpoint's copied code has an AULLMConfig, and a sub-configuration, of its own.
        if not isinstance(self.text_config, PreTrainedConfig):
            self.refuse("text_config", "a dictionary or configuration of a decoder")
        template, slots = self.prompt_template, slots_of(self.prompt_template or "")
        if template is None or set("{}") & set(text_of(template)):
            self.refuse(
                "prompt_template", "text with braces in pairs, around slot names only, such as 'Task:{visual}'"
            )
        if set(slots) != set(self.token_slots):
            wanted = " and ".join(f"{{{slot}}}" for slot in self.token_slots)
            kind = f"projector '{self.projector}'" + " and a graph" * self.graph
            self.refuse("prompt_template", f"the slot{'s' * self.graph} {wanted} and no other, for {kind}")
        if self.token_norm and not text_of(template).strip():
            self.refuse("token_norm", "False for a template without text, whose norm the token could take")
        if self.prompt_segments is None:
            return
        if self.prompt_source not in (None, template):
            compiled = "which prompt_segments were compiled from (None in both compiles anew)"
            self.refuse("prompt_template", f"{self.prompt_source!r}, {compiled}")
        if [segment for segment in self.prompt_segments if isinstance(segment, str)] != slots:
            self.refuse("prompt_segments", f"the slots of the template, {slots}")
        largest = max((max(segment) for segment in self.prompt_segments if isinstance(segment, list)), default=0)
        if largest >= self.text_config.vocab_size:
            self.refuse("prompt_segments", f"token ids below the vocabulary's {self.text_config.vocab_size}", largest)


__all__ = ["AUDetectorConfig", "AULLMConfig"]
