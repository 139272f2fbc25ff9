"""Video files and frame folders of known frames, made on the spot."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def write_video(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    codec: str = "ffv1",
    pixels: str | None = None,
    rate: float = 25,
    times: Sequence[float] | None = None,  # milliseconds, where the rate varies
    rotation: int | None = None,  # degrees counterclockwise that a player has to turn it by
    **options: str,
) -> Path:
    """Frames (H, W) or (H, W, 3) uint8 to a file; FFV1 keeps every bit, gray or coloured."""
    gray = frames[0].ndim == 2
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels or ("gray" if gray else "bgr0")
        stream.options = options
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for at, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gray" if gray else "rgb24")
            if times is not None:
                picture.pts, picture.time_base = int(times[at]), Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def write_folder(folder: Path, frames: Sequence[np.ndarray], name: str = "img{}.png", first: int = 1) -> Path:
    """Frames as numbered image files, not zero padded, as the data sets have them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames, start=first):
        cv2.imwrite(str(folder / name.format(number)), frame if frame.ndim == 2 else frame[:, :, ::-1])
    return folder


def noise(count: int, height: int = 48, width: int = 64, seed: int = 0, colour: bool = False) -> list[np.ndarray]:
    """Frames of which no two are alike."""
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (count, height, width, 3) if colour else (count, height, width), dtype=np.uint8))


def moving(photo: np.ndarray, shifts: Sequence[tuple[float, float]]) -> list[np.ndarray]:
    """The photograph moved by (right, down) pixels, its edge going on outside."""
    height, width = photo.shape[:2]
    return [
        cv2.warpAffine(
            photo, np.array([[1, 0, right], [0, 1, down]], float), (width, height),
            flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
        )
        for right, down in shifts
    ]  # fmt: skip
