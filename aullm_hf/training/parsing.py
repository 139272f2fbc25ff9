"""A run's settings from its YAML file and the command line; errors name the field, the value and what is allowed."""

import dataclasses
import difflib
import math
import re
from argparse import SUPPRESS, Action
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import yaml
from transformers import HfArgumentParser

from .data import aus_of_run
from .launch import PROG
from .recipes import find_recipe, read_yaml
from .settings import SECTIONS, STRUCTURED, ConfigError, RunConfig, field_names


def load_run_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that a recipe describes, with the command line's overrides.

    Args:
        path: a YAML file, or the name of a recipe that comes with the package.
        overrides: fields of the run as words of a command line: `["--num_train_epochs", "3"]`.

    Example:

    ```python
    from aullm_hf.training.parsing import load_run_config

    config = load_run_config("quickstart", ["--subjects", "3"])
    print(config.data.subjects, config.training.num_train_epochs)
    ```
    """
    try:
        path = find_recipe(path)
        content = read_yaml(path)
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error
    parser = _parser()
    values = _check(content, parser, path)
    parser.set_defaults(**{name: value for fields in values.values() for name, value in fields.items()})
    namespace, rest = parser.parse_known_args(list(overrides))
    if rest:
        unknown = rest[0].partition("=")[0]  # the value may be anything, a token too
        raise ConfigError(f"{PROG} does not know {unknown!r}.{_nearest(unknown.lstrip('-'), field_names())}")
    given = {name: _parse_structured(name, value) for name, value in vars(namespace).items()}
    if given["output_dir"] is None:
        given["output_dir"] = str(Path("runs") / path.stem)
    plain = {section: _changed(kind, given) for section, kind in SECTIONS.items()}
    _refuse_secrets(plain, path)
    sections = {}
    for section, kind in SECTIONS.items():
        try:
            sections[section] = kind(**{name: given[name] for name in field_names(section)})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}, section `{section}`: {error}") from error
    config = RunConfig(name=Path(given["output_dir"]).name, plain=plain, **sections)
    _check_values(config, path)
    return config


def help_text() -> str:
    """Every field of every section, for `--help`."""
    return _parser().format_help()


class _Parser(HfArgumentParser):
    def error(self, message: str) -> None:
        raise ConfigError(f"{message}. `--help` lists every field.")


def _parser() -> _Parser:
    return _Parser(list(SECTIONS.values()), prog=PROG, allow_abbrev=False, usage=SUPPRESS)


# -------------------------------------------------------------------- the file


def _check(content: Any, parser: _Parser, path: Path) -> dict[str, dict]:
    """The fields of each section. Unknown names are errors; values must be what the command line would accept."""
    if not isinstance(content, dict) or not all(isinstance(fields, dict | None) for fields in content.values()):
        raise ConfigError(f"{path} must hold the sections {', '.join(SECTIONS)}, each with fields of its own.")
    actions = {action.dest: action for action in parser._actions if not action.dest.startswith("no_")}
    checked: dict[str, dict] = {}
    for section, fields in content.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path} has a section `{section}`; allowed: {', '.join(SECTIONS)}.")
        names, hints = field_names(section), get_type_hints(SECTIONS[section])
        for name, value in (fields or {}).items():
            if name not in names:
                home = next((other for other in SECTIONS if name in field_names(other)), None)
                hint = f" It belongs to section `{home}`." if home else _nearest(str(name), names)
                raise ConfigError(f"{path}: section `{section}` has no field `{name}`.{hint}")
            checked.setdefault(section, {})[name] = _typed(
                value, actions[name], hints[name], f"{path}: {section}.{name}"
            )
    return checked


def _typed(value: Any, action: Action, hint: Any, where: str) -> Any:
    """The value in the field's type: what YAML has read as text may be a number, and the other way round."""
    if value is None:
        if NoneType in get_args(hint) or action.default is None:
            return None
        raise ConfigError(f"{where} is null; give a value, or leave the field out for its default.")
    structured = action.dest in STRUCTURED
    if isinstance(value, dict) and not (structured or "dict" in str(hint)):
        raise ConfigError(f"{where} is {value!r}; expected: {'a list' if action.nargs == '+' else 'a single value'}.")
    if isinstance(value, list) and action.nargs != "+" and not (structured or "list" in str(hint)):
        raise ConfigError(f"{where} is {value!r}; expected: a single value.")
    if action.nargs == "+":
        return [_typed_scalar(one, action, where) for one in (value if isinstance(value, list) else [value])]
    return value if isinstance(value, dict | list) else _typed_scalar(value, action, where)


def _typed_scalar(value: Any, action: Action, where: str) -> Any:
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


def _parse_structured(name: str, value: Any) -> Any:
    """Fields that are lists or mappings come from the command line as text."""
    if name not in STRUCTURED or not isinstance(value, str):
        return value
    try:
        return yaml.safe_load(value)
    except Exception as error:  # as in read_yaml
        raise ConfigError(f"--{name} is {value!r}, which is not YAML: {' '.join(str(error).split())[:200]}") from error


def _changed(kind: type, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a section that differ from their defaults."""
    changed = {}
    for one in dataclasses.fields(kind):
        if one.init:
            default = one.default_factory() if one.default is dataclasses.MISSING else one.default
            if given[one.name] != default:
                changed[one.name] = given[one.name]
    return changed


# -------------------------------------------------------------------- the values


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
            f"{path}: training.push_to_hub is not for runs of folds: `aullm push RUN --repo ..` pushes a run, one "
            "branch per fold, and checks the data's licence first."
        )


def _check_values(config: RunConfig, path: Path) -> None:
    """What no single field's type can tell."""
    data, protocol, training = config.data, config.protocol, config.training
    try:
        aus_of_run(data)
    except ValueError as error:
        raise ConfigError(f"{path}: data.aus: {error}") from error
    if not data.datasets:
        raise ConfigError(f"{path}: data.datasets is empty; name at least one data set.")
    if repeated := next((name for name in data.datasets if data.datasets.count(name) > 1), None):
        raise ConfigError(f"{path}: data.datasets names {repeated!r} twice.")
    if protocol.protocol == "cross_domain" and not (protocol.source and protocol.target):
        raise ConfigError(
            f"{path}: protocol cross_domain needs `source` and `target`, two of {', '.join(data.datasets)}."
        )
    if protocol.seeds and len(set(protocol.seeds)) != len(protocol.seeds):
        raise ConfigError(f"{path}: seeds {protocol.seeds} name a seed twice.")
    if protocol.protocol == "holdout" and len(protocol.seeds or ()) > 1:
        raise ConfigError(
            f"{path}: protocol holdout tests other people with every seed, so scores of seeds {protocol.seeds} would "
            "be of different clips; give one seed, and a run of its own for each further one."
        )
    for name in ("inner_fraction", "test_fraction", "false_alarms"):
        if (value := getattr(protocol, name)) is not None and not 0 < value < 1:
            raise ConfigError(f"{path}: {name} is {value}; allowed: more than 0, less than 1.")
    if protocol.false_alarms is not None and protocol.inner == "none":
        raise ConfigError(f"{path}: false_alarms needs inner clips to choose thresholds on; inner is none.")
    for name in ("augment_flip", "augment_zoom", "augment_brightness"):
        if not 0 <= getattr(training, name) <= 1:
            raise ConfigError(f"{path}: {name} is {getattr(training, name)}; allowed: 0 to 1.")
    if not 0 <= training.augment_animate <= 100:
        raise ConfigError(f"{path}: augment_animate is {training.augment_animate}; allowed: 0 to 100 clips per clip.")
    for name, least, what in (
        ("augment_shift", 0, "0 or more pixels"),
        ("augment_turn", 0, "0 or more pixels"),
        ("augment_warp", 0, "0 or more pixels"),
        ("augment_gain", 1, "a factor of at least 1"),
    ):
        if getattr(training, name) < least:
            raise ConfigError(f"{path}: {name} is {getattr(training, name)}; allowed: {what}.")
    if training.dataloader_num_workers:
        raise ConfigError(
            f"{path}: dataloader_num_workers is {training.dataloader_num_workers}; leave it at 0: batches are made at "
            "once on the device that trains, and a worker would only copy them."
        )


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else ""
