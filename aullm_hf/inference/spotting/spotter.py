"""Recordings in, expressions out: `spot_expressions`, and the spotter behind it."""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...arguments import check_choice, check_number, check_path
from ...data.errors import ClipError, DataError
from ...data.faces import FaceFinder, local_face_model
from ..columns import BOX, with_types
from ..reading.clip_source import ClipSource
from ..reading.crop_settings import FACES
from ..reading.frames import FrameCountError, Frames, measured_fps, open_frames, select_range
from ..reading.sources import expand_sources
from .hidden import Hidden, followed, hidden_in
from .intervals import Interval, spot_in_signal
from .network import load_spotter
from .parts import CUT, Part, PartReader, split_into_parts
from .signals import RATE, Stretch

logger = logging.getLogger(__name__)
FACE_MODES = (None, "align", "none")
THRESHOLD = 0.65  # of the score; chosen on recordings that are in no table
MICRO = 0.5  # seconds
MARGIN = 8.0  # seconds beside a part that are looked at with it: the network's reach, and an expression
SPOT_COLUMNS = {
    "source": "object",
    "face_id": "Int64",
    "kind": "object",
    "onset": "Int64",
    "apex": "Int64",
    "offset": "Int64",
    "start": "float64",
    "peak": "float64",
    "end": "float64",
    "duration": "float64",
    "score": "float64",
    "fps": "float64",
    **dict.fromkeys(BOX, "float64"),
    "reason": "object",
    "warning": "object",
}


@dataclass(frozen=True)
class SpottedPart:
    """The rows of a part of a recording, and what is needed to go on after it."""

    number: int
    rows: list[dict[str, Any]]
    places: list[dict[str, Any]]  # where faces were seen before the part began
    final: bool  # whether the recording ends with it


class ExpressionSpotter:
    """Spots expressions in recordings of any length: where each begins, peaks and ends.

    Args:
        face: "align" looks for faces in whole pictures; "none" takes frames as crops of one face. None: "align" where
            the face detector is at hand or named.
        faces: "largest", or "all" of them, each with a number.
        fps: the true frame rate of sources that do not say theirs, or say it wrongly.
        face_model: YuNet's .onnx file, where it is not the Hub's.
        threshold: of the score, above 0 and below 1: lower finds more, and more that is none.

    Example:
        >>> from aullm_hf.inference import ExpressionSpotter
        >>> spotter = ExpressionSpotter(face="none")
        >>> for table in spotter.spot(["VIDEO.mp4", "TALKS/talk.mp4"]):
        ...     print(table["source"].unique())
        ['VIDEO.mp4']
        ['TALKS/talk.mp4']
    """

    def __init__(
        self,
        *,
        face: str | None = None,
        faces: str = "largest",
        fps: float | None = None,
        face_model: str | Path | None = None,
        threshold: float = THRESHOLD,
    ):
        check_choice("face", face, FACE_MODES)
        check_choice("faces", faces, FACES)
        check_number("threshold", threshold, 0, 1)
        if fps is not None:
            check_number("fps", fps, 0, 100_000)
        if face_model is not None:
            check_path("face_model", face_model, "the file of YuNet's weights, or None")
        at_hand = face_model is not None or local_face_model() is not None
        mode = face or ("align" if at_hand or faces == "all" else "none")
        if faces == "all" and mode == "none":
            raise ValueError("faces='all' looks for faces, but face='none' takes frames as crops of one; give one")
        self.warning = ""
        if face is None and mode == "none":
            self.warning = (
                "the face detector is not at hand, so frames are taken as crops of a face; face='align' (--face "
                "align) fetches it, face='none' (--no_face) says that they are crops"
            )
            warnings.warn(self.warning, stacklevel=2)
        finder = FaceFinder(face_model) if mode == "align" else None
        self.reader = PartReader(finder, all_faces=faces == "all")
        self.fps, self.threshold = fps, float(threshold)
        self.network = load_spotter()

    @property
    def settings(self) -> dict[str, Any]:
        """What rows depend on beside the recordings: results made with other settings are not continued."""
        return {
            "spotting": 2,  # goes up when the same recording gives other rows
            "detector": self.reader.finder.digest if self.reader.finder else None,
            "faces": "all" if self.reader.all_faces else "largest",
            "threshold": self.threshold,
        }

    def spot(self, sources: Any) -> Iterator[pd.DataFrame]:
        """The table of one recording after another.

        Args:
            sources: a path, a pattern, a table of paths, an array, frames, or a list of those, as for `detect_aus`.
        """
        for source in expand_sources(sources, self.fps):
            if not source.ignored:
                yield table_of_rows([row for part in self.spot_parts(source) for row in part.rows])

    def spot_parts(self, source: ClipSource, after: SpottedPart | None = None) -> Iterator[SpottedPart]:
        """A recording part by part, each with its rows; `after` one that is known already."""
        blank = {"source": source.name, "reason": "", "warning": self.warning}
        try:
            if source.reason:
                raise ClipError(source.reason)
            for by_decoding in (False, True):
                try:
                    for part in self._spotted(source, blank, after, by_decoding):
                        after = part
                        yield part
                    return
                except FrameCountError as error:
                    if by_decoding:
                        raise ClipError(str(error)) from error
        except ImportError:  # something is not installed: no recording would be read
            raise
        except Exception as error:
            known = isinstance(error, DataError | OSError)
            if not known:  # one odd file among many must not take the others with it
                logger.warning("%s could not be read", source.name, exc_info=True)
            message = getattr(error, "strerror", None) or str(error)
            reason = message if known else f"{type(error).__name__}: {error}"
            yield SpottedPart(after.number + 1 if after else 0, [blank | {"reason": reason}], [], True)

    def _spotted(
        self, source: ClipSource, blank: dict, after: SpottedPart | None, by_decoding: bool
    ) -> Iterator[SpottedPart]:
        frames = open_frames(source, by_decoding)
        first, last, note = select_range(frames, source)
        if frames.times is None:
            raise ClipError("nothing says how fast its frames come, and expressions last seconds; give fps")
        if last == first:
            raise ClipError("one frame shows no motion")
        times = np.asarray(frames.times[: last + 1], np.float64)
        warning = "; ".join(filter(None, (frames.note, note, self.warning)))
        blank = blank | {"fps": measured_fps(times[first:]), "warning": warning}
        bounds = [(low + first, high + first) for low, high in split_into_parts(times[first:])]
        begin, places = (after.number, after.places) if after else (0, [])
        wanted = after.number + 1 if after else 0
        window: list[Part] = []  # a part is told once the parts beside it are read
        for part in self.reader.read(frames, times, bounds, begin, places):
            window = [*window[-2:], part]
            if len(window) > 1 and window[-2].number >= wanted:
                yield self._told(window, -2, frames, times, blank)
        if window[-1].number >= wanted:
            yield self._told(window[-2:], -1, frames, times, blank)

    def _told(self, window: list[Part], at: int, frames: Frames, times: np.ndarray, blank: dict) -> SpottedPart:
        """The rows of one part, by what is known of the parts beside it as well."""
        part, final = window[at], at == -1
        end = part.last if final else part.last - 1  # the next part has the last frame, too
        low, high = times[part.first] - MARGIN, times[part.last] + MARGIN
        since = -np.inf if part.number == 0 else times[part.first]
        until = np.inf if final else times[part.last]
        stretches = followed(window)
        rows = []
        for face_id, sights in stretches.items():
            boxes = [box for one in window if face_id in one.faces for box in one.faces[face_id].boxes]
            for stretch in sights:
                first, motion = stretch.even()
                skipped = max(int(np.floor(low * RATE)) - first, 0)
                kept = motion[skipped : max(int(np.ceil(high * RATE)) - first, 0)]
                for interval in spot_in_signal(self.network, kept, first + skipped, self.threshold):
                    if since <= interval.apex < until:
                        rows.append(blank | _expression(interval, stretch, face_id, boxes, frames, times))
        reasons = {index: reason for one in window for index, reason in one.reasons.items()}
        spans = hidden_in(stretches, part.first, end, reasons, self.reader.all_faces)
        if part.damage and end + 1 < len(times):
            spans.append(Hidden(None if self.reader.all_faces else 0, end + 1, len(times) - 1, part.damage))
        rows += [blank | _hidden(span, frames, times) for span in spans]
        rows.sort(key=lambda row: (row["start"], row["end"]))
        return SpottedPart(part.number, rows, part.places_before, final)


def _expression(interval: Interval, stretch: Stretch, face_id: int, boxes, frames: Frames, times) -> dict[str, Any]:
    def nearest(time: float) -> int:
        at = int(np.searchsorted(times, time))
        at -= at == len(times) or (at > 0 and time - times[at - 1] <= times[at] - time)
        return min(max(at, stretch.first), stretch.last)

    onset, apex, offset = map(nearest, (interval.onset, interval.apex, interval.offset))
    box = min(boxes, key=lambda pair: abs(pair[0] - apex))[1] if boxes else (None,) * 4
    kind = "micro" if interval.offset - interval.onset <= MICRO else "longer"
    row = {"face_id": face_id, "kind": kind, "score": round(interval.score, 4), **dict(zip(BOX, box, strict=True))}
    return row | _when(onset, apex, offset, frames, times)


def _hidden(span: Hidden, frames: Frames, times: np.ndarray) -> dict[str, Any]:
    row = {"face_id": span.face_id, "reason": span.reason, "first": span.first, "last": span.last}
    return row | _when(span.first, None, span.last, frames, times)


def _when(onset: int, apex: int | None, offset: int, frames: Frames, times: np.ndarray) -> dict[str, Any]:
    known = {"apex": int(frames.numbers[apex]), "peak": float(times[apex])} if apex is not None else {}
    return known | {
        "onset": int(frames.numbers[onset]),
        "offset": int(frames.numbers[offset]),
        "start": float(times[onset]),
        "end": float(times[offset]),
        "duration": float(times[offset] - times[onset]),
    }


def table_of_rows(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table; what was hidden for the same reason from one part into the next is one row."""
    kept: list[dict[str, Any]] = []
    before: dict[Any, dict[str, Any]] = {}  # the last hidden span of each face
    for row in rows:
        if "first" in row:
            last = before.get((row["source"], row["face_id"]))
            if last and last["reason"] == row["reason"] != CUT and last["last"] + 1 == row["first"]:
                last |= {name: row[name] for name in ("offset", "end", "last")}
                last["duration"] = last["end"] - last["start"]
                continue
            row = before[(row["source"], row["face_id"])] = dict(row)
        kept.append(row)
    return with_types(pd.DataFrame(kept, index=range(len(kept))), SPOT_COLUMNS)


def spot_expressions(video: Any, **options: Any) -> pd.DataFrame:
    """Recordings -> a table with one row per expression: onset, apex and offset in frames and seconds, and a score.

    What could not be looked at is a row with its `reason`: no face, a head turned away, a cut.

    Args:
        video: a video, a folder of frames, a pattern, a table of paths, an array of frames, or a list of those.
        **options: those of `ExpressionSpotter`.

    Example:
        >>> from aullm_hf import spot_expressions
        >>> table = spot_expressions("VIDEO.mp4", face="none")
        >>> expressions, hidden = table[table["reason"] == ""], table[table["reason"] != ""]
        >>> hidden[["onset", "offset", "reason"]].values.tolist()  # doctest: +ELLIPSIS
        [[1, 12, 'nothing to follow...']]
    """
    tables = list(ExpressionSpotter(**options).spot(video))
    return pd.concat(tables, ignore_index=True) if tables else table_of_rows([])


__all__ = ["SPOT_COLUMNS", "ExpressionSpotter", "SpottedPart", "spot_expressions", "table_of_rows"]
