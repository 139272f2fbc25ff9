"""Clips to read: a picture that moves, written as videos or as folders of frames."""

from pathlib import Path

import numpy as np

from aullm_hf.inference.reading.clip_source import ClipSource

FORMS = {"h264": ("mp4", "libx264", "yuv420p"), "lossless": ("mkv", "ffv1", "bgr0")}
DIFFERENT = 8  # clips that are written; further sources are these again


def write_clips(
    folder: Path, *, clips: int, frames: int, width: int, height: int, form: str, photo: Path | None = None
) -> list[ClipSource]:
    """`form`: one of FORMS, or `folder` for one folder of JPEG frames per clip."""
    import cv2

    picture = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    picture = cv2.imread(str(photo)) if photo else picture
    if picture is None:
        raise SystemExit(f"--photo {photo} cannot be read as a picture")
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    paths = []
    for clip in range(min(clips, DIFFERENT)):
        moved = [np.roll(picture, clip + frame // 4, axis=1) for frame in range(frames)]
        path = folder / f"clip{clip}"
        if form == "folder":
            path.mkdir()
            for number, frame in enumerate(moved):
                cv2.imwrite(str(path / f"img{number}.jpg"), frame)
        else:
            path = _write_video(path, moved, *FORMS[form])
        paths.append(path)
    return [ClipSource(f"clip {at}", paths[at % len(paths)]) for at in range(clips)]


def _write_video(path: Path, frames: list[np.ndarray], suffix: str, codec: str, pixels: str) -> Path:
    import av

    path = path.with_suffix(f".{suffix}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=200)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    return path
