r"""How well a model reads motions that are known, in the skin of real faces: photographs that are animated.

    python training/benchmark.py photographs PHOTOGRAPHS --model CHECKPOINT --face_model yunet.onnx

The largest face of each photograph is found, aligned and given the motions of as many wild clips (`difficulty: wild`;
the head itself keeps still) in its own texture. The muscles are those of the drawn faces, so this tells what real skin
costs, and not whether a model knows how real faces move. AUC is the mean over the AUs, a false alarm is a clip
without any AU that has an active one. Groups are of what can be measured in a picture: how bright the face is, and how
many pixels lie between its eyes. Intervals hold the middle 95 % over resamples of the photographs.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from aullm_hf.data.errors import ClipError
from aullm_hf.data.faces import FaceFinder
from aullm_hf.data.reading.folders import IMAGE_SUFFIXES
from aullm_hf.data.reading.images import read_gray
from aullm_hf.data.synthetic.animated_clips import NOISE
from aullm_hf.data.synthetic.animation import animate_levels
from aullm_hf.data.synthetic.wild_plans import wild_plans
from aullm_hf.evaluation.counting import mean_of_defined
from aullm_hf.inference import AUDetector
from benchmarks.groups import auc_of_aus, group_figures, weights_of, with_interval

GROUPS = {
    "brightness": (("dim", 0, 90), ("medium", 90, 160), ("bright", 160, 256)),  # grey levels of the crop, in the mean
    "size": (("small", 0, 50), ("medium", 50, 150), ("large", 150, np.inf)),  # pixels between the eyes
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photographs", type=Path, help="folder of photographs of faces")
    parser.add_argument(
        "--model", help="a folder with a checkpoint, or a repository on the Hub; default: the packaged"
    )
    parser.add_argument("--face_model", type=Path, help="YuNet's file, where it is not the Hub's")
    parser.add_argument("--clips", type=int, default=40, help="of each photograph")
    parser.add_argument("--resamples", type=int, default=500, help="of the photographs, for the intervals")
    parser.set_defaults(threads=1)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    detector = AUDetector(args.model, face="none")
    clips = read_animated(args.photographs, detector, args.clips, FaceFinder(args.face_model))
    labels = detector.labels
    return {
        "animated photographs: real skin, drawn motion": au_rows(clips, labels, args.resamples),
        "by what can be measured in the picture": group_rows(clips, labels, args.resamples),
    }


def read_animated(folder: Path, detector: AUDetector, clips: int, finder: FaceFinder) -> pd.DataFrame:
    """One row per clip: its photograph, how it looks, and y_, p_ and active_ of every AU."""
    pictures = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    plans = wild_plans(subjects=max(len(pictures), 1), clips_per_subject=clips)
    tables = []
    for index, path in enumerate(pictures):
        try:
            gray = read_gray(path, path.name)
        except ClipError as error:
            print(f"{error}, so it is left out")
            continue
        if (face := finder.find(gray)) is None:
            print(f"{path.name}: no face is found, so it is left out")
            continue
        own = plans[index * clips : (index + 1) * clips]
        noise = np.random.default_rng(index)
        frames = [
            with_noise(animate_levels(gray, plan.levels, plan.frames, points=face.points), noise) for plan in own
        ]
        rows = pd.concat(detector.detect(frames), ignore_index=True)
        about = {"photograph": path.name, "brightness": frames[0][0].mean(), "size": _between_eyes(face.points)}
        truth = {f"y_{label}": [int(label[2:]) in plan.aus for plan in own] for label in detector.labels}
        said = {f"{kind}_{label}": rows[f"{kind}_{label}"] for kind in ("p", "active") for label in detector.labels}
        tables.append(pd.DataFrame(about | truth | said))
    if not tables:
        raise SystemExit(f"{folder} holds no photograph with a face ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return pd.concat(tables, ignore_index=True)


def with_noise(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(frames + NOISE * rng.standard_normal(frames.shape) + 0.5, 0, 255).astype(np.uint8)


def _between_eyes(points: np.ndarray) -> float:
    return float(np.hypot(*(points[0] - points[1])))


def au_rows(clips: pd.DataFrame, labels: list[str], resamples: int) -> list[dict]:
    """AUC of every AU, and in the mean."""
    p, y, _ = _columns(clips, labels)
    aucs, counts = auc_of_aus(p, y, weights_of(clips["photograph"], resamples)), y.sum(axis=0).tolist()
    rows = zip([*labels, "mean"], [*aucs.T, mean_of_defined(aucs)], [*counts, sum(counts)], strict=True)
    return [{"AU": name, "AUC": with_interval(auc), "clips with it": count} for name, auc, count in rows]


def group_rows(clips: pd.DataFrame, labels: list[str], resamples: int) -> list[dict]:
    """All photographs, and those of each group."""
    parts = [("all", "", clips)]
    for column, groups in GROUPS.items():
        chosen = [(name, clips[column].between(low, high, inclusive="left")) for name, low, high in groups]
        parts += [(column, name, clips[rows]) for name, rows in chosen if rows.any()]
    return [
        {"": column, " ": name, "photographs": part["photograph"].nunique(), "clips": len(part)}
        | group_figures(part["photograph"], *_columns(part, labels), resamples)
        for column, name, part in parts
    ]


def _columns(clips: pd.DataFrame, labels: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, what is there, and what is said to be, each (clips, n_AU)."""
    p, y, active = (clips[[f"{kind}_{label}" for label in labels]].to_numpy() for kind in ("p", "y", "active"))
    return p, y.astype(bool), active.astype(bool)
