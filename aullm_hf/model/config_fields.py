"""Fields of a configuration: typed, bounded and documented, each in one line; a wrong value is refused in words.

huggingface_hub's `@strict`, on which transformers' own configurations stand, checks every assignment against the
field's type and validator. Its errors become ValueErrors here, and only here: they name the field, the value and what
is allowed, which follows from the type and the bounds.
"""

import math
from collections.abc import Callable
from dataclasses import Field, fields
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from huggingface_hub.dataclasses import strict, validated_field
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError

from .arguments import shown

Number = float | int  # the library's `float` would refuse 1
LARGEST = 1e300  # the largest number that is still a setting
FIXED = (NoneType, bool, int, float, str)  # what only an assignment changes
KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a dictionary",
}


class SettingError(ValueError):
    """A value that a configuration does not take, in words for its user."""


class Rule(NamedTuple):
    """What type and bounds do not say: what is allowed, in words, and whether a value of the right type is."""

    allowed: str
    holds: Callable[[Any], bool]


def setting(
    default: Any,
    doc: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_ends: bool = False,
    rule: Rule | None = None,
) -> Any:
    """A dataclass field that is checked whenever it is assigned.

    Args:
        default: its value where none is given.
        doc: what it means, in one line.
        low, high: the bounds of a number. Infinities and NaN are never allowed, nor is blank text.
        open_ends: whether the bounds themselves are excluded.
        rule: what else must hold of a value that is not None.
    """

    def validate(value: Any) -> None:
        fits = True
        if isinstance(value, str):
            fits = bool(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            fits = -LARGEST < value < LARGEST and (low < value < high if open_ends else low <= value <= high)
        if not fits or (rule is not None and value is not None and not rule.holds(value)):
            raise ValueError

    words = {"help": doc, "allowed": rule and rule.allowed, "bounds": _bounds(low, high, open_ends)}
    if isinstance(default, list | dict):
        return validated_field(validate, default_factory=lambda: default, metadata=words)  # a copy is assigned
    return validated_field(validate, default=default, metadata=words)


def checked(label: str) -> Callable[[type], type]:
    """Decorator: `@strict`, with refusals in words, such as "AULLMConfig.num_frames is 0; allowed: ..".

    Args:
        label: how a field is named in a refusal, such as "AULLMConfig.{}".

    `validate()` also sees what was changed inside a list or a dictionary, which no assignment tells of. Values are
    kept as JSON gives them back, as copies: tuples and sets become lists.
    """

    def decorate(cls: type) -> type:
        strict(cls)
        assign, validate_strictly = cls.__setattr__, cls.validate
        by_name = {one.name: one for one in fields(cls)}

        def __setattr__(self: Any, name: str, value: Any) -> None:
            value = _as_json(value) if name in by_name else value
            try:
                assign(self, name, value)
            except StrictDataclassFieldValidationError as error:
                words = f"{label.format(name)} is {shown(value)}; allowed: {allowed_values(by_name[name])}."
                raise SettingError(
                    str(error.__cause__) if isinstance(error.__cause__, SettingError) else words
                ) from None

        def validate(self: Any) -> None:
            for name in by_name:
                if not isinstance(value := getattr(self, name), FIXED):
                    setattr(self, name, value)
            try:
                validate_strictly(self)
            except StrictDataclassClassValidationError as error:
                raise SettingError(str(error.__cause__)) from None

        cls.__setattr__, cls.validate = __setattr__, validate
        docs = [f"        {one.name}: {one.metadata['help']}" for one in by_name.values() if "help" in one.metadata]
        cls.__doc__ = "\n".join([f"{(cls.__doc__ or '').rstrip()}\n\n    Fields:", *docs])
        return cls

    return decorate


def allowed_values(one: Field) -> str:
    """What a field takes, in words."""
    kinds = get_args(one.type) if get_origin(one.type) in (Union, UnionType) else (one.type,)
    words = [one.metadata["allowed"]] if one.metadata.get("allowed") else []
    for kind in kinds if not words else ():
        if get_origin(kind) is Literal:
            words.append("one of " + ", ".join(map(repr, get_args(kind))))
        elif kind is not NoneType and not (kind is int and float in kinds):
            number = one.metadata.get("bounds", "") if kind in (int, float) else ""
            words.append(KINDS.get(get_origin(kind) or kind, getattr(kind, "__name__", str(kind))) + number)
    return ", or ".join([*words, "None"] if NoneType in kinds else words)


def _bounds(low: float, high: float, open_ends: bool) -> str:
    if math.isinf(high):
        return " that is finite" if math.isinf(low) else f" above {low}" if open_ends else f" of at least {low}"
    return f" strictly between {low} and {high}" if open_ends else f" from {low} to {high}"


def _as_json(value: Any) -> Any:
    """A copy of a value in the form in which JSON gives it back."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, list | tuple):
        return [_as_json(one) for one in value]
    return {key: _as_json(one) for key, one in value.items()} if type(value) is dict else value


__all__ = ["LARGEST", "Number", "Rule", "SettingError", "checked", "setting"]
