"""How well expressions were spotted in long videos, counted as the spotting challenges (MEGC) do.

An interval is right if it overlaps an annotated one of its kind by an intersection over union of at least 0.5, frames
counted with both ends; every annotation makes one interval right at most. Micro-expressions last up to half a second,
longer ones are counted apart, and the overall figure adds both counts. Counts are pooled over all videos before F1 is
computed; the mean of the videos' F1 would let a video without expressions decide.
"""

from collections.abc import Sequence
from itertools import repeat

import numpy as np
import pandas as pd

from ..arguments import check_number, check_whole
from .counting import f1_of_counts

KINDS = ("micro", "longer")
MICRO_SECONDS = 0.5
COLUMNS = ("video", "onset", "offset")


def kinds_of(table: pd.DataFrame, fps: float | Sequence[float]) -> list[str]:
    """`micro` for intervals of up to half a second, `longer` for the others; both ends are frames of the interval."""
    rates = repeat(fps) if isinstance(fps, int | float) else fps
    frames = table["offset"].astype(int) - table["onset"].astype(int) + 1
    return ["micro" if count <= MICRO_SECONDS * rate + 1 else "longer" for count, rate in zip(frames, rates)]  # noqa: B905


def overlaps(spotted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n, m): intersection over union of intervals (n, 2) and (m, 2), in frames, both ends included."""
    first = np.maximum(spotted[:, None, 0], truth[None, :, 0])
    last = np.minimum(spotted[:, None, 1], truth[None, :, 1])
    shared = np.clip(last - first + 1, 0, None)
    lengths = (spotted[:, 1] - spotted[:, 0] + 1)[:, None] + (truth[:, 1] - truth[:, 0] + 1)[None]
    return shared / (lengths - shared)


def match_intervals(spotted: np.ndarray, truth: np.ndarray, iou: float = 0.5) -> list[tuple[int, int]]:
    """The most pairs (row of spotted, row of truth) that overlap by `iou` or more, each row in one pair at most."""
    spotted, truth = np.reshape(spotted, (-1, 2)), np.reshape(truth, (-1, 2))
    near = overlaps(spotted, truth)
    partner: dict[int, int] = {}  # row of truth -> row of spotted

    def place(row: int, tried: set[int]) -> bool:
        for other in np.argsort(-near[row], kind="stable"):
            if near[row, other] >= iou and other not in tried:
                tried.add(other)
                if other not in partner or place(partner[other], tried):
                    partner[other] = row
                    return True
        return False

    for row in range(len(spotted)):
        place(row, set())
    return sorted((row, int(other)) for other, row in partner.items())


def count_spotted(spotted: pd.DataFrame, truth: pd.DataFrame, *, iou: float = 0.5) -> pd.DataFrame:
    """One row per video and kind: `tp`, `fp`, `fn`. Tables as for `score_spotting`."""
    check_number("iou", iou, 0, 1.0001)
    spotted, truth = _checked("spotted", spotted), _checked("truth", truth)
    rows = []
    videos = list(dict.fromkeys([*truth["video"], *spotted["video"]]))
    for kind in KINDS:
        ours, theirs = (dict(list(table[table["kind"] == kind].groupby("video"))) for table in (spotted, truth))
        for video in videos:
            pairs = 0
            has = [table.get(video, spotted.iloc[:0]) for table in (ours, theirs)]
            for face in set(has[0]["face_id"]) & set(has[1]["face_id"]):
                a, b = (part.loc[part["face_id"] == face, ["onset", "offset"]].to_numpy(np.int64) for part in has)
                pairs += len(match_intervals(a, b, iou))
            rows.append(
                {"video": video, "kind": kind, "tp": pairs, "fp": len(has[0]) - pairs, "fn": len(has[1]) - pairs}
            )
    return pd.DataFrame(rows, columns=["video", "kind", "tp", "fp", "fn"])


def score_spotting(
    spotted: pd.DataFrame, truth: pd.DataFrame, *, iou: float = 0.5, resamples: int = 0, seed: int = 0
) -> pd.DataFrame:
    """F1 of spotted intervals: a table with the rows micro, longer and overall.

    Args:
        spotted: `video`, `onset`, `offset` (frame numbers, both included) and `kind` (micro or longer; `kinds_of`
            gives it), and `face_id` where videos show several faces. Rows with a `reason` are no intervals.
        truth: the same of what was annotated. Videos without expressions have no row in it, but what is spotted in
            them counts.
        iou: the intersection over union from which an interval is right.
        resamples: of the videos, for 95 % intervals of F1 (`low`, `high`); 0: none.
        seed: of the resampling.

    Example:
        >>> import pandas as pd
        >>> from aullm_hf.evaluation import score_spotting
        >>> truth = pd.DataFrame({"video": ["a", "a"], "onset": [10, 50], "offset": [19, 59], "kind": "micro"})
        >>> spotted = pd.DataFrame({"video": ["a", "a"], "onset": [11, 70], "offset": [21, 79], "kind": "micro"})
        >>> score_spotting(spotted, truth)
                 tp  fp  fn  precision  recall   f1
        micro     1   1   1        0.5     0.5  0.5
        longer    0   0   0        NaN     NaN  NaN
        overall   1   1   1        0.5     0.5  0.5
    """
    check_whole("resamples", resamples, 0)
    counts = count_spotted(spotted, truth, iou=iou)
    parts = {kind: counts[counts["kind"] == kind] for kind in KINDS}
    each = {kind: part[["tp", "fp", "fn"]].to_numpy(np.int64) for kind, part in parts.items()}  # (videos, 3)
    each["overall"] = each["micro"] + each["longer"]
    table = pd.DataFrame({name: values.sum(axis=0) for name, values in each.items()}, index=["tp", "fp", "fn"]).T
    positive, chosen = table["tp"] + table["fn"], table["tp"] + table["fp"]
    table["precision"] = table["tp"] / chosen.where(chosen > 0)
    table["recall"] = table["tp"] / positive.where(positive > 0)
    table["f1"] = _f1(table[["tp", "fp", "fn"]].to_numpy())
    if resamples:
        rng = np.random.default_rng(seed)
        videos = len(each["micro"])
        weights = rng.multinomial(videos, np.full(videos, 1 / videos), size=resamples)  # (resamples, videos)
        for name, values in each.items():
            low, high = (
                np.nanpercentile(_f1(weights @ values), [2.5, 97.5]) if values[:, [0, 2]].any() else (np.nan,) * 2
            )
            table.loc[name, ["low", "high"]] = low, high
    return table


def _f1(counts: np.ndarray) -> np.ndarray:
    return f1_of_counts(np.concatenate([counts, np.zeros_like(counts[..., :1])], axis=-1))


def _checked(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if missing := {*COLUMNS, "kind"} - set(table.columns):
        raise ValueError(
            f"{name} has no column {', '.join(sorted(missing))}; intervals have video, onset, offset and kind"
        )
    if "reason" in table:
        table = table[table["reason"].fillna("").eq("")]
    if unknown := set(table["kind"]) - set(KINDS):
        raise ValueError(f"{name} has the kind {sorted(map(str, unknown))[0]!r}; allowed are {', '.join(KINDS)}")
    table = table.assign(face_id=table["face_id"] if "face_id" in table else 0)
    ends = table[["onset", "offset"]]
    if ends.isna().any(axis=None):
        raise ValueError(f"{name} has an interval without onset or offset (row {ends.isna().any(axis=1).idxmax()})")
    if (wrong := table["offset"] < table["onset"]).any():
        row = table[wrong].iloc[0]
        raise ValueError(f"{name} has an interval that ends before it begins: {row['onset']} to {row['offset']}")
    return table


__all__ = ["KINDS", "MICRO_SECONDS", "count_spotted", "kinds_of", "match_intervals", "overlaps", "score_spotting"]
