"""Rows: one per clip with numbers for each AU, and the long form that names the AUs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..data.facs import au_info
from .columns import (
    AU_COLUMNS,
    BOX,
    CLIP_COLUMNS,
    INTENSITY,
    NAMED_COLUMNS,
    column_type,
    column_types,
    value_type,
    with_types,
)
from .reading.cropping import ReadClip


def table_of(
    clips: Sequence[ReadClip],
    probabilities: np.ndarray,  # (clips, n_AU), NaN where a clip has a reason
    levels: np.ndarray | None = None,  # the same of intensities, of a model with that output
    *,
    thresholds: Mapping[str, float],
    **about: str | None,  # warning, trained_on, model, revision
) -> pd.DataFrame:
    """One row per clip, in order."""
    general = about.pop("warning", None)
    columns: dict[str, Any] = {
        name: [getattr(clip, name) for clip in clips] for name in CLIP_COLUMNS if name not in BOX
    }
    columns["warning"] = ["; ".join(filter(None, (general, clip.warning))) for clip in clips]
    boxes = np.array([clip.box or (np.nan,) * 4 for clip in clips], dtype=float).reshape(-1, 4)
    columns |= {name: boxes[:, at] for at, name in enumerate(BOX)}
    for at, (label, threshold) in enumerate(thresholds.items()):
        probability = probabilities[:, at]
        columns[f"p_{label}"] = probability
        columns[f"active_{label}"] = [None if np.isnan(p) else bool(p >= threshold) for p in probability]
        columns[f"threshold_{label}"] = float(threshold)
        if levels is not None:
            columns[f"{INTENSITY}_{label}"] = levels[:, at]
    columns |= about
    extra = {name: [clip.columns.get(name) for clip in clips] for name in _in_order(clip.columns for clip in clips)}
    types = {name: value_type(values) or "object" for name, values in extra.items()}
    return with_types(
        pd.DataFrame(columns | extra, index=range(len(clips))),
        column_types(thresholds, types, intensity=levels is not None),
    )


def join_tables(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Tables of one detector as one; a caller's column that is of several types in them gets one that holds all."""
    joined = pd.concat(tables, ignore_index=True)
    types = {name: column_type(name) for name in joined}
    extra = {name: value_type(joined[name].tolist()) or "object" for name, dtype in types.items() if dtype is None}
    return with_types(joined, types | extra)


def au_labels(table: pd.DataFrame) -> list[str]:
    """The AUs that a table has columns of, in its order."""
    return [name.removeprefix("p_") for name in table.columns if name.startswith("p_AU")]


def name_aus(table: pd.DataFrame) -> pd.DataFrame:
    """The long form: one row per clip and AU, with the AU's name and muscle.

    Args:
        table: rows as `detect_aus` or `AUDetector` give them.

    Example:
        >>> from aullm_hf import detect_aus
        >>> from aullm_hf.inference import name_aus
        >>> table = name_aus(detect_aus("VIDEO.mp4", "CHECKPOINT_FOLDER"))
        >>> table[["source", "au", "name", "probability"]]  # doctest: +ELLIPSIS
              source    au                name  probability
        0  VIDEO.mp4   AU1  Inner brow raiser     0...
        1  VIDEO.mp4   AU4       Brow lowerer     0...
        2  VIDEO.mp4  AU12  Lip corner puller     0...
    """
    labels = au_labels(table)
    of_aus = {f"{kind}_{label}" for kind in (*AU_COLUMNS, INTENSITY) for label in labels}
    about = [name for name in table.columns if name not in of_aus]
    named = [*NAMED_COLUMNS, *[INTENSITY] * (f"{INTENSITY}_{labels[0]}" in table.columns)]
    parts, numbers = [], named[named.index("probability") :]
    for label in labels:
        info = au_info(int(label.removeprefix("AU")))
        part = table[about].assign(au=label, name=info.name, muscle=info.muscle)
        for name, kind in zip(numbers, ("p", "active", "threshold", INTENSITY), strict=False):
            part[name] = table[f"{kind}_{label}"]
        parts.append(part)
    long = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    at = about.index("reason") if "reason" in about else len(about)
    return long[[*about[:at], *named, *about[at:]]]


def _in_order(groups: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(name for group in groups for name in group))


__all__ = ["au_labels", "join_tables", "name_aus", "table_of"]
