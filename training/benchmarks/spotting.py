r"""How well expressions are spotted in drawn recordings, beside simple methods. Needs OpenCV and scipy.

    python training/benchmark.py spotting --recordings 2 --tuning 1 --seconds 30         # to try it
    python training/benchmark.py spotting --out runs/benchmarks                          # the table of docs/results

Recordings have seeds of their own: none was used to fit the network or to choose its threshold. The simple methods get
the same face, cut out alike: `frame difference` is how far a frame is from those half a window before and after it,
`flow magnitude` the same of the regions' motion without the head's. A peak above the threshold is an expression, from
half its height to half its height; window and threshold are those with the best F1 on the tuning recordings of the
same difficulty. A false alarm is an interval in a recording without any expression.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from aullm_hf.data.synthetic.recordings import SyntheticRecording, synthetic_recording
from aullm_hf.evaluation.spotting import match_intervals, score_spotting
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.inference.spotting.parts import Part, PartReader, joined
from aullm_hf.inference.spotting.region_motion import N_REGIONS
from aullm_hf.inference.spotting.signals import RATE
from aullm_hf.inference.spotting.spotter import ExpressionSpotter

DIFFICULTIES = ("standard", "hard")
RATES = (25.0, 50.0, 30.0, 25.0, 100.0, 30.0)  # of one recording after another
TUNING, TEST, CONTROLS = 20_000, 31_000, 41_000  # first seeds
WINDOWS = (0.4, 1.0, 3.0)  # seconds
COLUMNS = ["video", "onset", "offset", "kind"]
SMALL = 4  # a frame's side is divided by it for frame differences


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--difficulties", nargs="+", choices=DIFFICULTIES, default=DIFFICULTIES)
    parser.add_argument("--recordings", type=int, default=8, help="per difficulty, to test on")
    parser.add_argument("--tuning", type=int, default=3, help="per difficulty, to choose the simple methods' settings")
    parser.add_argument(
        "--controls", type=int, default=4, help="per difficulty, without expressions; a fourth as many others"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="of each recording")
    parser.set_defaults(threads=1)


@dataclass
class Seen:
    """One recording as it was spotted, and the two curves of the simple methods at 50 steps a second."""

    recording: SyntheticRecording
    spotted: pd.DataFrame
    difference: dict[float, np.ndarray] = field(default_factory=dict)  # window -> (steps,)
    flow: dict[float, np.ndarray] = field(default_factory=dict)
    took: float = 0.0  # seconds, without drawing


class KeptParts(PartReader):
    """Keeps what it reads, for the simple methods."""

    def read(self, *arguments) -> Iterator[Part]:
        for part in super().read(*arguments):
            self.__dict__.setdefault("parts", []).append(part)
            yield part


class KeptFrames:
    """A recording's frames, small ones kept."""

    def __init__(self, recording: SyntheticRecording):
        self.recording, self.small, self.drawing = recording, {}, 0.0

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, index: int) -> np.ndarray:
        begun = time.perf_counter()
        frame = self.recording[index]
        side = len(frame) // SMALL
        self.small[index] = frame.reshape(side, SMALL, side, SMALL).mean(axis=(1, 3), dtype=np.float32)
        self.drawing += time.perf_counter() - begun
        return frame


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    rows, controls = [], []
    for difficulty in args.difficulties:
        tuning = [look(difficulty, TUNING + at, RATES[at % len(RATES)], args) for at in range(args.tuning)]
        test = [look(difficulty, TEST + at, RATES[at % len(RATES)], args) for at in range(args.recordings)]
        rows.append(row_of(difficulty, "spot_expressions", [one.spotted for one in test], test))
        for method in ("flow", "difference"):
            window, threshold = best_setting(tuning, method)
            tables = [simple(one, method, window, threshold) for one in test]
            name = {"flow": "flow magnitude", "difference": "frame difference"}[method]
            rows.append(row_of(difficulty, f"{name} (window {window} s)", tables, test))
        for control in ("neutral", "still", "backwards"):
            count = args.controls if control == "neutral" else max(args.controls // 4, 1)
            seen = [look(difficulty, CONTROLS + at, RATES[at % len(RATES)], args, control) for at in range(count)]
            controls.append(control_row(difficulty, control, seen, args.seconds))
    return {"spotting": rows, "controls": controls}


def look(difficulty: str, seed: int, fps: float, args: argparse.Namespace, control: str | None = None) -> Seen:
    domain = ("casme2", "samm")[seed % 2]
    recording = synthetic_recording(
        difficulty=difficulty, domain=domain, seconds=args.seconds, fps=fps, seed=seed, control=control
    )
    spotter = ExpressionSpotter(face="none")
    spotter.reader = KeptParts()
    frames, begun = KeptFrames(recording), time.perf_counter()
    (table,) = spotter.spot(ClipSource(f"{difficulty} {seed}", frames=frames, fps=fps))
    took = time.perf_counter() - begun - frames.drawing
    seen = Seen(recording, table[table["reason"] == ""].rename(columns={"source": "video"}), took=took)
    if control is None:
        steps = int(args.seconds * RATE)
        small = np.stack([frames.small[index] for index in range(len(frames))])
        motion = np.full((steps, 2 * N_REGIONS), np.nan)
        for stretch in joined(spotter.reader.parts, 0):
            if stretch.seconds > 0.2:
                first, even = stretch.even()
                motion[first : first + len(even)] = even[:steps, : 2 * N_REGIONS]
        for window in WINDOWS:
            times = np.arange(steps) / RATE
            before, now, after = (
                np.clip(np.round((times + shift) * fps).astype(int), 0, len(small) - 1)
                for shift in (-window / 2, 0, window / 2)
            )
            change = small[now] - (small[before] + small[after]) / 2
            seen.difference[window] = np.abs(change - np.median(change, axis=(1, 2), keepdims=True)).mean(axis=(1, 2))
            half = int(window / 2 * RATE)
            away = np.abs(motion - (np.roll(motion, half, 0) + np.roll(motion, -half, 0)) / 2).mean(axis=1)
            seen.flow[window] = np.nan_to_num(away)
    return seen


def simple(seen: Seen, method: str, window: float, threshold: float) -> pd.DataFrame:
    """Peaks of a curve as intervals, from half height to half height."""
    from scipy.signal import find_peaks, peak_widths

    curve = getattr(seen, method)[window]
    curve = np.convolve(curve, np.ones(3) / 3, mode="same")
    peaks, _ = find_peaks(curve, height=threshold, prominence=threshold / 2, distance=10)
    _, _, first, last = peak_widths(curve, peaks, rel_height=0.5)
    video = seen.spotted["video"].iloc[0] if len(seen.spotted) else ""
    fps = seen.recording.fps
    rows = [
        (video, round(low / RATE * fps) + 1, round(high / RATE * fps) + 1, kind_of((high - low) / RATE))
        for low, high in zip(first, last, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def kind_of(seconds: float) -> str:
    return "micro" if seconds <= 0.5 else "longer"


def best_setting(tuning: list[Seen], method: str) -> tuple[float, float]:
    """(window, threshold) with the best F1 of micro-expressions on the tuning recordings."""
    best = (-1.0, WINDOWS[0], 1.0)
    for window in WINDOWS:
        values = np.concatenate([getattr(one, method)[window] for one in tuning])
        for threshold in np.quantile(values, [0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99]):
            tables = [simple(one, method, window, threshold) for one in tuning]
            figure = float(np.nan_to_num(scores(tables, tuning)["f1"]["micro"]))
            best = max(best, (figure, window, float(threshold)))
    return best[1:]


def scores(tables: list[pd.DataFrame], seen: list[Seen], resamples: int = 0) -> pd.DataFrame:
    """Every recording is one person's: intervals over recordings are intervals over people."""
    named = [table[COLUMNS].assign(video=at) for at, table in enumerate(tables)]
    truth = [one.recording.table()[COLUMNS[1:]].assign(video=at) for at, one in enumerate(seen)]
    return score_spotting(pd.concat(named), pd.concat(truth), resamples=resamples)


def row_of(difficulty: str, name: str, tables: list[pd.DataFrame], seen: list[Seen]) -> dict:
    table = scores(tables, seen, resamples=2000)
    away: list[tuple[float, float]] = []
    for spotted, one in zip(tables, seen, strict=True):
        truth = one.recording.table()
        truth = truth[truth["kind"] == "micro"]
        ours = spotted.loc[spotted["kind"] == "micro", ["onset", "offset"]].to_numpy(float)
        theirs = truth[["onset", "offset"]].to_numpy(float)
        for at, other in match_intervals(ours, theirs):
            away.append(tuple(np.abs(ours[at] - theirs[other]) / one.recording.fps * 1000))
    onset, offset = np.median(away, axis=0) if away else (np.nan, np.nan)
    micro = table.loc["micro"]
    return {
        "difficulty": difficulty,
        "method": name,
        "F1 micro": f"{micro['f1']:.2f} [{micro['low']:.2f}, {micro['high']:.2f}]",
        "precision": f"{micro['precision']:.2f}",
        "recall": f"{micro['recall']:.2f}",
        "F1 longer": f"{table.loc['longer', 'f1']:.2f}",
        "F1 overall": f"{table.loc['overall', 'f1']:.2f}",
        "onset off by (ms)": f"{onset:.0f}",
        "offset off by (ms)": f"{offset:.0f}",
        "micro-expressions": int(micro["tp"] + micro["fn"]),
    }


def control_row(difficulty: str, control: str, seen: list[Seen], seconds: float) -> dict:
    minutes = len(seen) * seconds / 60
    row = {"difficulty": difficulty, "control": control, "minutes": minutes, "false alarms per minute": "-"}
    row["F1 micro"] = "-"
    if control == "backwards":
        row["F1 micro"] = f"{scores([one.spotted for one in seen], seen)['f1']['micro']:.2f}"
    else:
        row["false alarms per minute"] = f"{sum(len(one.spotted) for one in seen) / minutes:.2f}"
    frames = sum(len(one.recording) for one in seen)
    row["ms per frame, without drawing"] = f"{sum(one.took for one in seen) / frames * 1000:.2f}"
    return row
