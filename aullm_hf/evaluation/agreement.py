"""How far a prediction agrees with another tool on the same videos. It is agreement with another tool, not truth.

A prediction says of each window whether an AU moves in it; a tool says of each frame how an AU stands. So an
occurrence counts in a window where any of its frames has it, and of what a tool gives as a number the largest rise
from an earlier frame of the window to a later one counts: only its order is compared, since no two scales are alike.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..arguments import counted, first_few
from .counting import confusion, kappa_of_counts, roc_auc
from .tables import markdown_table

SAME = 0.002  # seconds: two readers give one frame the same time to a millisecond
KINDS = {  # what a tool's column says of an AU, by the prefix of its name
    "active": "occurrence",
    "intensity": "intensity, 0 to 5",
    "p": "probability",
    "score": "score of its own, 0 to 1",
}
Video = tuple[pd.DataFrame, pd.DataFrame]  # the prediction's rows of it, the tool's frames of it
COLUMN = re.compile(rf"({'|'.join(KINDS)})_(AU\d+)")


@dataclass(frozen=True)
class Agreement:
    """What `compare_with_tool` found.

    Args:
        table: one row per AU and kind of number: `au`, `tool_gives`, `windows`, `tool_active` (windows with an
            occurrence), `auc` and `kappa` (of occurrences), `rank_correlation` (of numbers); NaN where undefined.
        windows: one row per window that both sides could read, with the prediction's columns and `tool_..` beside.
        notes: what was left out and what is not comparable.
    """

    table: pd.DataFrame
    windows: pd.DataFrame
    notes: list[str]

    def to_markdown(self) -> str:
        header = ["AU", "the tool gives", "windows", "active for the tool", "AUC", "kappa", "rank correlation"]
        cells = [[_cell(value) for value in row] for row in self.table.itertuples(index=False)]
        table = markdown_table(pd.DataFrame(cells, columns=header))
        return "\n".join([table, "", *(f"- {note}" for note in self.notes)])


def compare_with_tool(prediction: pd.DataFrame, frames: pd.DataFrame) -> Agreement:
    """Agreement per AU of a prediction's windows with another tool's frames.

    Args:
        prediction: rows as `detect_aus` gives them, best with a window and a stride.
        frames: rows as `aullm_hf.data.read_tool_table` gives them. Where both hold one video they belong together;
            else those of one file name do, its ending aside.

    Example:
        >>> from aullm_hf import detect_aus
        >>> from aullm_hf.data import read_tool_table
        >>> from aullm_hf.evaluation import compare_with_tool
        >>> prediction = detect_aus("VIDEO.mp4", "CHECKPOINT_FOLDER", window=0.2, stride=0.1)
        >>> found = compare_with_tool(prediction, read_tool_table("OPENFACE.csv"))
        >>> found.table.columns.tolist()
        ['au', 'tool_gives', 'windows', 'tool_active', 'auc', 'kappa', 'rank_correlation']
    """
    given = [COLUMN.fullmatch(name) for name in frames]
    given = [(match[1], match[2]) for match in given if match]
    ours = [name.removeprefix("p_") for name in prediction if re.fullmatch(r"p_AU\d+", name)]
    shared = sorted(((au, kind) for kind, au in given if au in ours), key=lambda one: (int(one[0][2:]), one[1]))
    if not shared:
        theirs = sorted({au for _, au in given})
        raise ValueError(
            f"no AU is in both tables: the prediction has {', '.join(ours) or 'none'}, the tool's has "
            f"{', '.join(theirs) or 'none'}; give a prediction of `aullm predict` and a table of the same videos"
        )
    needed = [name for name in ("source", "face_id", "start", "end", "reason") if name not in prediction]
    if needed:
        raise ValueError(f"the prediction has no column {', '.join(needed)}; give a table of `aullm predict`, wide")
    if prediction[["start", "end"]].isna().all(axis=None):
        raise ValueError("the prediction has no times in its columns start and end; predict with --fps")
    windows, left_out = join_windows(videos_of_both(prediction, frames), shared)
    table = pd.DataFrame([_row(windows, au, kind) for au, kind in shared]).astype({"tool_active": "Int64"})
    return Agreement(table, windows, [*left_out, *_notes(frames, ours, given, shared)])


def join_windows(videos: list[Video], shared: list[tuple[str, str]]) -> tuple[pd.DataFrame, list[str]]:
    """The prediction's rows that both sides could read, with the tool's numbers; and what was left out."""
    columns = [f"{kind}_{au}" for au, kind in shared]
    joined, unread, unseen = [], 0, 0
    for rows, frames in videos:
        for row in rows.to_dict("records"):
            inside = frames[frames["start"].between(row["start"] - SAME, row["end"] + SAME)]
            if row["reason"]:
                unread += 1
            elif len(inside) < 2 or inside[columns].isna().all(axis=1).any():
                unseen += 1
            else:
                joined.append(row | {f"tool_{name}": _in_window(inside[name], name) for name in columns})
    left_out = {
        f"{counted(unread, 'window')} of the prediction left out, with a reason instead of numbers.": unread,
        f"{counted(unseen, 'window')} left out, where the tool has fewer than two frames or saw no face.": unseen,
    }
    names = [*videos[0][0].columns, *(f"tool_{name}" for name in columns)]
    return pd.DataFrame(joined, columns=names), [note for note, count in left_out.items() if count]


def largest_change(values: np.ndarray) -> tuple[float, float]:
    """(frames, numbers) -> the largest rise from an earlier frame to a later one, and the largest range."""
    rises = values - np.minimum.accumulate(values, axis=0)
    return float(rises.max()), float(np.ptp(values, axis=0).max())


def _in_window(values: pd.Series, name: str) -> float:
    values = values.dropna()
    if name.startswith("active_"):
        return float(values.any())
    return largest_change(values.to_numpy(dtype=float)[:, None])[0] if len(values) else np.nan


def videos_of_both(prediction: pd.DataFrame, frames: pd.DataFrame) -> list[Video]:
    """The rows and the tool's frames of every video that both have, of one face each."""
    prediction = prediction.assign(reason=prediction["reason"].fillna(""))
    ours, theirs = prediction["source"].unique(), frames["source"].unique()
    by_stem = {Path(name).stem: name for name in theirs}
    pairs = [(name, by_stem[Path(name).stem]) for name in ours if Path(name).stem in by_stem]
    if len(ours) == len(theirs) == 1:
        pairs = [(ours[0], theirs[0])]
    if not pairs:
        raise ValueError(
            f"no video is in both tables by its name: the prediction has {first_few(ours)}, the tool's has "
            f"{first_few(theirs)}"
        )
    return [
        (_main_face(prediction[prediction["source"] == name]), _main_face(frames[frames["source"] == other]))
        for name, other in pairs
    ]


def _main_face(table: pd.DataFrame) -> pd.DataFrame:
    """Of one video, the face with the most rows."""
    return table[table["face_id"] == table["face_id"].mode().min()]


def _row(windows: pd.DataFrame, au: str, kind: str) -> dict:
    both = windows[[f"p_{au}", f"active_{au}", f"tool_{kind}_{au}"]].dropna()
    p, active, theirs = (both[name].to_numpy(dtype=float) for name in both)
    row = {"au": au, "tool_gives": KINDS[kind], "windows": len(both), "tool_active": None}
    row |= dict.fromkeys(("auc", "kappa", "rank_correlation"), np.nan)
    if kind != "active":
        return row | {"rank_correlation": rank_correlation(p, theirs)}
    auc = float(roc_auc(p, theirs)[0]) if len(p) else np.nan
    kappa = float(kappa_of_counts(confusion(active, theirs).sum(axis=0)))
    return row | {"tool_active": int(theirs.sum()), "auc": auc, "kappa": kappa}


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's; NaN where one side is constant."""
    ranks = pd.DataFrame({"first": first, "second": second}).rank()
    if len(ranks) < 3 or (ranks.nunique() < 2).any():
        return float("nan")
    return float(np.corrcoef(ranks["first"], ranks["second"])[0, 1])


def _notes(frames: pd.DataFrame, ours: list[str], given: list[tuple[str, str]], shared: list) -> list[str]:
    """What is not comparable."""
    tool = frames["tool"].iloc[0] if len(frames) else "the tool"
    both, theirs = {au for au, _ in shared}, {au for _, au in given}
    notes = []
    for who, only in (("the prediction", set(ours) - both), (tool, theirs - both)):
        if only:
            notes.append(f"Only {who} has {', '.join(sorted(only, key=lambda au: int(au[2:])))}: not compared.")
    if (frames["face_id"] > 0).any():
        notes.append(f"{tool} has several faces; of each video the face with the most rows is compared.")
    if {kind for _, kind in shared} - {"active"}:
        notes.append(
            f"{tool}'s numbers are compared by their order alone (rank correlation of the probability with the "
            "largest rise in the window): a probability that an AU moves is no intensity."
        )
    return [
        *notes,
        f"{tool} rates single frames of visible expressions, the model looks for movement within a window: what is "
        "held counts for the tool alone, and a micro-expression of a pixel for the model alone.",
        "This is agreement with another tool, not truth: where they differ, either may be wrong.",
    ]


def _cell(value: object) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


__all__ = ["Agreement", "compare_with_tool", "largest_change", "videos_of_both"]
