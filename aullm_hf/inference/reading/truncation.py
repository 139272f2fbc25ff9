"""Whether a video file ends before its end: an interrupted copy or recording reads as a shorter one otherwise."""

from pathlib import Path
from typing import Any

MP4_NAMES = frozenset({".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v"})


def truncation_note(path: Path, container: Any, stream: Any, packets: int, last: Any, damaged: bool) -> str:
    """What is known to be missing, by the file's own header; empty where nothing is.

    Args:
        container: what PyAV opened, all packets of its video stream read.
        packets: how many of them hold a frame.
        last: that of them which is shown last.
        damaged: whether any of them was read in part only.
    """
    if stream.frames > packets:
        return f"the file is cut off: {packets} of {stream.frames} frames are there"
    if damaged or (path.suffix.lower() in MP4_NAMES and _last_box_is_cut(path)):
        return f"the file is cut off after frame {packets}"
    if len(container.streams) == 1 and container.duration and last.pts is not None and last.duration:
        begin = container.start_time or 0
        missing = (begin + container.duration) / 1e6 - float((last.pts + last.duration) * last.time_base)
        if missing > max(2 * float(last.duration * last.time_base), 0.02 * container.duration / 1e6):
            return f"the file is cut off: its last {missing:.2f} of {container.duration / 1e6:.2f} s are not there"
    return ""


def _last_box_is_cut(path: Path) -> bool:
    """An MP4 file is a row of boxes, each with its length: the last of them ends with the file."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # the real length follows, in eight bytes
                length = int.from_bytes(head[8:16], "big")
            if length == 0:  # as far as the file reaches
                return False
            if len(head) < 8 or length < 8:
                return True
            at += length
    return at > size


__all__ = ["truncation_note"]
