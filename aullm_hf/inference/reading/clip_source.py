"""One clip or recording as it was named, before anything of it is read; and what names say of files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.reading.folders import IMAGE_SUFFIXES
from ...data.reading.videos import VIDEO_SUFFIXES

VIDEO_NAMES = VIDEO_SUFFIXES | {".mts", ".m2ts", ".ts", ".flv", ".3gp", ".3g2", ".ogv", ".vob", ".asf", ".y4m", ".mxf",
                                ".gif", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".hevc", ".divx", ".f4v", ".mpe",
                                ".m2v", ".nut", ".ivf"}  # fmt: skip


@dataclass(frozen=True)
class ClipSource:
    """One clip or recording, unread, and the part of it that is asked for."""

    name: str
    path: Path | None = None  # a video file or a folder of frames
    frames: Sequence[Any] | None = None  # or frames in memory, or the paths of images
    start: float | None = None  # seconds
    end: float | None = None
    onset: int | None = None  # frame numbers, as a folder's files are numbered; a video's count from 1
    offset: int | None = None
    fps: float | None = None  # the true rate, where the file's own is missing or wrong
    reason: str = ""  # why it cannot be read, where that is known already
    columns: Mapping[str, Any] = field(default_factory=dict)  # of the caller's table, as given
    missing: bool = False  # the caller named it, and there is no such file
    ignored: bool = False  # lies in a folder that the caller named, and is neither a video nor a picture


def is_image_name(path: str | os.PathLike) -> bool:
    return os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES


def is_video_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in VIDEO_NAMES


__all__ = ["ClipSource", "is_image_name", "is_video_name"]
