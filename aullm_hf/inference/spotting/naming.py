"""Spotted expressions as clips for an AU detector: each from its own onset to its offset, of its own face."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from ..columns import BOX
from ..reading.clip_source import ClipSource
from ..reading.tracking import overlap

if TYPE_CHECKING:
    from ..detecting import AUDetector

NONE_SPOTTED = "no expression was spotted in it"


def clips_of_expressions(source: ClipSource, table: pd.DataFrame) -> list[ClipSource]:
    """One clip per expression of a recording's table; one with a reason where there is none.

    Args:
        source: the recording.
        table: what was spotted in it, as `spot_expressions` gives it.
    """
    clips = []
    for row in table[table["reason"] == ""].to_dict("records"):
        box = {f"spotted_{name}": row[name] for name in BOX if row[name] == row[name]}
        about = {"kind": row["kind"], "apex": int(row["apex"]), "score": row["score"]}
        columns = {**source.columns, **about, "spotted_face": int(row["face_id"]), **box}
        span = {"onset": int(row["onset"]), "offset": int(row["offset"]), "start": None, "end": None}
        clips.append(replace(source, **span, columns=columns))
    if not clips:
        unread = table.loc[table["onset"].isna(), "reason"].tolist()
        clips.append(replace(source, reason=unread[0] if unread else NONE_SPOTTED))
    return clips


class SpottedFaces:
    """An AU detector whose rows are those of the spotted face alone, also where a clip shows several."""

    def __init__(self, detector: "AUDetector"):
        self.detector = detector

    def detect_each(self, sources: Sequence[ClipSource]) -> Iterator[tuple[ClipSource, pd.DataFrame]]:
        """Clip after clip, each with one row."""
        for source, rows in self.detector.detect_each(sources):
            yield source, nearest_face(rows, source)


def nearest_face(rows: pd.DataFrame, source: ClipSource) -> pd.DataFrame:
    """The row whose face stands where the expression's does; its number is that of the spotted face."""
    box = [source.columns.get(f"spotted_{name}") for name in BOX]
    if len(rows) > 1 and None not in box:
        shared = [overlap(row, box) for row in rows[list(BOX)].to_numpy(float)]
        rows = rows.iloc[[max(range(len(rows)), key=shared.__getitem__)]].reset_index(drop=True)
    face = source.columns.get("spotted_face")
    return rows if face is None else rows.assign(face_id=pd.array([face] * len(rows), dtype="int64"))


__all__ = ["NONE_SPOTTED", "SpottedFaces", "clips_of_expressions", "nearest_face"]
