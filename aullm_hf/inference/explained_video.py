"""A video to watch: the face's box and its AUs as they come and go, and their timeline with a cursor below.

Frames have the times that they had, so that the rate and the length stay; sound is copied as it is. Needs the extras
`video` and `face`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..data.errors import ClipError
from ..data.faces import import_cv2
from ..data.reading.videos import open_video, upright
from ..whole_files import replacing
from .columns import BOX
from .evidence_veil import EvidenceVeil
from .output_files import OutputError
from .pictures.drawing import muscle_of, spelled_out
from .pictures.timeline import window_spans
from .reading.clip_source import ClipSource
from .results import au_labels

if TYPE_CHECKING:
    from .detecting import AUDetector

FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}
# What an .mp4 or .mov file can hold as it is; an .mkv file holds all of them.
SOUND_OF_MP4 = ("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus")
BLUE, ORANGE, INK, SOFT, PAPER = (0, 114, 178), (213, 94, 0), (26, 26, 26), (150, 150, 150), (255, 255, 255)
LANE = 26  # pixels of an AU in the timeline


def check_video_out(out: Path) -> None:
    if out.suffix.lower() not in FORMATS:
        raise OutputError(f"{out} ends in {out.suffix or 'nothing'!r}; a video is one of {', '.join(FORMATS)}")


def write_explained_video(
    detector: "AUDetector", source: ClipSource, out: str | Path, *, evidence: bool = False
) -> pd.DataFrame:
    """The video of a source with what a model sees in it, written to `out`; its rows are returned.

    Args:
        detector: the model and how clips are read; its windows are the steps of the timeline.
        source: a video file.
        out: an .mp4, .mkv or .mov file.
        evidence: whether a veil on the face shows where the evidence for the active AUs lies.

    Example:
        >>> from pathlib import Path
        >>> from aullm_hf.inference import AUDetector, write_explained_video
        >>> from aullm_hf.inference.reading.clip_source import ClipSource
        >>> detector = AUDetector("CHECKPOINT_FOLDER", window=0.2)
        >>> rows = write_explained_video(detector, ClipSource("VIDEO.mp4", Path("VIDEO.mp4")), "explained.mp4")
        >>> len(rows), Path("explained.mp4").exists()
        (4, True)
    """
    out = Path(out)
    check_video_out(out)
    if source.reason:
        raise ClipError(f"{source.name}: {source.reason}")
    if source.path is None or source.path.is_dir():
        raise ClipError(f"{source.name} is no video file; a video to watch is made of one")
    if out.exists() and source.path.samefile(out):
        raise OutputError(f"{out} is the video itself; give another place")
    clips = list(detector.read(source))
    rows = detector.rows(clips)
    veil = EvidenceVeil(detector, clips) if evidence else None
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part:
        _write(Overlay(rows, *_size_of(source.path), veil), source.path, part, out.suffix.lower())
    return rows


def _write(overlay: "Overlay", path: Path, out: Path, suffix: str) -> None:
    av, container, stream = open_video(path, path.name)
    with container, av.open(str(out), "w", format=FORMATS[suffix]) as made:
        sound = next((audio for audio in container.streams.audio if audio.codec_context is not None), None)
        if sound is not None and suffix != ".mkv" and sound.codec_context.name not in SOUND_OF_MP4:
            raise OutputError(
                f"the sound of {path.name} is {sound.codec_context.name}, which a {suffix} file cannot hold as it is; "
                "name an .mkv file"
            )
        picture = made.add_stream("libx264", rate=stream.average_rate or stream.base_rate or 25)
        picture.height, picture.width = overlay.shape
        picture.pix_fmt, picture.options = "yuv420p", {"crf": "18", "preset": "veryfast"}
        picture.codec_context.time_base = picture.time_base = stream.time_base
        copied = made.add_stream_from_template(sound) if sound is not None else None
        try:
            for packet in container.demux([one for one in (stream, sound) if one is not None]):
                if packet.stream is sound:
                    if packet.dts is not None:
                        packet.stream = copied
                        made.mux(packet)
                    continue
                for frame in packet.decode():
                    image = upright(frame)
                    image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
                    drawn = av.VideoFrame.from_ndarray(overlay.draw(image, frame.time or 0.0), format="rgb24")
                    drawn.pts, drawn.time_base = frame.pts, stream.time_base
                    made.mux(picture.encode(drawn))
        except av.FFmpegError as error:
            raise ClipError(f"{path.name}: the video is damaged or cannot be written ({error.strerror})") from error
        made.mux(picture.encode())


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height of a video's frames, turned upright."""
    av, container, stream = open_video(path, path.name)
    with container:
        try:
            height, width = upright(next(container.decode(stream))).shape[:2]
        except (av.FFmpegError, StopIteration) as error:
            raise ClipError(f"{path.name}: the video has no frame that can be decoded") from error
    return width, height


class Overlay:
    """What is drawn onto frames and below them, from the rows of all windows; `veil`: of the clips of these rows."""

    def __init__(self, rows: pd.DataFrame, width: int, height: int, veil: EvidenceVeil | None = None):
        self.cv2, self.veil = import_cv2(), veil
        rows = rows[rows["start"].notna()]
        if not len(rows):
            raise ClipError("nothing says how fast its frames come; give fps")
        self.labels = au_labels(rows)
        self.spans, self.values = {}, {}
        read = rows[rows["reason"].eq("")]
        for face, part in read.groupby("face_id"):
            part = part.sort_values("start", kind="stable")
            self.spans[face] = window_spans(part["start"].to_numpy(float), part["end"].to_numpy(float))
            self.values[face] = part.reset_index(names="number")  # of its clip
        self.main = max(self.values, key=lambda face: len(self.values[face]), default=None)  # of the timeline
        self.first, self.last = float(rows["start"].min()), max(float(rows["end"].max()), rows["start"].min() + 1e-3)
        self.scale = max(min(width, height) / 480, 0.5)
        self.size = width, height
        self.strip = self._timeline(width)
        self.shape = (height + len(self.strip) + 1) // 2 * 2, (width + 1) // 2 * 2

    def draw(self, image: np.ndarray, time: float) -> np.ndarray:
        """(H, W, 3): the frame with box and names, and the timeline below; sides are even, as codecs want them."""
        width, height = self.size
        drawn = np.full((*self.shape, 3), 255, np.uint8)
        drawn[:height, :width] = image[:height, :width]
        for face in self.values:
            self._draw_face(drawn[:height, :width], face, time)
        strip = drawn[height : height + len(self.strip), :width]
        strip[:] = self.strip
        at = round(self._place(time))
        self.cv2.line(strip, (at, 0), (at, len(strip)), ORANGE, max(round(2 * self.scale), 1))
        return drawn

    def _draw_face(self, picture: np.ndarray, face: int, time: float) -> None:
        spans, rows = self.spans[face], self.values[face]
        at = int(np.clip(np.searchsorted(spans[:, 0], time, side="right") - 1, 0, len(rows) - 1))
        if not spans[at, 0] - 0.05 <= time <= spans[at, 1] + 0.05:
            return
        thick, size = max(round(2 * self.scale), 1), 0.5 * self.scale
        box, row = self._box(face, time), rows.iloc[at]
        active = [label for label in self.labels if row[f"active_{label}"]]
        if self.veil is not None and active:
            self.veil.lay(picture, int(row["number"]), time)
        x, y = 8, 8
        if box is not None:
            left, top, right, bottom = (round(value) for value in box)
            self.cv2.rectangle(picture, (left, top), (right, bottom), BLUE, thick)
            x, y = left, bottom + 4
        step = round(20 * self.scale)
        y = min(y, picture.shape[0] - step * len(active) - 4)
        for label in sorted(active, key=lambda label: -row[f"p_{label}"]):
            y += step
            text = f"{spelled_out(label)} {row[f'p_{label}']:.2f} ({muscle_of(label)})"
            for colour, wide in ((PAPER, 3 * thick), (INK, thick)):
                self._text(picture, text, max(x, 4), y, size, colour, wide)

    def _box(self, face: int, time: float) -> tuple[float, ...] | None:
        """Left, top, right, bottom, between the windows' own."""
        boxes = self.values[face][list(BOX)].to_numpy(float)
        if np.isnan(boxes).any():
            return None
        starts = self.values[face]["start"].to_numpy(float)
        x, y, width, height = (np.interp(time, starts, boxes[:, side]) for side in range(4))
        return x, y, x + width, y + height

    def _timeline(self, width: int) -> np.ndarray:
        """(H, W, 3): a lane per AU with its probability; where it is active the lane is filled."""
        lane = round(LANE * self.scale)
        strip = np.full((lane * len(self.labels) + round(6 * self.scale), width, 3), 255, np.uint8)
        for number, label in enumerate(self.labels):
            bottom, top = (number + 1) * lane, number * lane + 2
            self.cv2.line(strip, (0, bottom), (width, bottom), SOFT, 1)
            for left, right, probability, active in self._bars(label):
                height = round((bottom - top) * probability)
                colour = BLUE if active else (190, 216, 234)
                self.cv2.rectangle(strip, (left, bottom - height), (max(right - 1, left), bottom), colour, -1)
            for colour, wide in ((PAPER, 3), (INK, 1)):
                self._text(strip, spelled_out(label), 4, bottom - lane // 3, 0.42 * self.scale, colour, wide)
        return strip

    def _bars(self, label: str) -> Iterator[tuple[int, int, float, bool]]:
        if self.main is None:
            return
        rows = self.values[self.main]
        for (start, end), row in zip(self.spans[self.main], rows.to_dict("records"), strict=True):
            yield (
                round(self._place(start)),
                round(self._place(end)),
                float(row[f"p_{label}"]),
                bool(row[f"active_{label}"]),
            )

    def _place(self, time: float) -> float:
        return (time - self.first) / (self.last - self.first) * (self.size[0] - 1)

    def _text(self, picture: np.ndarray, text: str, x: int, y: int, size: float, colour: Any, wide: int) -> None:
        font = self.cv2.FONT_HERSHEY_SIMPLEX
        self.cv2.putText(picture, text, (x, y), font, size, colour, wide, self.cv2.LINE_AA)


__all__ = ["Overlay", "check_video_out", "write_explained_video"]
