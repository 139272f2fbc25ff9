"""Files that should be videos or pictures, to all three readers: the processor's, the data room's, inference's."""

import tempfile
from pathlib import Path

import cv2
import numpy as np

from aullm_hf.data.reading.images import read_image
from aullm_hf.data.reading.videos import probe_video, read_video
from aullm_hf.inference.reading.frames import VideoFrames
from aullm_hf.model import AULLMVideoProcessor
from support.refusals import outcome
from support.videos import write_video

KINDS = (".mp4", ".avi", ".gif", ".webm", ".jpg")
CODECS = {".mp4": ("mpeg4", "yuv420p"), ".avi": ("mjpeg", "yuvj420p"), ".gif": ("gif", "rgb8"),
          ".webm": ("libvpx", "yuv420p")}  # fmt: skip
PROCESSOR = AULLMVideoProcessor(size=16)


def seeds() -> list[bytes]:
    """The first byte chooses what the others are."""
    frames = [np.full((16, 16, 3), 30 * at, np.uint8) + np.arange(16, dtype=np.uint8)[:, None] for at in range(6)]
    found = [b"\4" + cv2.imencode(".jpg", frames[3])[1].tobytes()]
    with tempfile.TemporaryDirectory() as folder:
        for kind, (codec, pixels) in CODECS.items():
            path = write_video(Path(folder) / f"clip{kind}", frames, codec=codec, pixels=pixels)
            found.append(bytes([KINDS.index(kind)]) + path.read_bytes())
    return found


def attempt(data: bytes) -> str:
    kind = KINDS[data[0] % len(KINDS)] if data else ".mp4"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{kind}"
        path.write_bytes(data[1:])
        if kind == ".jpg":
            return outcome(lambda: read_image(path, path.name), path.name)
        return (
            "answered"
            if {outcome(read, types=(ValueError,)) for read in _readers(path)} == {"answered"}
            else "refused"
        )


def _readers(path: Path):
    yield lambda: PROCESSOR(str(path))
    yield lambda: probe_video(path, path.name)
    yield lambda: list(read_video(path, path.name, 1, 4, to_end=True))
    yield lambda: _read_all(VideoFrames(path))


def _read_all(frames: VideoFrames) -> None:
    with frames.reading() as get:
        for index in range(min(len(frames), 50)):
            get(index)
