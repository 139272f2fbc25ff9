"""The columns of a table: what they are called and of which types they are."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

# Missing values are NaN in float64, NA in Int64 and boolean, None in object.
BOX = ("box_x", "box_y", "box_w", "box_h")
CLIP_COLUMNS = {
    "source": "object",
    "clip": "int64",
    "face_id": "int64",
    "onset": "Int64",
    "offset": "Int64",
    "start": "float64",
    "end": "float64",
    "fps": "float64",
    "frames_read": "int64",
    "face_found": "boolean",
    **dict.fromkeys(BOX, "float64"),
    "reason": "object",
    "warning": "object",
}
MODEL_COLUMNS = {"trained_on": "object", "model": "object", "revision": "object"}
AU_COLUMNS = {"p": "float64", "active": "boolean", "threshold": "float64"}  # as p_AU4, active_AU4, ..
INTENSITY = "intensity"  # as intensity_AU4, from 0 to 5, of a model with that output
NAMED_COLUMNS = {"au": "object", "name": "object", "muscle": "object", "probability": "float64", "active": "boolean",
                 "threshold": "float64"}  # fmt: skip


def column_types(
    labels: Iterable[str], extra: Mapping[str, str] | None = None, *, intensity: bool = False
) -> dict[str, str]:
    """Every column of a table, in order, with its pandas type; `extra` are columns of the caller's own table."""
    kinds = AU_COLUMNS | ({INTENSITY: "float64"} if intensity else {})
    of_aus = {f"{kind}_{label}": dtype for kind, dtype in kinds.items() for label in labels}
    return {**CLIP_COLUMNS, **of_aus, **MODEL_COLUMNS, **(extra or {})}


def column_type(name: str) -> str | None:
    """The type of one of this package's columns; None for a column of the caller's."""
    kind, _, label = name.partition("_AU")
    if kind == INTENSITY:
        return "float64"
    return {**CLIP_COLUMNS, **MODEL_COLUMNS, **NAMED_COLUMNS}.get(name) or (AU_COLUMNS.get(kind) if label else None)


def value_type(values: Iterable[Any], known: str | None = None) -> str | None:
    """The narrowest type that holds all values, beside those of the type `known`; None if all are missing."""
    for value in values:
        if value is None or value is pd.NA or value != value:
            continue
        kinds = ((bool, "boolean"), (int, "Int64"), (float, "float64"))
        found = next((dtype for kind, dtype in kinds if isinstance(value, kind)), "object")
        if found == "Int64" and not -(2**63) <= value < 2**63:
            found = "object"
        if known not in (None, found):
            found = "float64" if {known, found} == {"Int64", "float64"} else "object"
        known = found
    return known


def with_types(table: pd.DataFrame, types: Mapping[str, str]) -> pd.DataFrame:
    """The table with these columns, of these types, also where a column is empty."""
    table = table.reindex(columns=list(types))
    texts = {  # a caller's column of numbers and words is one of words
        name: table[name].map(lambda value: value if isinstance(value, str) else str(value), na_action="ignore")
        for name, dtype in types.items()
        if dtype == "object"
    }
    table = table.assign(**texts).astype(dict(types))
    empty = {name: table[name].where(table[name].notna(), None) for name in texts}
    return table.assign(**empty)


def carried_name(name: str, taken: Iterable[str]) -> str:
    """What a column of the caller's table is called in the results, which have columns of their own."""
    name = name if column_type(name) is None else f"{name}_given"
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


def plain_value(value: Any) -> Any:
    """A truth value, number or text of Python's own; None for what is missing, the text of anything else."""
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return None
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, bool | int | float | str) else str(value)


__all__ = ["AU_COLUMNS", "BOX", "CLIP_COLUMNS", "INTENSITY", "NAMED_COLUMNS", "carried_name", "column_type",
           "column_types", "plain_value", "value_type", "with_types"]  # fmt: skip
