"""Annotated recordings of a data set of long videos: where they lie, how their faces move, what is true of them."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from aullm_hf.data.reading.videos import VIDEO_SUFFIXES
from aullm_hf.inference.reading.clip_source import ClipSource
from aullm_hf.inference.reading.frames import FrameCountError, Frames, open_frames
from aullm_hf.inference.spotting.intervals import Interval
from aullm_hf.inference.spotting.network import STRIDE
from aullm_hf.inference.spotting.parts import PartReader, joined, split_into_parts
from aullm_hf.inference.spotting.signals import RATE, SHORTEST
from aullm_hf.whole_files import replacing
from spotters.fitting import LENGTH, Example, targets

# How the ends of paths look below the data set's folder (of a video without its suffix), from what is public: subject,
# then what tells its videos apart.
LAYOUTS = {
    "casme_squared": re.compile(r"(?:^|/)(?P<subject>\d+)_(?P<video>\d{4})[^/]*$"),  # s15/15_0401girlcrashing
    "samm_long_videos": re.compile(r"(?:^|/)(?P<subject>\d{3})_(?P<video>\d+)$"),  # 006_1
    "casme3": re.compile(r"(?:^|/)(?P<subject>[^/]+)/(?P<video>[a-z])/color$"),  # spNO.1/a/color
}


@dataclass(frozen=True)
class Recording:
    """One long video of one person."""

    subject: str
    video: str
    path: Path
    fps: float


@dataclass(frozen=True)
class Followed:
    """How a recording's face moves: the number of each stretch's first step, its signal; and its frames' times."""

    recording: Recording
    stretches: list[tuple[int, np.ndarray]]
    times: np.ndarray  # seconds, of every frame
    numbers: np.ndarray  # of every frame


def find_recordings(dataset: str, root: Path, truth: pd.DataFrame) -> list[Recording]:
    """All recordings below a folder, also those in which nothing is annotated; every annotated one has to be there."""
    found: dict[str, Recording] = {}
    fps = float(truth["fps"].iloc[0])
    for folder, folders, files in os.walk(root):
        videos = [name for name in files if Path(name).suffix.lower() in VIDEO_SUFFIXES]
        for name in sorted([*folders, *videos]):
            path = Path(folder) / name
            below = path.relative_to(root).as_posix()
            match = LAYOUTS[dataset].search(below.removesuffix(path.suffix) if name in videos else below)
            if match:
                subject = f"s{match['subject']}" if dataset == "casme_squared" else match["subject"]
                video = f"{subject}_{match['video']}"
                found.setdefault(video, Recording(subject, video, path, fps))
    if missing := sorted(set(truth["video"]) - set(found)):
        raise SystemExit(
            f"{root} has no recording of {len(missing)} annotated videos, such as {', '.join(missing[:3])}; paths of "
            f"{dataset} end like {LAYOUTS[dataset].pattern}."
        )
    return [found[video] for video in sorted(found)]


def follow(recording: Recording, reader: PartReader) -> Followed:
    """Read a recording once, from its beginning to its end."""
    source = ClipSource(recording.video, recording.path, fps=recording.fps)
    try:
        return _follow(recording, open_frames(source), reader)
    except FrameCountError:  # its header counts other frames than it has
        return _follow(recording, open_frames(source, by_decoding=True), reader)


def _follow(recording: Recording, frames: Frames, reader: PartReader) -> Followed:
    times = np.asarray(frames.times, np.float64)
    parts = list(reader.read(frames, times, split_into_parts(times), 0, []))
    stretches = [stretch.even() for stretch in joined(parts, 0) if stretch.seconds >= SHORTEST]
    return Followed(recording, stretches, times, np.asarray(frames.numbers))


def followed_once(recording: Recording, reader: PartReader, folder: Path) -> Followed:
    """As `follow`, kept in a folder: reading takes longer than all fits together."""
    path = folder / f"{recording.video}.safetensors"
    if not path.is_file():
        one = follow(recording, reader)
        arrays = {f"motion{at}": motion for at, (_, motion) in enumerate(one.stretches)}
        firsts = np.array([first for first, _ in one.stretches], np.int64)
        with replacing(path) as part:
            save_file({"times": one.times, "numbers": one.numbers.astype(np.int64), "firsts": firsts, **arrays}, part)
    kept = load_file(path)
    stretches = [(int(first), kept[f"motion{at}"]) for at, first in enumerate(kept["firsts"])]
    return Followed(recording, stretches, kept["times"], kept["numbers"])


def examples_of(followed: Followed, truth: pd.DataFrame) -> list[Example]:
    """A recording's stretches with what is annotated in them; short ones are prolonged as they end."""
    rows = truth[truth["video"] == followed.recording.video]
    examples = []
    for first, motion in followed.stretches:
        skipped = first % STRIDE
        first, motion = first + skipped, motion[skipped:]
        if len(motion) < 4 * STRIDE:
            continue
        end = (first + len(motion)) / RATE
        expressions = [one for one in map(_in_seconds(followed), rows.to_dict("records"))
                       if first / RATE <= (one.onset + one.offset) / 2 < end]  # fmt: skip
        more = max(LENGTH + 2 * STRIDE - len(motion), len(motion) % STRIDE)
        motion = np.pad(motion, ((0, more + (len(motion) + more) % STRIDE), (0, 0)), mode="edge")
        examples.append(Example(motion, *targets(expressions, len(motion), first)))
    return examples


def _in_seconds(followed: Followed):
    def interval(row: dict) -> Interval:
        def second(number: int) -> float:
            at = np.searchsorted(followed.numbers, number)
            return float(followed.times[min(at, len(followed.times) - 1)])

        onset, offset = second(row["onset"]), second(row["offset"])
        apex = (onset + offset) / 2 if pd.isna(row["apex"]) else second(row["apex"])
        return Interval(onset, apex, offset, 1.0)

    return interval


__all__ = ["LAYOUTS", "Followed", "Recording", "examples_of", "find_recordings", "follow", "followed_once"]
