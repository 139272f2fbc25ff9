"""What the demo page does with a clip: look whether it may be read, analyse it, and forget it. No page in here."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any
from warnings import catch_warnings, simplefilter

import numpy as np
import pandas as pd

from ...data.errors import DataError
from ...data.facs import au_name
from ...data.reading.folders import IMAGE_SUFFIXES
from ...data.reading.images import check_image
from ...data.reading.videos import SAFE_READING
from ..detecting import AUDetector
from ..explained_video import write_explained_video
from ..formats import escape_formulas
from ..output_files import OutputError
from ..pictures.clip_pictures import clip_pictures, explain_clip, strongest_windows, title_of
from ..pictures.timeline import timeline
from ..pictures.wording import sentence
from ..reading.clip_source import ClipSource
from ..reading.cropping import ReadClip
from ..reading.windows import DEFAULT_WINDOW
from ..results import name_aus
from ..training_note import training_note
from .live_analysis import LiveAnalysis

NARROW = 3.6  # inches: on a phone, where a picture is 350 pixels wide, letters of 8 points have 11 pixels


class DemoError(ValueError):
    """Why there is no analysis, in words for the person at the page."""


@dataclass(frozen=True)
class Limits:
    """What a visitor may ask for."""

    megabytes: int = 50
    seconds: float = 60.0
    frames: int = 20_000
    side: int = 4096  # pixels of a frame
    pixels: int = 16_000_000_000  # of all frames: a minute of 4K at 30 frames a second
    waiting: int = 8  # visitors in the queue; one clip is analysed at a time
    upload_seconds: float = 300.0
    live: int = 4  # cameras at a time; one picture is looked at at a time
    live_idle: float = 10.0  # seconds without a picture after which a camera is forgotten


@dataclass
class Analysis:
    """What is shown of a clip. Nothing of it lies on a disk."""

    title: str
    rows: pd.DataFrame  # one row per window, failures too
    named: pd.DataFrame  # one row per window and AU, with names and muscles: what is downloaded
    clip: ReadClip  # the window that was explained
    face: np.ndarray  # (H, W) uint8, the aligned face of its first frame
    aus: pd.DataFrame  # the rows of `named` of that window
    pictures: dict[str, Any]  # name -> Figure
    sentences: list[str]
    remarks: list[str]


class Demo:
    """A detector with what a page needs beside it: examples, limits, and a reader for clips cropped already."""

    def __init__(self, detector: AUDetector, limits: Limits | None = None):
        detector.check_explains()
        self.detector, self.limits = detector, limits or Limits()
        self.takes_crops = (detector.processor.face or {"face": "none"})["face"] == "none"  # as it was trained
        self._readers: dict[tuple[bool, float | None], AUDetector] = {}
        self._lock = Lock()

    def _reader(self, cropped: bool, window: float | None = None) -> AUDetector:
        """The detector for clips of which a visitor has said whether they are cropped."""
        with self._lock:
            if (cropped, window) not in self._readers:
                with catch_warnings():
                    simplefilter("ignore")  # they are remarks of the page
                    reader = AUDetector(
                        self.detector.model,
                        processor=self.detector.processor,
                        device=self.detector.device,
                        face="none" if cropped else "align",
                        face_model=self.detector.face_model,
                        window=window,
                    )
                reader.name, reader.revision = self.detector.name, self.detector.revision
                self._readers[cropped, window] = reader
            return self._readers[cropped, window]

    def analyse_upload(self, path: str | Path | None, *, cropped: bool) -> Analysis:
        """A file somebody sent. It is the caller's to delete."""
        path = self._checked(path)
        return self.analyse(ClipSource(path.name, path), cropped=cropped)

    def _checked(self, path: str | Path | None) -> Path:
        if path is None:
            raise DemoError("There is no clip yet: upload or record one, or choose an example.")
        check_upload(Path(path), self.limits)
        return Path(path)

    def video_of_upload(self, path: str | Path | None, *, cropped: bool) -> bytes:
        """An .mp4 file to watch, of a file somebody sent: what moved when, drawn onto it. It lies on no disk after."""
        path = self._checked(path)
        try:
            reader = self._reader(cropped, DEFAULT_WINDOW)
            with tempfile.TemporaryDirectory(dir=os.environ.get("GRADIO_TEMP_DIR")) as folder:
                made = Path(folder) / "video.mp4"
                write_explained_video(reader, ClipSource(path.name, path), made)
                video = made.read_bytes()
        except (DataError, OutputError, ImportError) as error:
            raise DemoError(str(error)) from error
        if len(video) > self.limits.megabytes << 20:
            raise DemoError(
                f"The video to watch has over {self.limits.megabytes} MB, more than the page shows. Cut the clip, or "
                "use `aullm explain --video` on your own machine."
            )
        return video

    def analyse_example(self, name: str | None) -> Analysis:
        if name not in (examples := self.examples()):
            raise DemoError("Choose one of the examples first.")
        frames, fps = examples[name]()
        return self.analyse(ClipSource(name, frames=frames, fps=fps), cropped=True)

    def analyse(self, source: ClipSource, *, cropped: bool) -> Analysis:
        try:
            detector = self._reader(cropped)
            clips = list(detector.read(source))
        except (DataError, ImportError) as error:
            raise DemoError(str(error)) from error
        return analysis_of(detector, clips, source.name)

    def start_live(self) -> LiveAnalysis:
        """What looks at the stream of one camera: pictures in which faces are looked for."""
        try:
            return LiveAnalysis(self._reader(cropped=False))
        except (DataError, ImportError) as error:
            raise DemoError(str(error)) from error

    def examples(self) -> dict[str, Callable[[], tuple[np.ndarray, float]]]:
        """Name -> what draws it: frames and how many of them a second has."""
        return synthetic_examples(self.detector.processor.size, tuple(self.detector.labels))


def analysis_of(detector: AUDetector, clips: list[ReadClip], name: str) -> Analysis:
    """Everything the page shows, from what was read of one source."""
    rows = detector.rows(clips)
    if all(clip.reason for clip in clips):
        reasons = "; ".join(dict.fromkeys(clip.reason for clip in clips)) or "nothing was in it"
        raise DemoError(f"“{name}” could not be analysed. The reason: {reasons}.")
    at = strongest_windows(rows, detector.labels, 1)[0]
    clip = clips[at]
    frames, explanation = explain_clip(detector, clip)
    span = None if clip.start is None or clip.end is None else (clip.start, clip.end)
    note = training_note(detector.trained_on, brief=True)
    pictures = clip_pictures(frames, explanation, span=span, title=note, width=NARROW)
    same_face = (rows["face_id"] == clip.face_id) | rows["reason"].ne("")
    if same_face.sum() > 1 and rows.loc[same_face, "start"].notna().all():
        pictures["timeline"] = timeline(rows[same_face], title=note, width=NARROW)
    named = name_aus(rows)
    of_clips = [f"about the clip: {each.warning}" for each in clips if each.warning]
    remarks = list(dict.fromkeys([*filter(None, [detector.warning]), *of_clips]))
    if failed := sum(bool(each.reason) for each in clips):
        reasons = "; ".join(dict.fromkeys(each.reason for each in clips if each.reason))
        remarks.append(f"{failed} of {len(clips)} windows could not be read: {reasons}")
    return Analysis(
        title=title_of(replace(clip, source=name), len(clips)),
        rows=rows,
        named=named,
        clip=clip,
        face=frames[0],
        aus=named.iloc[at * len(detector.labels) : (at + 1) * len(detector.labels)],
        pictures=pictures,
        sentences=[sentence(one) for one in explanation.evidence],
        remarks=remarks,
    )


def check_upload(path: Path, limits: Limits) -> None:
    """Refuse what would take too long, from the file's packets alone. What is no video is left to the reader."""
    if not path.is_file():
        raise DemoError("The clip is no longer here: clips are deleted after use. Please send it again.")
    if path.stat().st_size > limits.megabytes << 20:
        raise DemoError(
            f"The clip has {path.stat().st_size / 2**20:.1f} MB; at most {limits.megabytes} MB are taken here."
        )
    if path.suffix.lower() in IMAGE_SUFFIXES:
        try:
            size = check_image(path.read_bytes(), path.name)
        except DataError as error:
            raise DemoError(str(error)) from error
        return check_side(*size, limits)
    try:
        import av
    except ImportError as error:
        raise DemoError('Reading videos needs PyAV, which is missing here: pip install "aullm-hf[video]".') from error
    try:
        with av.open(str(path.absolute()), metadata_errors="replace", options=SAFE_READING) as container:
            if not container.streams.video or (stream := container.streams.video[0]).codec_context is None:
                return
            height, width = stream.codec_context.height, stream.codec_context.width
            check_side(height, width, limits)
            most = min(limits.frames, limits.pixels // max(height * width, 1))
            frames, first, last = 0, None, None
            for packet in container.demux(stream):
                frames += packet.size > 0
                if packet.pts is not None and packet.size:
                    first = packet.pts if first is None else min(first, packet.pts)
                    last = packet.pts if last is None else max(last, packet.pts)
                seconds = 0.0 if first is None else float((last - first) * stream.time_base)
                if seconds > limits.seconds or frames > most:
                    raise DemoError(
                        f"The clip lasts over {limits.seconds:g} s or has over {most} frames, more than is "
                        "taken here. Cut it, or use `aullm predict` on your own machine."
                    )
    except (av.error.FFmpegError, OSError):
        return


def check_side(height: int, width: int, limits: Limits) -> None:
    if max(height, width) > limits.side:
        raise DemoError(f"Its frames have {width} x {height} pixels; at most {limits.side} a side are taken here.")


@lru_cache(maxsize=4)
def synthetic_examples(size: int, labels: tuple[str, ...]) -> dict[str, Callable[[], tuple[np.ndarray, float]]]:
    """Drawn faces that show what the model knows: four clips, in one of which nothing happens, and a recording."""
    from ...data.synthetic.clips import synthetic_plans

    drawn = size if 128 % size == 0 else 128  # the processor does the rest
    known = {int(label.removeprefix("AU")) for label in labels}
    people = synthetic_plans(subjects=3, clips_per_subject=12, seed=7)
    people = [plan for number in range(12) for plan in people[number::12]]  # person after person, clip after clip
    chosen: dict[frozenset[int], Any] = {}
    for plan in people:
        if len(shown := frozenset(plan.aus) & known) <= 2:
            chosen.setdefault(shown, plan)
    moving = [(shown, plan) for shown, plan in chosen.items() if shown]
    examples = {_example_name("Clip", shown): partial(_drawn, plan, drawn) for shown, plan in moving[:3]}
    if still := chosen.get(frozenset()):
        examples["Clip: nothing moves"] = partial(_drawn, still, drawn)
    for shown, plan in moving[-1:]:
        examples[_example_name("Recording of 9 s", shown)] = partial(_drawn_recording, plan, drawn)
    return examples


def _example_name(what: str, shown: frozenset[int]) -> str:
    return f"{what}: {' and '.join(au_name(au) for au in sorted(shown))}"


def _drawn(plan: Any, size: int) -> tuple[np.ndarray, float]:
    from ...data.synthetic.clips import draw_clips

    return next(iter(draw_clips([plan], size=size))), float(plan.fps)


def _drawn_recording(plan: Any, size: int, seconds: float = 9.0, times: int = 4) -> tuple[np.ndarray, float]:
    """The clip there and back with rests between: a still face that moves now and then."""
    frames, fps = _drawn(plan, size)
    there_and_back = np.concatenate([frames, frames[::-1]])
    rest = max(round((seconds * fps - times * len(there_and_back)) / (times + 1)), 1)
    still = np.repeat(frames[:1], rest, axis=0)
    return np.concatenate([still, *[there_and_back, still] * times]), fps


def table_csv(analysis: Analysis) -> str:
    """The table as it is downloaded: one row per window and AU, with the AUs' names and muscles."""
    return escape_formulas(analysis.named).to_csv(index=False)


def limits_line(limits: Limits) -> str:
    return f"At most {limits.megabytes} MB and {limits.seconds:g} seconds."


__all__ = ["Analysis", "Demo", "DemoError", "Limits", "analysis_of", "check_upload", "table_csv"]
