"""The configuration of AU-LLM: the whole model as data, checked where it is made."""

import json
import math
import re
from dataclasses import field
from difflib import get_close_matches
from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from .checking import shown
from .relation_prior import EDGE_KINDS, facs_edges

MOST = 1e300  # the largest number that is still a setting
CASME2_AUS = (1, 2, 4, 7, 12, 14, 15, 17)
PROJECTOR_KINDS = ("efp", "high", "mid", "linear", "prompt", "mge")
PROJECTOR_ACTIVATIONS = ("none", "relu", "sigmoid", "gelu")
LLM_DTYPES = ("float32", "bfloat16", "float16")

# What of peft's LoraConfig a checkpoint may set. The rest would train weights of the frozen LLM itself
# (bias, modules_to_save), which a checkpoint does not hold, or start from something else than a no-op.
LORA_KEYS = (
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "layers_to_transform",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
)
PUBLISHED_LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]}

SHARED_SLOTS = ("prompt",)  # slots whose content is the same for every clip
TASK_TEXT = "Analyze the facial features to classify action units:"
DEDUCTION_TEXT = "Classify action units from evidence and relations:"  # no more tokens than the text above
PRIORS = ("facs", "train", "given")


def _reject(field: str, value: Any, allowed: str) -> None:
    raise ValueError(f"AULLMConfig.{field} is {shown(value)}; allowed: {allowed}.")


def _check_number(field: str, value: Any, kind: type, low: float, high: float, *, open_ends: bool = False) -> None:
    """A number within [low, high], or strictly inside where `open_ends`. Booleans are not numbers here."""
    is_number = isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    finite = is_number and -MOST < value < MOST
    if not finite or not (low < value < high if open_ends else low <= value <= high):
        name = "a whole number" if kind is int else "a number"
        bounds = f"strictly between {low} and {high}" if open_ends else f"from {low} to {high}"
        if math.isinf(high):
            bounds = "that is finite" if math.isinf(low) else f"above {low}" if open_ends else f"of at least {low}"
        _reject(field, value, f"{name} {bounds}")


def _check_heads(field: str, heads: Any, width: int) -> None:
    _check_number(f"{field}_heads", heads, int, 1, 1 << 16)
    if width % heads:
        _reject(f"{field}_heads", heads, f"a divisor of {field}_width, {width}")


def _check_choice(field: str, value: Any, choices: tuple) -> None:
    if not isinstance(value, str) or value not in choices:
        _reject(field, value, "one of " + ", ".join(repr(choice) for choice in choices))


def _check_bool(field: str, value: Any) -> None:
    if not isinstance(value, bool):
        _reject(field, value, "True or False")


def _refuse_misspelled(given: dict[str, Any], fields: Any) -> None:
    """transformers keeps any unknown name (and writes `_name_or_path`); one that is nearly a field's is a slip."""
    for name in given:
        if (
            name != "aus"
            and not name.startswith("_")
            and (near := get_close_matches(name, [*fields, "aus"], n=1, cutoff=0.87))
        ):
            raise ValueError(f"AULLMConfig has no field '{name}'. Did you mean '{near[0]}'?")


def _is_json(value: Any) -> bool:
    """Whether a dictionary can be written into config.json; a configuration can."""
    if not isinstance(value, dict):
        return True
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return all(isinstance(name, str) for name in value)


def slots_of(template: str) -> list[str]:
    """The names in braces, in order of appearance."""
    return re.findall(r"\{([^{}]*)\}", template)


class AULLMConfig(PreTrainedConfig):
    r"""Everything that makes an AU-LLM, in groups.

    Labels
        aus (argument only): AU numbers, in the order of the logits; stored as `id2label` {0: "AU1", ..}.
        calibration: per AU (a, b), so that the probability is sigmoid(a z + b); identity by default.
        thresholds: per AU, the calibrated probability from which it counts as active; 0.5 by default.
    Input and temporal filter
        num_frames, image_size; led_alpha, led_r1, led_r2: where the filter's three scalars start.
    Backbone
        backbone_channels, se_reduction, high_dim, vision_dropout.
    Projector
        projector: "efp", "high", "mid", "linear", "prompt" or, of AULLM++, "mge"; projector_hidden (None: half of what
        goes in and out, as in the published code); projector_dropout; projector_activation ("none" as the published
        code, "sigmoid" as the paper); token_norm scales each token to the norm of the prompt's own text embeddings;
        num_prompt_tokens.
    Evidence (AULLM++: the multi-granularity projector "mge" and what else reads F_mid)
        evidence_gate: whether F_mid's cells are weighed (None: with "mge" or CCR); evidence_grids: sides of the
        granularities (None: F_mid's own, a third of it, 1); evidence_width, evidence_heads: of the cross-attention.
    Relations (AULLM++: R-AUGNN)
        graph: whether there is one; graph_width, graph_layers, graph_heads, graph_dropout; prior: "facs", "given" or
        "train" (which the training script estimates from each fold's labels; FACS until then); prior_edges:
        [[1, 2, "co-occurring"], ..], filled in from FACS; aux_weight: weight of the nodes' own loss.
    Counterfactuals (AULLM++: CCR, training only)
        ccr_weight (0: off, at no cost); ccr_fraction of a batch's clips is intervened on; ccr_cells: share of the
        cells that an intervention replaces; ccr_margin.
    Language model
        llm_name_or_path, llm_revision, llm_dtype, text_config; llm_fingerprint tells this LLM's weights from another's
        of the same shape; lora: a plain dict for peft, or None; save_base_weights: the checkpoint holds the LLM too.
    Prompt
        prompt_template: text with slots in braces, {visual} for the projector's token, or {content} and {instruction}
        beside a graph, or {prompt} for learned tokens; prompt_segments: what it compiled to (prompt_source: from which
        template), a list of token-id lists and slot names; clips_per_sequence: how many clips share one copy of the
        text before the first slot (None: the cost rule).
    Loss
        loss_gamma_pos, loss_gamma_neg, loss_margin, loss_focus_gradient.
    """

    model_type = "aullm"
    sub_configs_defaults = {
        # The LLM of the papers is 1.5B wide; a configuration without one describes that shape.
        "text_config": SubConfigSpec(
            config_class=AutoConfig,
            model_type="qwen2",
            init_kwargs={
                "hidden_size": 1536,
                "intermediate_size": 8960,
                "num_hidden_layers": 28,
                "num_attention_heads": 12,
                "num_key_value_heads": 2,
                "tie_word_embeddings": True,
            },
        )
    }
    # What the Trainer leaves out of its predictions: everything but the logits.
    keys_to_ignore_at_inference = [
        "hidden_states",
        "attentions",
        "tokens",
        "channel_attention",
        "mid_map",
        "evidence_gates",
        "content_attention",
        "au_attention",
        "relation_strengths",
        "aux_logits",
        "evidence_logits",
        "loss_parts",
    ]

    # Labels
    calibration: dict[str, list[float]] | None = None
    thresholds: dict[str, float] | None = None

    # Input and temporal filter
    num_frames: int = 6
    image_size: int = 64
    led_alpha: float = 10.0
    led_r1: float = 0.4
    led_r2: float = 0.05

    # Backbone
    backbone_channels: list[int] | tuple[int, ...] = (32, 64)
    se_reduction: int = 16
    high_dim: int = 256
    vision_dropout: float = 0.3

    # Projector
    projector: str = "efp"
    projector_hidden: int | None = None
    projector_dropout: float = 0.3
    projector_activation: str = "none"
    token_norm: bool = False
    num_prompt_tokens: int = 8

    # Evidence
    evidence_gate: bool | None = None
    evidence_grids: list[int] | None = None
    evidence_width: int = 128
    evidence_heads: int = 4

    # Relations
    graph: bool = False
    graph_width: int = 64
    graph_layers: int = 2
    graph_heads: int = 4
    graph_dropout: float = 0.1
    prior: str = "facs"
    prior_edges: list | None = None
    aux_weight: float = 0.2

    # Counterfactuals
    ccr_weight: float = 0.0
    ccr_fraction: float = 0.25
    ccr_cells: float = 0.2
    ccr_margin: float = 0.3

    # Language model
    llm_name_or_path: str | None = None
    llm_revision: str | None = None
    llm_dtype: str | None = None
    llm_fingerprint: str | None = None
    text_config: dict | PreTrainedConfig | None = None
    lora: dict | None = field(default_factory=lambda: {**PUBLISHED_LORA})
    save_base_weights: bool = False

    # Prompt
    prompt_template: str | None = None
    prompt_segments: list | None = None
    prompt_source: str | None = None
    clips_per_sequence: int | None = None

    # Loss
    loss_gamma_pos: float = 0.0
    loss_gamma_neg: float = 4.0
    loss_margin: float = 0.05
    loss_focus_gradient: bool = False

    def __post_init__(self, **kwargs):
        _refuse_misspelled(kwargs, type(self).__annotations__)
        aus = kwargs.pop("aus", None)
        if aus is not None:
            if not (isinstance(aus, (list, tuple)) and aus):
                _reject("aus", aus, "a list of AU numbers, such as [1, 2, 4]")
            for au in aus:
                _check_number("aus", au, int, 1, 999)
        if self.id2label is None:
            self.id2label = {index: f"AU{au}" for index, au in enumerate(CASME2_AUS if aus is None else aus)}
            aus = None
        self._check_names()
        if aus is not None and [f"AU{au}" for au in aus] != self.labels:
            raise ValueError(f"AULLMConfig got aus={aus!r} and id2label={self.id2label!r}, which differ: give one.")
        label2id = {label: index for index, label in enumerate(self.labels)}
        if not (self.label2id is None or (isinstance(self.label2id, dict) and self.label2id in ({}, label2id))):
            _reject("label2id", self.label2id, f"the inverse of id2label, {label2id}; leave it out")
        self.label2id = label2id
        if self.problem_type is None:
            self.problem_type = "multi_label_classification"
        _check_choice("problem_type", self.problem_type, ("multi_label_classification",))
        _check_choice("projector", self.projector, PROJECTOR_KINDS)  # the next lines ask these three
        _check_bool("graph", self.graph)
        _check_number("ccr_weight", self.ccr_weight, float, 0, math.inf)
        if self.prompt_template is None:
            slots = "".join(f"{{{slot}}}" for slot in self.token_slots)
            self.prompt_template = (DEDUCTION_TEXT if self.graph else TASK_TEXT) + slots
        elif (
            self.projector == "prompt" and isinstance(self.prompt_template, str) and not slots_of(self.prompt_template)
        ):
            self.prompt_template += "{prompt}"  # text alone: the learned tokens follow it
        if not isinstance(self.text_config, (dict, PreTrainedConfig, type(None))) or not _is_json(self.text_config):
            _reject("text_config", self.text_config, "a dictionary or configuration of a decoder")
        super().__post_init__(**kwargs)
        if self.evidence_gate is None:  # settled once: a model trained with a gate keeps it
            self.evidence_gate = self.projector == "mge" or self.ccr_weight != 0
        if self.graph is True and self.prior_edges is None and self.prior != "given":
            self.prior_edges = facs_edges(self.aus)
        # Copies, in the form in which JSON gives them back.
        if isinstance(self.backbone_channels, tuple):
            self.backbone_channels = list(self.backbone_channels)
        if isinstance(self.evidence_grids, tuple):
            self.evidence_grids = list(self.evidence_grids)
        if isinstance(self.prior_edges, (list, tuple)):
            self.prior_edges = [list(edge) if isinstance(edge, tuple) else edge for edge in self.prior_edges]
            if self.prior == "facs" and self.prior_edges != facs_edges(self.aus):
                self.prior = "given"
        if isinstance(self.lora, dict):
            self.lora = {k: list(v) if isinstance(v, tuple) else v for k, v in self.lora.items()}
            if isinstance(self.lora.get("target_modules"), (set, frozenset)):
                self.lora["target_modules"] = sorted(self.lora["target_modules"])
        if self.calibration is None:
            self.calibration = {label: [1.0, 0.0] for label in self.labels}
        elif isinstance(self.calibration, dict):
            self.calibration = {k: list(v) if isinstance(v, tuple) else v for k, v in self.calibration.items()}
        if self.thresholds is None:
            self.thresholds = dict.fromkeys(self.labels, 0.5)
        elif isinstance(self.thresholds, dict):
            self.thresholds = dict(self.thresholds)
        self.check()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As transformers' own, and what was overridden is checked as well."""
        if "aus" in kwargs:
            _reject("aus", kwargs["aus"], "nothing at loading: a trained head has a row for each of its own AUs")
        loaded = super().from_dict(config_dict, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).check()
        return loaded

    # ---------------------------------------------------------------- derived sizes

    @property
    def aus(self) -> list[int]:
        """The AU numbers, in the order of the logits."""
        return [int(label.removeprefix("AU")) for label in self.labels]

    @property
    def labels(self) -> list[str]:
        """The AU names, in the order of the logits."""
        return [label for _, label in sorted(self.id2label.items(), key=lambda item: int(item[0]))]

    @property
    def mid_shape(self) -> tuple[int, int, int, int]:
        """F_mid's (channels, time, height, width), as the backbone's kernels and poolings leave it."""
        time = (self.num_frames - 2) // 2
        side = ((self.image_size - 4) // 3 - 2) // 2
        return self.backbone_channels[1], time, side, side

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

        The content token stands last, where the classifier reads: behind it, it is heard through attention alone, and
        short trainings hardly learned to listen.
        """
        if self.projector == "prompt":
            return ("prompt",)
        return ("instruction", "content") if self.graph else ("visual",)

    @property
    def grids(self) -> list[int]:
        """Sides of the granularities at which F_mid is read, the finest first."""
        side = self.mid_shape[2]
        return self.evidence_grids or sorted({side, max(side // 3, 1), 1}, reverse=True)

    @property
    def projector_input(self) -> int:
        return self.uses_mid * self.mid_features + self.uses_high * self.high_dim

    @property
    def head_input(self) -> int:
        """What the classifier reads: the LLM's state, and F_high where no visual token tells it of the clip."""
        return self.text_config.hidden_size + (self.high_dim if self.projector == "prompt" else 0)

    # ---------------------------------------------------------------- validation

    def check(self) -> None:
        """Raise a ValueError that names field, value and what is allowed, for the first field that is wrong."""
        self._check_labels()
        self._check_vision()
        self._check_evidence()
        self._check_relations()
        self._check_counterfactuals()
        self._check_llm()
        self._check_prompt()
        for name in ("loss_gamma_pos", "loss_gamma_neg"):
            value = getattr(self, name)
            _check_number(name, value, float, 0, math.inf)
            if 0 < value < 1:
                _reject(name, value, "0 or at least 1 (in between, the gradient is infinite where the loss is 0)")
        _check_number("loss_margin", self.loss_margin, float, 0, 0.99)
        _check_bool("loss_focus_gradient", self.loss_focus_gradient)

    def _check_names(self) -> None:
        if not (isinstance(self.id2label, dict) and self.id2label):
            _reject("id2label", self.id2label, "a dictionary of AU names, such as {0: 'AU1', 1: 'AU4'}")
        labels = list(self.id2label.values())
        if sorted(map(str, self.id2label)) != sorted(map(str, range(len(labels)))):
            _reject("id2label", self.id2label, "keys 0, 1, .. without gaps")
        if any(not isinstance(label, str) or not re.fullmatch(r"AU[1-9]\d{0,2}", label) for label in labels):
            _reject("id2label", self.id2label, "names such as 'AU4'")
        if len(set(labels)) != len(labels):
            _reject("id2label", self.id2label, "each AU once")

    def _check_labels(self) -> None:
        _check_choice("problem_type", self.problem_type, ("multi_label_classification",))
        self._check_names()
        labels = self.labels
        for name in ("calibration", "thresholds"):
            value = getattr(self, name)
            if not isinstance(value, dict) or set(value) != set(labels):
                _reject(name, value, f"a dictionary with the keys {labels}")
        for label, pair in self.calibration.items():
            if not (isinstance(pair, list) and len(pair) == 2):
                _reject(f"calibration[{label}]", pair, "two numbers [a, b], for sigmoid(a z + b)")
            _check_number(f"calibration[{label}][0]", pair[0], float, 0, math.inf, open_ends=True)
            _check_number(f"calibration[{label}][1]", pair[1], float, -math.inf, math.inf, open_ends=True)
        for label, threshold in self.thresholds.items():
            _check_number(f"thresholds[{label}]", threshold, float, 0, 1)

    def _check_vision(self) -> None:
        _check_number("num_frames", self.num_frames, int, 4, 1024)
        _check_number("image_size", self.image_size, int, 16, 1024)
        _check_number("led_alpha", self.led_alpha, float, 0, math.inf, open_ends=True)
        _check_number("led_r1", self.led_r1, float, 0, 1, open_ends=True)
        _check_number("led_r2", self.led_r2, float, 0, 1, open_ends=True)
        if self.led_r1 == self.led_r2:
            _reject("led_r2", self.led_r2, f"anything but led_r1 = {self.led_r1}: equal poles filter everything away")
        if not (isinstance(self.backbone_channels, list) and len(self.backbone_channels) == 2):
            _reject("backbone_channels", self.backbone_channels, "two whole numbers, such as [32, 64]")
        for index, channels in enumerate(self.backbone_channels):
            _check_number(f"backbone_channels[{index}]", channels, int, 1, 65536)
        _check_number("se_reduction", self.se_reduction, int, 1, self.backbone_channels[1])
        _check_number("high_dim", self.high_dim, int, 1, 1 << 20)
        _check_choice("projector", self.projector, PROJECTOR_KINDS)
        if self.projector_hidden is not None:
            _check_number("projector_hidden", self.projector_hidden, int, 1, 1 << 20)
        for name in ("vision_dropout", "projector_dropout"):
            _check_number(name, getattr(self, name), float, 0, 0.999)
        _check_choice("projector_activation", self.projector_activation, PROJECTOR_ACTIVATIONS)
        _check_bool("token_norm", self.token_norm)
        _check_number("num_prompt_tokens", self.num_prompt_tokens, int, 1, 4096)

    def _check_evidence(self) -> None:
        _check_bool("evidence_gate", self.evidence_gate)
        needs = "the projector 'mge'" if self.projector == "mge" else "ccr_weight above 0" if self.ccr_weight else None
        if needs and not self.evidence_gate:
            _reject(
                "evidence_gate",
                self.evidence_gate,
                f"True, or left out: {needs} needs it (a trained model keeps what it has)",
            )
        side = self.mid_shape[2]
        if self.evidence_grids is not None:
            if not (isinstance(self.evidence_grids, list) and self.evidence_grids):
                _reject("evidence_grids", self.evidence_grids, f"a list of whole numbers such as [{side}, 1], or None")
            for index, grid in enumerate(self.evidence_grids):
                _check_number(f"evidence_grids[{index}]", grid, int, 1, side)
        _check_number("evidence_width", self.evidence_width, int, 1, 1 << 16)
        _check_heads("evidence", self.evidence_heads, self.evidence_width)

    def _check_relations(self) -> None:
        _check_bool("graph", self.graph)
        _check_number("graph_width", self.graph_width, int, 1, 1 << 16)
        _check_heads("graph", self.graph_heads, self.graph_width)
        _check_number("graph_layers", self.graph_layers, int, 1, 64)
        _check_number("graph_dropout", self.graph_dropout, float, 0, 0.999)
        _check_number("aux_weight", self.aux_weight, float, 0, math.inf)
        _check_choice("prior", self.prior, PRIORS)
        if not self.graph:
            if self.prior_edges is not None:
                _reject("prior_edges", self.prior_edges, "None where there is no graph (graph=True)")
            return
        if self.projector == "prompt":
            _reject("graph", self.graph, "False for projector 'prompt', whose LLM sees nothing of the clip")
        if not isinstance(self.prior_edges, list):
            _reject("prior_edges", self.prior_edges, "a list of edges such as [1, 2, 'co-occurring']")
        for edge in self.prior_edges:
            known = isinstance(edge, list) and len(edge) == 3 and edge[0] != edge[1] and edge[2] in EDGE_KINDS
            if not (known and all(type(au) is int and au in self.aus for au in edge[:2])):
                _reject(
                    "prior_edges", edge, f"two of the AUs {self.aus} and one of {', '.join(map(repr, EDGE_KINDS))}"
                )

    def _check_counterfactuals(self) -> None:
        _check_number("ccr_weight", self.ccr_weight, float, 0, math.inf)
        for name in ("ccr_fraction", "ccr_cells", "ccr_margin"):
            _check_number(name, getattr(self, name), float, 0, 1)
        if self.ccr_weight and not self.ccr_fraction:
            _reject("ccr_fraction", self.ccr_fraction, "above 0 while ccr_weight is")

    def _check_llm(self) -> None:
        for name in ("llm_name_or_path", "llm_revision", "llm_fingerprint", "prompt_source"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value.strip()):
                _reject(name, value, "text, or None")
        if self.llm_dtype is not None:
            _check_choice("llm_dtype", self.llm_dtype, LLM_DTYPES)
        # Only the base class: a checkpoint's copied code has an AULLMConfig, and a sub-configuration, of its own.
        if not isinstance(self.text_config, PreTrainedConfig):
            _reject("text_config", self.text_config, "a dictionary or configuration of a decoder")
        _check_bool("save_base_weights", self.save_base_weights)
        if self.lora is None:
            return
        if not isinstance(self.lora, dict):
            _reject("lora", self.lora, f"a dictionary with keys of {', '.join(LORA_KEYS)}, or None")
        for key in self.lora:
            if key not in LORA_KEYS:
                _reject(f"lora[{key!r}]", self.lora[key], f"keys {', '.join(LORA_KEYS)}")
        _check_number("lora['r']", self.lora.get("r"), int, 1, 65536)
        _check_number(
            "lora['lora_alpha']", self.lora.get("lora_alpha", self.lora["r"]), float, 0, math.inf, open_ends=True
        )
        _check_number("lora['lora_dropout']", self.lora.get("lora_dropout", 0.0), float, 0, 0.999)
        targets = self.lora.get("target_modules")
        named = isinstance(targets, str) or (isinstance(targets, list) and all(isinstance(t, str) for t in targets))
        if not (named and targets):
            _reject("lora['target_modules']", targets, "names of linear layers, such as ['q_proj', 'v_proj']")
        _check_bool("lora['use_rslora']", self.lora.get("use_rslora", False))
        layers = self.lora.get("layers_to_transform")
        numbers = layers if isinstance(layers, list) else [] if layers is None else [layers]
        if not all(type(number) is int and 0 <= number < 1 << 16 for number in numbers):
            _reject("lora['layers_to_transform']", layers, "a layer's number, a list of them, or None")
        for pattern in ("rank_pattern", "alpha_pattern"):
            value = self.lora.get(pattern, {})
            if not (
                isinstance(value, dict)
                and all(isinstance(k, str) and type(v) is int and 0 < v <= 65536 for k, v in value.items())
            ):
                _reject(f"lora[{pattern!r}]", value, "a dictionary from layer names to whole numbers of at least 1")

    def _check_prompt(self) -> None:
        if not isinstance(self.prompt_template, str) or not self.prompt_template:
            _reject("prompt_template", self.prompt_template, "text with slots in braces, such as 'Classify:{visual}'")
        slots = slots_of(self.prompt_template)
        if "{" in re.sub(r"\{[^{}]*\}", "", self.prompt_template) or "}" in re.sub(
            r"\{[^{}]*\}", "", self.prompt_template
        ):
            _reject("prompt_template", self.prompt_template, "braces in pairs, around slot names only")
        if set(slots) != set(self.token_slots):
            wanted = "the slots " if self.graph else "the slot "
            wanted += " and ".join(f"{{{slot}}}" for slot in self.token_slots) + " and no other"
            kind = f"projector '{self.projector}'" + " and a graph" * self.graph
            _reject("prompt_template", self.prompt_template, f"{wanted}, for {kind}")
        if self.token_norm and not re.sub(r"\{[^{}]*\}", "", self.prompt_template).strip():
            _reject(
                "token_norm", self.token_norm, "False for a template without text, whose norm the token could take"
            )
        if self.clips_per_sequence is not None:
            _check_number("clips_per_sequence", self.clips_per_sequence, int, 1, 1 << 20)
        if self.prompt_segments is None:
            return
        if self.prompt_source not in (None, self.prompt_template):
            _reject(
                "prompt_template",
                self.prompt_template,
                f"{self.prompt_source!r}, which prompt_segments were compiled from (None in both compiles anew)",
            )
        if not isinstance(self.prompt_segments, list):
            _reject("prompt_segments", self.prompt_segments, "a list of token-id lists and slot names")
        for segment in self.prompt_segments:
            is_slot = isinstance(segment, str)
            is_text = isinstance(segment, list) and segment and all(type(i) is int and i >= 0 for i in segment)
            if not (is_slot or is_text):
                _reject("prompt_segments", segment, "a slot name or a list of token ids of at least one")
            if is_text and max(segment) >= self.text_config.vocab_size:
                _reject(
                    "prompt_segments", max(segment), f"token ids below the vocabulary's {self.text_config.vocab_size}"
                )
        if [segment for segment in self.prompt_segments if isinstance(segment, str)] != slots:
            _reject("prompt_segments", self.prompt_segments, f"the slots of the template, {slots}")


__all__ = ["AULLMConfig"]
