r"""How far spotted expressions agree with an independent tool on real footage. It is agreement with another tool, not
truth.

    python training/benchmark.py changes VIDEOS --table blendshapes.csv --face_model yunet.onnx

`benchmarks/blendshapes.py` makes the table, in an environment of its own. A change is a span in which some blendshape
of an AU, blinks apart, moves by at least a threshold within half a second. "found": the share of the tool's changes
that a spotted interval touches; "confirmed": the share of spotted intervals that a change touches. What either side
could not look at is left out on both. "by chance" is the same with the spotted intervals moved along the video by
quarters of its length, what runs over its end coming in at its beginning.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from aullm_hf.data.reading.other_tools import BLENDSHAPES
from aullm_hf.inference import ExpressionSpotter

BLINK = 45
CHANGES, SCORES = (0.1, 0.2, 0.3), (0.5, 0.65, 0.8)  # thresholds: of blendshapes, and of our score
WITHIN = 0.5  # seconds
TURNS = (0.25, 0.5, 0.75)  # of a video's length
Spans = np.ndarray  # (n, 2) seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", type=Path, help="folder of videos")
    parser.add_argument("--table", type=Path, required=True, help="what blendshapes.py made of the same folder")
    parser.add_argument("--face_model", type=Path, help="YuNet's file, where it is not the Hub's")
    parser.set_defaults(threads=1)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    shapes = pd.read_csv(args.table)
    spotter = ExpressionSpotter(face="align", face_model=args.face_model, threshold=min(SCORES))
    videos = [str(args.videos / name) for name in shapes["video"].unique()]
    spotted = pd.concat(spotter.spot(videos), ignore_index=True)
    return {"agreement with another tool on real footage, not truth": agreement(spotted, shapes)}


def agreement(spotted: pd.DataFrame, shapes: pd.DataFrame) -> list[dict]:
    """A row per pair of thresholds, counts pooled over the videos.

    Args:
        spotted: what `spot_expressions` gives.
        shapes: what `blendshapes.py` writes.
    """
    videos = [
        (frames, spotted[spotted["source"].map(lambda source, name=name: Path(source).name == name)])
        for name, frames in shapes.groupby("video")
    ]
    return [_row(videos, change, score) for change in CHANGES for score in SCORES]


def _row(videos: list[tuple[pd.DataFrame, pd.DataFrame]], change: float, score: float) -> dict:
    found, confirmed = [], []  # of every turn: (touched, all)
    for turn in (0.0, *TURNS):
        pairs = np.zeros((2, 2), int)
        for frames, rows in videos:
            theirs, ours = both_sides(frames, rows, change, score, turn)
            pairs += [[touched(theirs, ours).sum(), len(theirs)], [touched(ours, theirs).sum(), len(ours)]]
        found.append(pairs[0])
        confirmed.append(pairs[1])
    return {
        "change of at least": change,
        "score of at least": score,
        "changes": int(found[0][1]),
        "found": _share(found[:1]),
        "found by chance": _share(found[1:]),
        "spotted": int(confirmed[0][1]),
        "confirmed": _share(confirmed[:1]),
        "confirmed by chance": _share(confirmed[1:]),
    }


def both_sides(
    frames: pd.DataFrame, rows: pd.DataFrame, change: float, score: float, turn: float = 0.0
) -> tuple[Spans, Spans]:
    """The tool's changes and ours of one video, without those that touch what the other side could not look at."""
    times = frames["time"].to_numpy(float)
    expressions = rows[rows["reason"].eq("") & (rows["score"] >= score)]
    ours, hidden = (part[["start", "end"]].to_numpy(float) for part in (expressions, rows[rows["reason"].ne("")]))
    lost = runs(times, frames["jawOpen"].isna().to_numpy())
    theirs = changes_of(frames, change)
    ours = ours[~touched(ours, lost)]
    theirs = theirs[~touched(theirs, hidden[~np.isnan(hidden).any(axis=1)])]
    if turn:
        length = times[-1] - times[0]
        ours = ours + turn * length
        ours = ours - length * (ours[:, :1] > times[-1])
    return theirs, ours


def changes_of(frames: pd.DataFrame, threshold: float) -> Spans:
    """The spans (first and last second) in which a blendshape moves by the threshold within WITHIN seconds.

    Of two frames that differ by so much only those count between which no nearer two do; spans less than WITHIN apart
    are one.
    """
    names = sorted({name for au, shown in BLENDSHAPES.items() if au != BLINK for name in shown})
    times, values = frames["time"].to_numpy(float), frames[names].to_numpy(float)
    moving = np.zeros(len(times), bool)
    before = np.full(len(names), -1)  # of each blendshape: the frame that the last one differed from
    for last in range(1, len(times)):
        first = int(np.searchsorted(times, times[last] - WITHIN))
        differs = np.abs(values[first:last] - values[last]) >= threshold  # never where the tool saw no face
        nearest = np.where(differs.any(axis=0), last - 1 - differs[::-1].argmax(axis=0), -1)
        for start in nearest[nearest > before]:
            moving[start : last + 1] = True
        before = np.maximum(before, nearest)
    spans = runs(times, moving)
    if len(spans) < 2:
        return spans
    apart = spans[1:, 0] - spans[:-1, 1] >= WITHIN
    return np.column_stack([spans[np.r_[True, apart], 0], spans[np.r_[apart, True], 1]])


def runs(times: np.ndarray, held: np.ndarray) -> Spans:
    """(n, 2): the first and the last time of every run of frames in which something held."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]]).astype(int)))
    return np.array([(times[first], times[end - 1]) for first, end in edges.reshape(-1, 2)]).reshape(-1, 2)


def touched(spans: Spans, others: Spans) -> np.ndarray:
    """(n,): whether each span has a moment in common with one of the others."""
    if not len(others):
        return np.zeros(len(spans), bool)
    return ((spans[:, None, 0] <= others[None, :, 1]) & (spans[:, None, 1] >= others[None, :, 0])).any(axis=1)


def _share(pairs: list[np.ndarray]) -> str:
    touching, count = np.sum(pairs, axis=0)
    return f"{touching / count:.2f}" if count else ""
