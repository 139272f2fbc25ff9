"""Video files of one's own as gray frames, through PyAV. Frames are counted from 1, as the data sets count theirs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import ClipError
from ..faces import to_gray
from .images import MAX_PIXELS

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"})
MAX_VIDEO_FRAMES = 100_000

# Only the container's own bytes, by formats that are their own container: a playlist (HLS, DASH, concat, image lists)
# would make FFmpeg open whatever other files or addresses it names.
_FORMATS = ("mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf,nut,ivf,obu,gif,mjpeg,"
            "h264,hevc,m4v,vc1,dv,rm,yuv4mpegpipe")  # fmt: skip
SAFE_READING = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}


def open_video(path: Path, name: str):
    """(av, container, its video stream); ClipError for what is none, or of an absurd size."""
    try:
        import av
    except ImportError:
        raise ImportError('reading video files needs PyAV: pip install "aullm-hf[video]"') from None
    try:
        # From the root on: `12:30.mp4` by itself would be an address of the protocol `12`.
        container = av.open(str(path.absolute()), metadata_errors="replace", options=SAFE_READING)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise ClipError(f"{name}: is no readable video ({getattr(error, 'strerror', None) or error})") from error
    if not container.streams.video:
        container.close()
        raise ClipError(f"{name}: holds no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        container.close()
        raise ClipError(f"{name}: its video is of a codec that is not known here")
    height, width = stream.codec_context.height, stream.codec_context.width
    if not 0 < height * width <= MAX_PIXELS:
        container.close()
        raise ClipError(f"{name}: frames of {width:,} x {height:,} pixels are refused, the limit is {MAX_PIXELS:,}")
    return av, container, stream


def upright(frame) -> np.ndarray:
    """(H, W) uint8 of a gray video's frame, (H, W, 3) RGB of a coloured one, turned as the camera says it was held."""
    array = frame.to_ndarray(format="gray" if frame.format.name.startswith("gray") else "rgb24")
    return np.ascontiguousarray(np.rot90(array, round(frame.rotation / 90)))


def probe_video(path: Path, name: str) -> tuple[int, float | None]:
    """(number of frames, frames per second), without decoding."""
    av, container, stream = open_video(path, name)
    with container:
        fps = float(stream.average_rate) if stream.average_rate else None
        count = 0
        try:
            for packet in container.demux(stream):
                count += packet.size > 0
                if count > MAX_VIDEO_FRAMES:
                    raise ClipError(f"{name}: more than {MAX_VIDEO_FRAMES:,} frames are refused")
        except av.FFmpegError as error:
            raise ClipError(f"{name}: the video is damaged ({error})") from error
    if count == 0:
        raise ClipError(f"{name}: the video has no frames")
    return count, fps


def read_video(path: Path, name: str, first: int, last: int, *, to_end: bool = False) -> Iterator[np.ndarray]:
    """Frames first..last (from 1) as (H, W) uint8; an error if the video ends before, unless read `to_end`."""
    av, container, stream = open_video(path, name)
    number = 0
    with container:
        try:
            for number, frame in enumerate(container.decode(stream), start=1):
                if number > last:
                    return
                if number >= first:
                    yield to_gray(upright(frame))
        except av.FFmpegError as error:
            raise ClipError(f"{name}: the video is damaged after frame {number} ({error})") from error
    if number < last and not to_end:
        raise ClipError(f"{name}: the video ends with frame {number}, but the clip runs from {first} to {last}")
