"""What single fields of a configuration must hold beyond type and bounds, and the words for it."""

import json
import re
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedConfig

from .arguments import shown
from .config_fields import LARGEST, Number, Rule, SettingError, checked, setting

STATE_DICT_LAYOUT = 1  # raised by a change of the names or shapes of what a checkpoint holds


def slots_of(template: str) -> list[str]:
    """The names in braces, in order of appearance."""
    return re.findall(r"\{([^{}]*)\}", template)


def text_of(template: str) -> str:
    """The template without its slots."""
    return re.sub(r"\{[^{}]*\}", "", template)


def is_whole(value: Any, low: int = 1, high: int = 1 << 16) -> bool:
    return type(value) is int and low <= value <= high


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _are_labels(names: dict) -> bool:
    labels = list(names.values())
    return (
        sorted(map(str, names)) == sorted(map(str, range(len(labels)))) != []
        and all(isinstance(label, str) and re.fullmatch(r"AU[1-9]\d{0,2}", label) for label in labels)
        and len(set(labels)) == len(labels)
    )


def _is_scale_and_shift(pair: Any) -> bool:
    is_pair = isinstance(pair, list) and len(pair) == 2
    return is_pair and _is_number(pair[0], 1 / LARGEST, LARGEST) and _is_number(pair[1], -LARGEST, LARGEST)


def _is_json(value: Any) -> bool:
    if isinstance(value, PreTrainedConfig):
        return True
    try:
        json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False
    return all(isinstance(name, str) for name in value)


def _is_segment(one: Any) -> bool:
    return isinstance(one, str) or (isinstance(one, list) and one != [] and all(is_whole(i, 0, 1 << 40) for i in one))


def _are_modules(names: Any) -> bool:
    return bool(names) and all(isinstance(name, str) for name in names)


def _are_layers(layers: Any) -> bool:
    return all(is_whole(one, 0) for one in (layers if isinstance(layers, list) else [layers]))


def widths(count: int) -> Rule:
    """So many sizes of layers."""
    allowed = f"{count} whole numbers from 1 to {1 << 16} in a list"
    return Rule(allowed, lambda value: len(value) == count and all(map(is_whole, value)))


LABELS = Rule(
    "a dictionary of AU names, each AU once, without gaps in its keys: {0: 'AU1', 1: 'AU4', ..}", _are_labels
)
CALIBRATION = Rule(
    "for each AU two numbers [a, b], finite and a above 0, for sigmoid(a z + b)",
    lambda value: all(map(_is_scale_and_shift, value.values())),
)
THRESHOLDS = Rule("for each AU a number from 0 to 1", lambda value: all(_is_number(t, 0, 1) for t in value.values()))
EXPONENT = Rule(
    "a number of 0 or at least 1 (in between, the gradient is infinite where the loss is 0)",
    lambda value: value == 0 or value >= 1,
)
LAYOUT = Rule(
    f"{STATE_DICT_LAYOUT}, the layout of the weights that this version reads. Load the checkpoint with the version "
    "that wrote it, or with its own code: trust_remote_code=True",
    lambda value: value == STATE_DICT_LAYOUT,
)
DECODER = Rule("a dictionary or configuration of a decoder", _is_json)
SEGMENTS = Rule(
    "a list of slot names, and of token ids in lists of at least one", lambda value: all(map(_is_segment, value))
)
MODULES = Rule("names of linear layers, such as ['q_proj', 'v_proj']", _are_modules)
LAYERS = Rule("a layer's number, a list of them", _are_layers)
PATTERN = Rule(
    "a dictionary from layer names to whole numbers of at least 1",
    lambda value: all(isinstance(name, str) and is_whole(rank) for name, rank in value.items()),
)


@checked("AULLMConfig.lora[{!r}]")
@dataclass
class LoraFields:
    """What of peft's LoraConfig a checkpoint may set.

    The rest would train weights of the frozen LLM itself (bias, modules_to_save), which a checkpoint does not hold,
    or start from something else than a no-op.
    """

    r: int = setting(None, "rank of an adapter", 1, 1 << 16)
    lora_alpha: Number | None = setting(None, "an adapter is scaled by lora_alpha / r", 0, open_ends=True)
    lora_dropout: Number = setting(0.0, "dropout of an adapter's input", 0, 0.999)
    target_modules: list | str = setting(None, "linear layers that get an adapter", rule=MODULES)
    layers_to_transform: list | int | None = setting(None, "numbers of the LLM's layers with adapters", rule=LAYERS)
    rank_pattern: dict = setting({}, "other ranks, by layer name", rule=PATTERN)
    alpha_pattern: dict = setting({}, "other lora_alphas, by layer name", rule=PATTERN)
    use_rslora: bool = setting(False, "an adapter is scaled by lora_alpha / sqrt(r)")


def _is_lora(lora: dict) -> bool:
    known = LoraFields.__dataclass_fields__
    for name in lora:
        if name not in known:
            raise SettingError(f"AULLMConfig.lora[{name!r}] is {shown(lora[name])}; allowed: keys {', '.join(known)}.")
    LoraFields(**lora)
    return True


LORA = Rule(f"a dictionary with keys of {', '.join(LoraFields.__dataclass_fields__)}", _is_lora)
