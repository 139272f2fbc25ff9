"""Rows: what they are called, and what the AU numbers mean."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..data.facs import au_info
from .reading import ReadClip

BOX = ("box_x", "box_y", "box_w", "box_h")
CLIP_COLUMNS = ("source", "clip", "face_id", "start", "end", "fps", "frames_read", "face_found", *BOX, "reason",
                "warning")  # fmt: skip


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
    table = pd.DataFrame({name: columns[name] for name in CLIP_COLUMNS}).astype(
        {"start": float, "end": float, "fps": float, "face_found": "boolean"}
    )
    known = ~np.isnan(probabilities)
    more: dict[str, object] = {f"p_{label}": probabilities[:, at] for at, label in enumerate(thresholds)}
    for at, (label, threshold) in enumerate(thresholds.items()):
        active = pd.array(probabilities[:, at] >= threshold, dtype="boolean")
        active[~known[:, at]] = pd.NA
        more[f"active_{label}"] = active
    more |= {f"threshold_{label}": float(threshold) for label, threshold in thresholds.items()}
    more |= {"model": model, "revision": revision}
    return pd.concat([table, pd.DataFrame(more, index=table.index)], axis=1)


def au_labels(table: pd.DataFrame) -> list[str]:
    """The AUs a table speaks of, in its order."""
    return [name.removeprefix("p_") for name in table.columns if name.startswith("p_AU")]


def name_aus(table: pd.DataFrame) -> pd.DataFrame:
    """The long form: one row a clip and AU, with the AU's name and muscle spelled out."""
    parts = []
    for label in au_labels(table):
        info = au_info(int(label.removeprefix("AU")))
        part = table[[name for name in (*CLIP_COLUMNS, "model", "revision") if name in table]].copy()
        at = part.columns.get_loc("reason")
        own = {
            "au": label,
            "name": info.name,
            "muscle": info.muscle,
            "probability": table[f"p_{label}"],
            "active": table[f"active_{label}"],
            "threshold": table[f"threshold_{label}"],
        }
        for offset, (name, values) in enumerate(own.items()):
            part.insert(at + offset, name, values)
        parts.append(part)
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
