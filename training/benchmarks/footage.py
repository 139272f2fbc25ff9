r"""How far a model agrees with an independent tool on real footage. It is agreement with another tool, not truth.

    python training/benchmark.py footage VIDEOS --table blendshapes.csv --model CHECKPOINT --face_model yunet.onnx

`benchmarks/blendshapes.py` makes the table, in an environment of its own. A video is read in windows of 0.5 s, half of
that apart. An AU counts as moving where its blendshape rises by more than 0.15 within the window, and as still where
it stays: where the blendshape changes by at most 0.05; windows in between are left out, and so are those in which the
tool lost the face. AUC is the chance that a moving window gets the higher probability of the AU. "all" takes the pairs
of all AUs together; "mean" is over the AUs with at least --least moving windows. Intervals hold the middle 95 % over
resamples of the videos; with few videos they say little. A false alarm is an active AU where no blendshape of any AU
changes by more than 0.05.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from aullm_hf.data.reading.other_tools import BLENDSHAPES
from aullm_hf.evaluation.agreement import SAME, largest_change
from aullm_hf.evaluation.counting import interval, mean_of_defined, resample_subjects, roc_auc
from aullm_hf.inference import AUDetector

RISE, STILL = 0.15, 0.05  # of a blendshape, which lies between 0 and 1
WINDOW = 0.5  # seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("videos", type=Path, help="folder of videos")
    parser.add_argument("--table", type=Path, required=True, help="what blendshapes.py made of the same folder")
    parser.add_argument("--model", required=True, help="a folder with a checkpoint, or a repository on the Hub")
    parser.add_argument("--face_model", type=Path, help="YuNet's file, where it is not the Hub's")
    parser.add_argument("--least", type=int, default=20, help="moving windows that an AU needs to count in the mean")
    parser.add_argument("--resamples", type=int, default=2000, help="of the videos, for the intervals")
    parser.add_argument("--windows_out", type=Path, help="a CSV of every window, to look at")
    parser.set_defaults(threads=1)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    shapes = pd.read_csv(args.table)
    videos = [str(args.videos / name) for name in shapes["video"].unique()]
    detector = AUDetector(args.model, face="align", face_model=args.face_model, window=WINDOW)
    windows = join_windows(pd.concat(detector.detect(videos), ignore_index=True), shapes)
    if args.windows_out:
        windows.to_csv(args.windows_out, index=False)
    return {
        "agreement with another tool on real footage, not truth": auc_rows(windows, args.least, args.resamples),
        "windows where nothing moves": [false_alarms(windows)],
    }


def join_windows(rows: pd.DataFrame, shapes: pd.DataFrame) -> pd.DataFrame:
    """The detector's rows that both sides could read, with `rise_AU..` and `range_AU..` of the tool's blendshapes."""
    frames = dict(tuple(shapes.groupby("video")))
    aus = [au for au in BLENDSHAPES if f"p_AU{au}" in rows]
    joined = []
    for row in rows.to_dict("records"):
        video = Path(row["source"]).name
        if row["reason"]:
            continue
        inside = frames[video][frames[video]["time"].between(row["start"] - SAME, row["end"] + SAME)]
        if len(inside) < 2 or inside["jawOpen"].isna().any():  # the tool saw no face
            continue
        changes = {au: largest_change(inside[list(names)].to_numpy()) for au, names in BLENDSHAPES.items()}
        still = max(change for _, change in changes.values()) <= STILL
        of_aus = {}
        for au in aus:
            of_aus |= {f"p_AU{au}": row[f"p_AU{au}"], f"active_AU{au}": bool(row[f"active_AU{au}"])}
            of_aus |= {f"rise_AU{au}": changes[au][0], f"range_AU{au}": changes[au][1]}
        joined.append({"video": video, "start": row["start"], "end": row["end"], "still": still, **of_aus})
    return pd.DataFrame(joined)


def auc_rows(windows: pd.DataFrame, least: int, resamples: int) -> list[dict]:
    """A row per AU, one of all AUs' pairs together and, where AUs have enough moving windows, their mean."""
    videos = sorted(windows["video"].unique())
    draws = np.concatenate([np.ones((1, len(videos))), resample_subjects(len(videos), resamples, seed=0)])
    rows, values, pairs = [], [], []
    for au in [au for au in BLENDSHAPES if f"p_AU{au}" in windows]:
        moving, still = windows[f"rise_AU{au}"] > RISE, windows[f"range_AU{au}"] <= STILL
        used = windows[moving | still]
        weights = draws[:, [videos.index(name) for name in used["video"]]]
        positive = moving[used.index].to_numpy()
        auc = roc_auc(used[f"p_AU{au}"].to_numpy(), positive, weights)  # (1 + resamples,)
        values.append(auc)
        pairs.append((weights * positive).sum(axis=1) * (weights * ~positive).sum(axis=1))
        count = int(positive.sum())
        rows.append(_row(f"AU{au}", auc, count, len(used) - count, used.loc[moving[used.index], "video"].nunique()))
    values, pairs = np.array(values), np.array(pairs)  # (n_AU, 1 + resamples)
    together = np.where(pairs > 0, values * pairs, 0).sum(axis=0) / np.maximum(pairs.sum(axis=0), 1e-9)
    totals = [sum(row[name] for row in rows) for name in ("moving", "still")]
    enough = [index for index, row in enumerate(rows) if row["moving"] >= least]
    rows.append(_row("all", together, *totals, len(videos)))
    if enough:
        mean = mean_of_defined(values[enough].T)
        rows.append(_row(f"mean of {len(enough)}", mean, *("" for _ in totals), len(videos)))
    return rows


def _row(name: str, auc: np.ndarray, moving: int | str, still: int | str, videos: int) -> dict:
    low, high = interval(auc[1:])
    figures = {"AUC": auc[0], "low": low, "high": high}
    figures = {key: float(value) if np.isfinite(value) else "" for key, value in figures.items()}
    return {"AU": name, **figures, "moving": moving, "still": still, "videos": videos}


def false_alarms(windows: pd.DataFrame) -> dict:
    """How many windows in which no blendshape moves have an active AU, and how many AUs are active in any window."""
    active = windows[[name for name in windows if name.startswith("active_")]]
    still = windows["still"].to_numpy(dtype=bool)
    share = float(active[still].any(axis=1).mean()) if still.any() else ""
    return {
        "windows": len(windows),
        "of them still": int(still.sum()),
        "still ones with an active AU": share,
        "active AUs per window": float(active.sum(axis=1).mean()),
    }
