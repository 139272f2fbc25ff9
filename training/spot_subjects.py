r"""Leave-one-subject-out spotting on annotated long videos: CAS(ME)^2, CAS(ME)^3 or SAMM Long Videos.

    python training/spot_subjects.py samm_long_videos --table SAMM_LongVideos_V3_Release.xlsx --root SAMM_FOLDER \
        --out runs/samm-long

For each subject, the network that comes with the package is fitted further on the recordings of the others; every
fifth of those is left out of the fit and chooses the threshold of the score (the best F1 over micro-expressions and
longer ones together). What is spotted in the subject's own recordings is in OUT/folds; the counts of all folds are
pooled, as the spotting challenges do. With --no_fit the package's network is used as it is.

Recordings are followed once, into OUT/signals; a run that was stopped goes on when it is given again. Both folders
hold what was measured on licensed faces: keep them as carefully as the videos.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from spotters.annotated import LAYOUTS, Followed, examples_of, find_recordings, followed_once
from spotters.fitting import fit

from aullm_hf.data import load_intervals
from aullm_hf.data.faces import FaceFinder
from aullm_hf.evaluation.spotting import score_spotting
from aullm_hf.inference.spotting.intervals import spot_in_signal
from aullm_hf.inference.spotting.network import Spotter, load_spotter
from aullm_hf.inference.spotting.parts import PartReader
from aullm_hf.inference.spotting.spotter import MICRO, THRESHOLD
from aullm_hf.whole_files import replacing

THRESHOLDS = np.round(np.arange(0.2, 0.96, 0.05), 2)
COLUMNS = ["subject", "video", "onset", "apex", "offset", "kind", "score", "threshold"]
RATE = 1e-3  # of learning: the network begins fitted
EVERY = 5  # of the other subjects, one in so many chooses the threshold


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    torch.set_num_threads(1)
    truth = load_intervals(args.dataset, args.table)
    recordings = find_recordings(args.dataset, args.root, truth)
    for name in ("signals", "folds"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    check_settings(args)
    reader = PartReader(None if args.no_face else FaceFinder(args.face_model))
    followed = [followed_once(recording, reader, args.out / "signals") for recording in recordings]
    subjects = sorted({one.recording.subject for one in followed})
    if len(subjects) < 3:
        raise SystemExit(
            f"{args.root} has recordings of {len(subjects)} subjects; leaving one out takes three or more."
        )
    for subject in subjects:
        path = args.out / "folds" / f"{subject}.csv"
        if not path.is_file():
            table = spot_subject(subject, followed, truth, args)
            with replacing(path) as part:
                table.to_csv(part, index=False)
            print(f"{subject} done", flush=True)
    folds = [pd.read_csv(args.out / "folds" / f"{subject}.csv", dtype={"subject": str}) for subject in subjects]
    scores = score_spotting(pd.concat(folds, ignore_index=True), truth, resamples=args.resamples)
    print(scores.round(3).to_string())
    (args.out / "results.json").write_text(json.dumps(json.loads(scores.to_json(orient="index")), indent=2) + "\n")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=sorted(LAYOUTS))
    parser.add_argument("--table", type=Path, required=True, help="the data set's own spreadsheet")
    parser.add_argument("--root", type=Path, required=True, help="folder with its recordings")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300, help="of each fit")
    parser.add_argument("--rows", type=int, default=12, help="of a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no_fit", action="store_true", help="the package's network and threshold, as they are")
    parser.add_argument("--no_face", action="store_true", help="the recordings are cropped to the face")
    parser.add_argument("--face_model", type=Path, help="YuNet's file, where it is not the Hub's")
    parser.add_argument("--resamples", type=int, default=2000, help="of the videos, for the intervals of F1")
    return parser.parse_args(argv)


def check_settings(args: argparse.Namespace) -> None:
    """Refuse to go on with folds that were made otherwise."""
    names = ("dataset", "steps", "rows", "seed", "no_fit", "no_face")
    settings, path = {name: getattr(args, name) for name in names}, args.out / "settings.json"
    if path.is_file() and (before := json.loads(path.read_text())) != settings:
        differing = ", ".join(f"{name} {before.get(name)}" for name in names if before.get(name) != settings[name])
        raise SystemExit(f"{args.out} holds folds made with {differing}; give another --out, or the same settings.")
    path.write_text(json.dumps(settings) + "\n")


def spot_subject(
    subject: str, followed: list[Followed], truth: pd.DataFrame, args: argparse.Namespace
) -> pd.DataFrame:
    """What is spotted in one subject's recordings by a network that has never seen them."""
    own = [one for one in followed if one.recording.subject == subject]
    if args.no_fit:
        return spotted(load_spotter(), own, THRESHOLD)
    others = sorted({one.recording.subject for one in followed} - {subject})
    choosing = set(others[::EVERY])
    examples = [
        example
        for one in followed
        if one.recording.subject not in {subject, *choosing}
        for example in examples_of(one, truth)
    ]
    if not examples:
        raise SystemExit(f"No face could be followed in the recordings to fit on, without subject {subject}.")
    network = fit(examples, steps=args.steps, rows=args.rows, seed=args.seed, rate=RATE, start=load_spotter())
    kept = [one for one in followed if one.recording.subject in choosing]
    return spotted(network, own, best_threshold(network, kept, truth))


def best_threshold(network: Spotter, followed: list[Followed], truth: pd.DataFrame) -> float:
    """The threshold with the best overall F1 on these recordings; of equal ones the highest."""
    videos = {one.recording.video for one in followed}
    truth, everything = truth[truth["video"].isin(videos)], spotted(network, followed, float(THRESHOLDS[0]))
    f1 = [
        float(score_spotting(everything[everything["score"] >= threshold], truth)["f1"]["overall"])
        for threshold in THRESHOLDS
    ]
    return float(THRESHOLDS[::-1][int(np.argmax(np.nan_to_num(f1[::-1], nan=-1.0)))])


def spotted(network: Spotter, followed: list[Followed], threshold: float) -> pd.DataFrame:
    """The expressions of recordings, in frame numbers."""
    rows = []
    for one in followed:
        for first, motion in one.stretches:
            for interval in spot_in_signal(network, motion, first, threshold):
                onset, apex, offset = (
                    int(one.numbers[np.abs(one.times - time).argmin()])
                    for time in (interval.onset, interval.apex, interval.offset)
                )
                kind = "micro" if interval.offset - interval.onset <= MICRO else "longer"
                about = one.recording.subject, one.recording.video, onset, apex, offset, kind
                rows.append((*about, interval.score, threshold))
    return pd.DataFrame(rows, columns=COLUMNS)


if __name__ == "__main__":
    main()
