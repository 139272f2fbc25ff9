"""One YAML file is one run: four sections, each a dataclass, every field of which the command line can override.

    model:     which kind of model, and any field of its configuration
    data:      which clips, with which labels
    protocol:  which folds, what chooses the thresholds
    training:  any field of TrainingArguments, rates per group, augmentation

Field names are unique over the sections, so the command line names a field plainly: `--num_train_epochs 3`. Unknown
names are errors that suggest the nearest. YAML is read by `yaml.safe_load` alone.
"""

import copy
import dataclasses
import difflib
import math
import re
from argparse import SUPPRESS
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args

import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..baselines import ARCHITECTURES, BaselineConfig
from ..model.configuration_aullm import AULLMConfig
from .recipes import find_recipe

# Fields that follow from the data, from training or from the LLM; and the one that model_kind chooses.
_FOUND_OUT = (
    "id2label", "label2id", "problem_type", "training_data", "clips_cropped", "state_dict_layout", "calibration",
    "thresholds", "llm_fingerprint", "text_config", "prompt_segments", "prompt_source",
)  # fmt: skip
_CHOSEN_BY_KIND = ("architecture",)
# Fields that are lists or mappings: one word of YAML on the command line.
STRUCTURED = {"lora", "backbone_channels", "evidence_grids", "prior_edges", "resnet_widths", "tiny_llm"}
# Fields that change where and how a run is computed or shown, not what comes out.
_NO_RESULT = {
    "root", "output_dir", "run_name", "project", "report_to", "disable_tqdm", "log_level", "log_level_replica",
    "logging_dir", "logging_first_step", "logging_nan_inf_filter", "logging_steps", "logging_strategy",
    "save_steps", "save_strategy", "save_total_limit", "dataloader_num_workers", "dataloader_pin_memory",
    "dataloader_persistent_workers", "dataloader_prefetch_factor", "skip_memory_metrics", "hub_model_id", "hub_token",
    "hub_private_repo", "push_to_hub", "eval_batch_size", "trackio_space_id",
}  # fmt: skip


class ConfigError(ValueError):
    """A run that cannot be understood: the file, the field, what it got and what it allows."""


def _documented(default: Any, text: str) -> Any:
    if isinstance(default, list | dict):
        return field(default_factory=lambda: copy.deepcopy(default), metadata={"help": text})
    return field(default=default, metadata={"help": text})


def _model_fields() -> list[tuple]:
    """(name, type, field) of every field of the models' configurations that a run chooses, as a command line can."""
    fields = {}
    for config in (BaselineConfig, AULLMConfig):  # what both have, both mean alike
        defaults = config()
        for one in dataclasses.fields(config):
            if "help" not in one.metadata or one.name in (*_FOUND_OUT, *_CHOSEN_BY_KIND):
                continue
            kinds = [kind for kind in get_args(one.type) or (one.type,) if kind is not NoneType]
            kind = next((kind for kind in (float, int, bool) if kind in kinds), str)
            default = None if one.default is None else getattr(defaults, one.name)  # None: settled by the other fields
            text = one.metadata["help"] + ", written as YAML on the command line" * (one.name in STRUCTURED)
            fields[one.name] = (one.name, kind | None if default is None else kind, _documented(default, text))
    return list(fields.values())


@dataclass
class _ModelKind:
    model_kind: str = _documented("aullm", f"which model: aullm, or a baseline: {', '.join(ARCHITECTURES)}")
    tiny_llm: str | None = _documented(
        None,
        "sizes of the LLM that `llm_name_or_path: tiny:qwen2` builds (fields of its configuration, such as "
        "{hidden_size: 64}); a tiny LLM is random, and there for the quickstart and the tests",
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
        metadata={"help": "synthetic-casme2, synthetic-samm, or as load_clips names them: casme2, samm, .."},
    )
    root: list[str] | None = field(
        default=None, metadata={"help": "folder the data set was unpacked into; of several data sets NAME=FOLDER each"}
    )
    aus: list[str] = field(
        default_factory=lambda: ["casme2"],
        metadata={"help": "AU numbers, or a published list: casme2, samm, cross_domain, cd6me, .."},
    )
    difficulty: Literal["easy", "standard", "hard"] = _documented("easy", "of synthetic clips")
    subjects: int = _documented(6, "number of synthetic subjects")
    clips_per_subject: str = _documented("20", "number of synthetic clips a subject, or `published`")
    clips_seed: int = _documented(0, "seed of the synthetic clips")
    face: Literal["align", "none"] = _documented("align", "find and align the face, or take the frames as they are")
    either: Literal["literature", "first", "drop"] = _documented("literature", "what an annotation `R12 or R14` means")
    ref: Literal["keep", "drop"] = _documented("keep", "whether an annotation `ref(7B)` counts as AU 7")
    static: Literal["keep", "drop"] = _documented("drop", "whether 4DME's `(k)`, an AU that is held, counts")
    corrections: bool = _documented(True, "known errors of the published tables are mended")
    on_error: Literal["raise", "skip"] = _documented("raise", "what to do about clips that cannot be read")
    labels: Literal["annotated", "shuffled"] = _documented(
        "annotated", "`shuffled` permutes the labels over all clips: a control that must come out at chance"
    )
    frames: Literal["all", "onset"] = _documented(
        "all", "`onset` shows every clip's first frame only: a control without motion, which must come out at chance"
    )


@dataclass
class ProtocolSettings:
    """Which folds there are, and what chooses calibration and thresholds."""

    _argument_group_name = "protocol"

    protocol: Literal["loso", "cross_domain", "leave_one_dataset_out"] = _documented(
        "loso", "one fold a subject, one from `source` to `target`, or one a data set"
    )
    source: str | None = _documented(None, "data set to train on (cross_domain)")
    target: str | None = _documented(None, "data set to test on (cross_domain)")
    inner: Literal["holdout", "refit", "none"] = _documented(
        "holdout",
        "a fifth of the training subjects is held out for calibration and thresholds; `refit` trains once more on all "
        "of them afterwards; `none` reports at 0.5, as published",
    )
    inner_fraction: float = _documented(0.2, "share of the training subjects that is held out")
    seeds: list[int] | None = field(
        default=None, metadata={"help": "several seeds in one run; default: the training section's `seed`"}
    )


@dataclass
class TrainSettings(TrainingArguments):
    """Any field of TrainingArguments, a rate for each group of parameters, and what is done to a training clip."""

    _argument_group_name = "training"

    output_dir: str | None = _documented(None, "the run folder; default runs/NAME, after the file's name")
    seed: int = _documented(1, "of the trained weights, dropout, sampling and augmentation")
    report_to: str | None = _documented("none", "trackers: none, tensorboard, trackio, wandb, all")
    ddp_find_unused_parameters: bool = _documented(False, "nothing is unused here")
    remove_unused_columns: bool = _documented(False, "the clips are no table of columns")
    logging_nan_inf_filter: bool = _documented(
        False,
        "whether the log leaves losses out that are no number; looking for them makes every step wait for the device",
    )
    led_learning_rate: float | None = _documented(None, "of LED's three scalars; default: learning_rate")
    vision_learning_rate: float | None = _documented(None, "of the 3D-CNN; default: learning_rate")
    projector_learning_rate: float | None = _documented(
        None, "of the projector and the evidence gate; default: learning_rate"
    )
    graph_learning_rate: float | None = _documented(None, "of the graph of AUs; default: learning_rate")
    lora_learning_rate: float | None = _documented(None, "of the LLM's adapters; default: learning_rate")
    head_learning_rate: float | None = _documented(None, "of the classifier; default: learning_rate")
    adam_with_l2: bool = _documented(
        False,
        "torch.optim.Adam with `weight_decay` added to the gradient of every trained parameter (the published "
        "recipe), in place of `optim`, whose decay spares norms, biases and scalars",
    )
    include_last: bool = _documented(False, "training samples may reach a clip's last frame; as published they cannot")
    value_range: Literal["unit", "byte"] = _documented("unit", "pixel values 0..1, or 0..255 as the published code")
    clip_sampling: Literal["uniform", "balanced"] = _documented(
        "uniform", "every clip once an epoch, or clips drawn with replacement, those with rare AUs more often"
    )
    augment_flip: float = _documented(0.0, "probability of a mirrored clip (AU labels have no side here: none swaps)")
    augment_shift: int = _documented(0, "largest shift of a whole clip, in pixels")
    augment_zoom: float = _documented(0.0, "largest change of a whole clip's scale, as a share: 0.05 is 5 percent")
    augment_brightness: float = _documented(0.0, "largest change of a whole clip's brightness, as a share")


SECTIONS = {"model": ModelSettings, "data": DataSettings, "protocol": ProtocolSettings, "training": TrainSettings}


@dataclass
class RunConfig:
    """A run, resolved: the settings as objects, and as the plain values that are saved with it."""

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
            section: {name: value for name, value in fields.items() if name not in _NO_RESULT}
            for section, fields in self.plain.items()
        }


def load_run_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a YAML file describes, with the command line's overrides."""
    try:
        path = find_recipe(path)
    except FileNotFoundError as error:
        raise ConfigError(str(error)) from error
    parser = _parser()
    values = _check(_read(path), parser, path)
    parser.set_defaults(**{name: value for fields in values.values() for name, value in fields.items()})
    namespace, rest = parser.parse_known_args(list(overrides))
    if rest:
        unknown = rest[0].partition("=")[0]  # the value may be anything, a token too
        raise ConfigError(f"aullm train does not know {unknown!r}.{_nearest(unknown.lstrip('-'), _names())}")
    given = vars(namespace)
    given = {name: _from_yaml(name, value) for name, value in given.items()}
    if given["output_dir"] is None:
        given["output_dir"] = str(Path("runs") / path.stem)
    plain = {section: _changed(kind, given) for section, kind in SECTIONS.items()}
    _refuse_secrets(plain, path)
    sections = {}
    for section, kind in SECTIONS.items():
        own = {one.name for one in dataclasses.fields(kind) if one.init}
        try:
            sections[section] = kind(**{name: value for name, value in given.items() if name in own})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, section `{section}`: {error}") from error
    config = RunConfig(name=Path(given["output_dir"]).name, plain=plain, **sections)
    _check_protocol(config, path)
    return config


def help_text() -> str:
    """Every field of every section, for `--help`."""
    return _parser().format_help()


def differences(one: dict, other: dict) -> list[str]:
    """`section.field: here X, there Y` for every field in which two saved configurations differ."""
    lines = []
    for section in sorted({*one, *other}):
        here, there = one.get(section, {}), other.get(section, {})
        for name in sorted({*here, *there}):
            if here.get(name) != there.get(name):
                ours, theirs = (repr(s[name]) if name in s else "the default" for s in (here, there))
                lines.append(f"{section}.{name}: here {ours}, there {theirs}")
    return lines


class _Parser(HfArgumentParser):
    def error(self, message: str) -> None:
        raise ConfigError(f"{message}. `--help` lists every field.")


def _parser() -> _Parser:
    return _Parser(list(SECTIONS.values()), prog="aullm train", allow_abbrev=False, usage=SUPPRESS)


def _names() -> list[str]:
    return [one.name for kind in SECTIONS.values() for one in dataclasses.fields(kind) if one.init]


def _read(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # the parser, the text's encoding, a date or a number that is none, nesting too deep
        raise ConfigError(
            f"{path} is not YAML ({type(error).__name__}: {' '.join(str(error).split())[:500]})"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(fields, dict | None) for fields in content.values()):
        raise ConfigError(f"{path} must hold the sections {', '.join(SECTIONS)}, each with fields of its own.")
    return {section: fields or {} for section, fields in content.items()}


def _check(content: dict, parser: _Parser, path: Path) -> dict[str, dict]:
    """Unknown sections and fields are errors; scalars must be what the command line would accept."""
    actions = {action.dest: action for action in parser._actions if not action.dest.startswith("no_")}
    checked: dict[str, dict] = {}
    for section, fields in content.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path} has a section `{section}`; allowed: {', '.join(SECTIONS)}.")
        own = [one.name for one in dataclasses.fields(SECTIONS[section]) if one.init]
        for name, value in fields.items():
            if name not in own:
                home = next((other for other, kind in SECTIONS.items() if name in kind.__dataclass_fields__), None)
                hint = f" It belongs to section `{home}`." if home else _nearest(str(name), own)
                raise ConfigError(f"{path}: section `{section}` has no field `{name}`.{hint}")
            checked.setdefault(section, {})[name] = _typed(value, actions[name], f"{path}: {section}.{name}")
    return checked


def _typed(value: Any, action: Any, where: str) -> Any:
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, list) and action.nargs != "+":
        return value
    if action.nargs == "+":
        return [_typed_scalar(one, action, where) for one in (value if isinstance(value, list) else [value])]
    return _typed_scalar(value, action, where)


def _typed_scalar(value: Any, action: Any, where: str) -> Any:
    try:
        typed = action.type(str(value)) if action.type is not None else value
    except Exception as error:
        kind = getattr(action.type, "__name__", "value").replace("string_to_bool", "true or false")
        raise ConfigError(f"{where} is {value!r}; expected: {kind}.") from error
    if isinstance(typed, float) and not math.isfinite(typed):
        raise ConfigError(f"{where} is {value!r}; expected: a finite number.")
    if action.choices is not None and typed not in action.choices:
        raise ConfigError(f"{where} is {value!r}; allowed: {', '.join(map(repr, action.choices))}.")
    return typed


def _from_yaml(name: str, value: Any) -> Any:
    """Fields that are lists or mappings come from the command line as text."""
    return yaml.safe_load(value) if name in STRUCTURED and isinstance(value, str) else value


def _changed(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    changed = {}
    for one in dataclasses.fields(kind):
        if not one.init:
            continue
        default = one.default_factory() if one.default is dataclasses.MISSING else one.default
        if given[one.name] != default:
            changed[one.name] = given[one.name]
    return changed


def _refuse_secrets(plain: dict[str, dict[str, Any]], path: Path) -> None:
    """A configuration is written into the run's folder: no token may be in it, nor push anything by itself."""
    for section, fields in plain.items():
        for name, value in fields.items():
            if name.endswith("token") or re.search(r"\bhf_\w{16,}", str(value)):
                raise ConfigError(
                    f"{path}: {section}.{name} holds a token (not shown). Take it out, also of shell histories, and "
                    "log in with `hf auth login`, or set HF_TOKEN."
                )
    if plain["training"].get("push_to_hub"):
        raise ConfigError(
            f"{path}: training.push_to_hub is not for runs of folds: `aullm push RUN --repo ..` pushes a "
            "run, a branch a fold, and looks at the data's licence first."
        )


def _check_protocol(config: RunConfig, path: Path) -> None:
    protocol, data = config.protocol, config.data
    if protocol.protocol == "cross_domain" and not (protocol.source and protocol.target):
        raise ConfigError(
            f"{path}: protocol cross_domain needs `source` and `target`, two of {', '.join(data.datasets)}."
        )
    if protocol.seeds and len(set(protocol.seeds)) != len(protocol.seeds):
        raise ConfigError(f"{path}: seeds {protocol.seeds} name a seed twice.")
    if not 0 < protocol.inner_fraction < 1:
        raise ConfigError(f"{path}: inner_fraction is {protocol.inner_fraction}; it lies between 0 and 1.")
    for name in ("augment_flip", "augment_zoom", "augment_brightness"):
        if not 0 <= getattr(config.training, name) <= 1:
            raise ConfigError(f"{path}: {name} is {getattr(config.training, name)}; it lies between 0 and 1.")
    if config.training.dataloader_num_workers:
        raise ConfigError(
            f"{path}: dataloader_num_workers is {config.training.dataloader_num_workers}; leave it at 0: batches are "
            "made at once on the device that trains, and a worker would only copy them."
        )
    if config.training.augment_shift < 0:
        raise ConfigError(f"{path}: augment_shift is {config.training.augment_shift} pixels; it is 0 or more.")


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else ""
