"""A run as data: four sections, each a dataclass, every field of which the command line can override.

    model:     which kind of model, and any field of its configuration
    data:      which clips, with which labels
    protocol:  which folds, what chooses the thresholds
    training:  any field of TrainingArguments, rates per group, augmentation

Field names are unique over the sections, so the command line names a field plainly: `--num_train_epochs 3`.
`parsing.py` reads a run from its YAML file.
"""

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

from transformers import TrainingArguments

from ..baselines import ARCHITECTURES, BaselineConfig
from ..model.configuration_aullm import AULLMConfig

# Fields that follow from the data, from training or from the LLM; and the one that model_kind sets.
_NOT_CHOSEN = {
    "id2label", "label2id", "problem_type", "training_data", "begun_from", "clips_cropped", "state_dict_layout",
    "calibration", "thresholds", "llm_fingerprint", "text_config", "prompt_segments", "prompt_source", "architecture",
}  # fmt: skip
# Fields that are lists or mappings: one word of YAML on the command line.
STRUCTURED = {"lora", "backbone_channels", "prior_edges", "resnet_widths", "tiny_llm"}
# Fields that change where and how a run is computed or shown, not what comes out.
_WITHOUT_EFFECT = {
    "root", "output_dir", "run_name", "project", "report_to", "disable_tqdm", "log_level", "log_level_replica",
    "logging_dir", "logging_first_step", "logging_nan_inf_filter", "logging_steps", "logging_strategy",
    "save_steps", "save_strategy", "save_total_limit", "dataloader_num_workers", "dataloader_pin_memory",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "skip_memory_metrics", "hub_model_id", "hub_token",
    "hub_private_repo", "push_to_hub", "eval_batch_size", "trackio_space_id", "final_fit",
}  # fmt: skip


class ConfigError(ValueError):
    """Settings that cannot be used: the file, the field, the value and the values that are allowed."""


def _setting(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.deepcopy(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


def _model_fields() -> list[tuple]:
    """(name, type, field) of every field of the models' configurations that a run chooses, as a command line can."""
    fields = {}
    for config in (BaselineConfig, AULLMConfig):  # a field of both means the same in both
        defaults = config()
        for one in dataclasses.fields(config):
            if "help" not in one.metadata or one.name in _NOT_CHOSEN:
                continue
            kinds = [kind for kind in get_args(one.type) or (one.type,) if kind is not NoneType]
            kind = next((kind for kind in (float, int, bool) if kind in kinds), str)
            default = None if one.default is None else getattr(defaults, one.name)  # None: derived from other fields
            text = one.metadata["help"]
            text = text[0].upper() + text[1:] + (", written as YAML." if one.name in STRUCTURED else ".")
            optional = default is None or NoneType in get_args(one.type)
            fields[one.name] = (one.name, kind | None if optional else kind, _setting(default, text))
    return list(fields.values())


@dataclass
class _ModelKind:
    model_kind: str = _setting("aullm", f"The model to train: aullm, or a baseline: {', '.join(ARCHITECTURES)}.")
    tiny_llm: str | None = _setting(
        None,
        "Sizes of the random LLM that `llm_name_or_path: tiny:qwen2` builds, as fields of its configuration: "
        "{hidden_size: 64}. A tiny LLM is meant for the quickstart and for tests.",
    )

    init: str | None = _setting(
        None,
        "What the vision weights begin from: `wild`, the checkpoint that comes with the package, or a checkpoint's "
        "folder. Default: fresh weights.",
    )


ModelSettings = dataclasses.make_dataclass("ModelSettings", _model_fields(), bases=(_ModelKind,))
ModelSettings.__doc__ = "Which model: its kind, and any field of AULLMConfig, or of BaselineConfig."
ModelSettings._argument_group_name = "model"


@dataclass
class DataSettings:
    """Which clips, and with which labels."""

    _argument_group_name = "data"

    datasets: list[str] = field(
        default_factory=lambda: ["synthetic-casme2"],
        metadata={"help": "The data sets: synthetic-casme2, synthetic-samm, or names of load_clips: casme2, .."},
    )
    root: list[str] | None = field(
        default=None,
        metadata={"help": "The folder that the data set was unpacked into; of several data sets, NAME=FOLDER each."},
    )
    aus: list[str] = field(
        default_factory=lambda: ["casme2"],
        metadata={"help": "AU numbers, or a published list: casme2, samm, cross_domain, cd6me, .."},
    )
    difficulty: Literal["easy", "standard", "hard", "wild"] = _setting("easy", "Difficulty of the synthetic clips.")
    subjects: int = _setting(6, "Number of synthetic subjects.")
    clips_per_subject: str = _setting("20", "Number of synthetic clips per subject, or `published`.")
    clips_seed: int = _setting(0, "Random seed of the synthetic clips.")
    face: Literal["align", "none"] = _setting(
        "align", "Whether to find and align the face in every clip, or to take the frames as they are."
    )
    either: Literal["literature", "first", "drop"] = _setting(
        "literature", "How to read an annotation of alternatives such as `R12 or R14`."
    )
    ref: Literal["keep", "drop"] = _setting("keep", "Whether an annotation such as `ref(7B)` counts as AU 7.")
    static: Literal["keep", "drop"] = _setting("drop", "Whether 4DME's `(k)`, an AU that is held, counts.")
    corrections: bool = _setting(True, "Whether to correct known errors of the published tables.")
    on_error: Literal["raise", "skip"] = _setting("raise", "Whether a clip that cannot be read ends the run.")
    labels: Literal["annotated", "shuffled"] = _setting(
        "annotated", "`shuffled` permutes the labels over all clips: a control that must come out at chance."
    )
    frames: Literal["all", "onset"] = _setting(
        "all", "`onset` shows every clip's first frame only: a control without motion that must come out at chance."
    )


@dataclass
class ProtocolSettings:
    """Which folds there are, and what chooses calibration and thresholds."""

    _argument_group_name = "protocol"

    protocol: Literal["loso", "cross_domain", "leave_one_dataset_out", "holdout"] = _setting(
        "loso",
        "One fold per subject, one fold from `source` to `target`, one fold per data set, or one fold in all, which "
        "tests on `test_fraction` of the subjects.",
    )
    source: str | None = _setting(None, "The data set to train on (cross_domain).")
    target: str | None = _setting(None, "The data set to test on (cross_domain).")
    test_fraction: float = _setting(0.1, "Share of the subjects that is tested (holdout).")
    inner: Literal["holdout", "refit", "none"] = _setting(
        "holdout",
        "`holdout` holds out a share of the training subjects for calibration and thresholds; `refit` trains once "
        "more on all of them afterwards; `none` reports at 0.5, as published.",
    )
    inner_fraction: float = _setting(0.2, "Share of the training subjects that is held out.")
    false_alarms: float | None = _setting(
        None,
        "Thresholds are raised until at most this share of the inner clips without any AU has an active one. "
        "Default: the thresholds of the best F1.",
    )
    train_clips: int | None = _setting(
        None, "How many of each fold's training clips are used, evenly from its subjects. Default: all."
    )
    final_fit: bool = _setting(
        False, "Whether to train once more on all subjects once the folds are finished: the model to publish."
    )
    seeds: list[int] | None = field(
        default=None, metadata={"help": "Several seeds in one run. Default: the training section's `seed`."}
    )


@dataclass
class TrainSettings(TrainingArguments):
    """Any field of TrainingArguments, a learning rate per group of parameters, and augmentation."""

    _argument_group_name = "training"

    output_dir: str | None = _setting(None, "The run folder. Default: runs/NAME, after the recipe.")
    seed: int = _setting(1, "Random seed of the trained weights, dropout, sampling and augmentation.")
    report_to: str | None = _setting("none", "Where to report logs: none, tensorboard, trackio, wandb or all.")
    ddp_find_unused_parameters: bool = _setting(False, "Whether to look for unused parameters; there are none.")
    remove_unused_columns: bool = _setting(False, "Has no effect: clips are not read by columns.")
    logging_nan_inf_filter: bool = _setting(
        False, "Whether to leave non-finite losses out of the log; checking for them makes every step wait."
    )
    led_learning_rate: float | None = _setting(
        None, "Learning rate of the scalars of LED and of the flow. Default: learning_rate."
    )
    vision_learning_rate: float | None = _setting(None, "Learning rate of the 3D-CNN. Default: learning_rate.")
    projector_learning_rate: float | None = _setting(
        None, "Learning rate of the projector and the evidence gate. Default: learning_rate."
    )
    graph_learning_rate: float | None = _setting(None, "Learning rate of the AU graph. Default: learning_rate.")
    lora_learning_rate: float | None = _setting(None, "Learning rate of the LLM's adapters. Default: learning_rate.")
    head_learning_rate: float | None = _setting(None, "Learning rate of the heads. Default: learning_rate.")
    adam_with_l2: bool = _setting(
        False,
        "Whether to use torch.optim.Adam with `weight_decay` as L2 on every trained parameter (the published recipe) "
        "instead of `optim`, whose decay spares norms, biases and scalars.",
    )
    include_last: bool = _setting(
        False, "Whether training samples may reach a clip's last frame; as published they cannot."
    )
    value_range: Literal["unit", "byte"] = _setting(
        "unit", "Range of pixel values: 0 to 1, or 0 to 255 as in the published code."
    )
    clip_sampling: Literal["uniform", "balanced"] = _setting(
        "uniform", "Every clip once per epoch, or clips drawn with replacement, those with rare AUs more often."
    )
    augment_flip: float = _setting(0.0, "Probability of mirroring a clip; AU labels have no side here.")
    augment_shift: int = _setting(0, "Largest shift of a whole clip, in pixels.")
    augment_zoom: float = _setting(0.0, "Largest change of a whole clip's scale, as a share: 0.05 is 5 percent.")
    augment_gain: float = _setting(
        1.0, "Largest factor by which a clip's optical flow is multiplied, where the flow is computed once per run."
    )
    augment_turn: float = _setting(
        0.0, "Largest motion in pixels, as a turning head leaves it, that is added to a clip's optical flow."
    )
    augment_warp: float = _setting(
        0.0, "Largest distance in pixels by which a face's parts lie elsewhere in a clip's optical flow."
    )
    augment_brightness: float = _setting(0.0, "Largest change of a whole clip's brightness, as a share.")
    augment_animate: float = _setting(
        0.0, "Clips made of the training clips' onset frames by moving the faces in them, per training clip."
    )


SECTIONS = {"model": ModelSettings, "data": DataSettings, "protocol": ProtocolSettings, "training": TrainSettings}


def field_names(section: str | None = None) -> list[str]:
    """The fields of a section, or of all of them."""
    kinds = SECTIONS.values() if section is None else [SECTIONS[section]]
    return [one.name for kind in kinds for one in dataclasses.fields(kind) if one.init]


@dataclass
class RunConfig:
    """A run: the settings as objects, and as the plain values that are saved with it."""

    name: str
    model: Any
    data: DataSettings
    protocol: ProtocolSettings
    training: TrainSettings
    plain: dict[str, dict[str, Any]]  # section -> field -> value, where it differs from the default

    @property
    def seeds(self) -> list[int]:
        return self.protocol.seeds or [self.training.seed]

    @property
    def folder(self) -> Path:
        return Path(self.training.output_dir)

    @property
    def identity(self) -> dict[str, dict[str, Any]]:
        """What two processes must agree on to work on the same run."""
        return {
            section: {name: value for name, value in fields.items() if name not in _WITHOUT_EFFECT}
            for section, fields in self.plain.items()
        }
