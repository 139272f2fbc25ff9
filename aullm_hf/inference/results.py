"""Rows: what they are called, of which types they are, and what the AU numbers mean."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..data.facs import au_info
from .reading.clips import ReadClip

BOX = ("box_x", "box_y", "box_w", "box_h")
CLIP_COLUMNS = ("source", "clip", "face_id", "start", "end", "fps", "frames_read", "face_found", *BOX, "reason",
                "warning")  # fmt: skip


def columns_of(labels: Sequence[str]) -> list[str]:
    """All columns of a table, in order: the clip, probabilities, activities, thresholds, the model."""
    of_aus = [f"{kind}_{label}" for kind in ("p", "active", "threshold") for label in labels]
    return [*CLIP_COLUMNS, *of_aus, "model", "revision"]


def kind_of(column: str) -> str:
    """The type of a column: missing values are NaN in numbers, NA in truth values, None in texts."""
    if column in ("clip", "face_id", "frames_read"):
        return "int64"
    if column in ("face_found", "active") or column.startswith("active_"):
        return "boolean"
    if column in ("source", "reason", "warning", "model", "revision", "au", "name", "muscle"):
        return "object"
    return "float64"


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its columns' types, also where a column holds nothing."""
    return table.astype({name: kind_of(name) for name in table.columns})


def table_of(
    clips: Sequence[ReadClip],
    probabilities: np.ndarray,  # (clips, n_AU), NaN where a clip has a reason
    thresholds: dict[str, float],
    model: str,
    revision: str | None,
) -> pd.DataFrame:
    """One row a clip, in order."""
    columns: dict[str, object] = {
        name: [getattr(clip, name) for clip in clips] for name in CLIP_COLUMNS if name not in BOX
    }
    boxes = np.array([clip.box or (np.nan,) * 4 for clip in clips], dtype=float).reshape(-1, 4)
    columns |= {name: boxes[:, at] for at, name in enumerate(BOX)}
    for at, (label, threshold) in enumerate(thresholds.items()):
        own = probabilities[:, at]
        columns[f"p_{label}"] = own
        columns[f"active_{label}"] = [None if np.isnan(p) else bool(p >= threshold) for p in own]
        columns[f"threshold_{label}"] = float(threshold)
    columns |= {"model": model, "revision": revision}
    return typed(pd.DataFrame(columns, index=range(len(clips)))[columns_of(list(thresholds))])


def au_labels(table: pd.DataFrame) -> list[str]:
    """The AUs a table speaks of, in its order."""
    return [name.removeprefix("p_") for name in table.columns if name.startswith("p_AU")]


def name_aus(table: pd.DataFrame) -> pd.DataFrame:
    """The long form: one row a clip and AU, with the AU's name and muscle spelled out."""
    about = [name for name in (*CLIP_COLUMNS, "model", "revision") if name in table]
    parts = []
    for label in au_labels(table):
        info = au_info(int(label.removeprefix("AU")))
        own = table[about].assign(au=label, name=info.name, muscle=info.muscle)
        for name, kind in (("probability", "p"), ("active", "active"), ("threshold", "threshold")):
            own[name] = table[f"{kind}_{label}"]
        parts.append(own)
    long = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    at = about.index("reason") if "reason" in about else len(about)
    return long[[*about[:at], "au", "name", "muscle", "probability", "active", "threshold", *about[at:]]]


def disarmed(table: pd.DataFrame) -> pd.DataFrame:
    """For CSV alone, which spreadsheet programs open: a text that they would run as a formula gets an apostrophe.

    Names of files come from strangers, and `=cmd|..` is a name. The other formats hold every text as it is.
    """
    texts = [name for name in table.columns if kind_of(name) == "object"]
    guarded = {name: table[name].astype(object).map(_disarmed, na_action="ignore") for name in texts}
    return table.assign(**guarded)


def _disarmed(text):
    return f"'{text}" if isinstance(text, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
