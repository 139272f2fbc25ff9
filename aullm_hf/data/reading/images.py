"""Image files as gray arrays: sizes are read from the header before anything is decoded, and half files are refused.

OpenCV fills what a truncated JPEG lacks with gray and says nothing, so the end of the file is looked at first.
"""

import struct
from pathlib import Path

import numpy as np

from ..errors import ClipError

MAX_PIXELS = 2**27  # about 11,500 x 11,500; the largest camera of these data sets has 2040 x 1088
MAX_IMAGE_BYTES = 2**27
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the markers that carry height and width


def import_cv2():
    """OpenCV, or an error that names the extra."""
    try:
        import cv2
    except ImportError:
        raise ImportError('reading images needs OpenCV: pip install "aullm-hf[data]"') from None
    return cv2


def read_gray(path: Path, name: str) -> np.ndarray:
    """(H, W) uint8: OpenCV's weights of the decoded colours.

    Videos and arrays are weighed alike, so that the same frames give the same crop in whatever form they come.
    """
    image = read_image(path, name)
    return image if image.ndim == 2 else import_cv2().cvtColor(image, import_cv2().COLOR_RGB2GRAY)


def read_image(path: Path, name: str) -> np.ndarray:
    """(H, W) uint8 of a gray file, (H, W, 3) RGB of a coloured one; transparency is left out.

    Raises ClipError, naming the file, for what is no whole image of a sane size.
    """
    cv2 = import_cv2()
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise ClipError(f"{name}: cannot be read: {error.strerror or error}") from error
    check_image(memoryview(data).cast("B") if data.size else memoryview(b""), name)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR)
    except cv2.error as error:
        raise ClipError(f"{name}: cannot be decoded ({error.err or error})") from error
    if image is None or image.size == 0:
        raise ClipError(f"{name}: cannot be decoded; the file is damaged")
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def check_image(data: memoryview | bytes, name: str) -> tuple[int, int]:
    """(height, width) from the header; ClipError for an unknown format, a half file or an absurd size."""
    if len(data) == 0:
        raise ClipError(f"{name}: the file is empty")
    if len(data) > MAX_IMAGE_BYTES:
        raise ClipError(f"{name}: {len(data):,} bytes are refused, the limit is {MAX_IMAGE_BYTES:,}")
    start = bytes(data[:32])
    try:
        if start.startswith(b"\xff\xd8"):
            height, width, whole = _jpeg(data)
        elif start.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height = struct.unpack(">II", start[16:24])
            whole = b"IEND" in bytes(data[-64:])
        elif start.startswith(b"BM"):
            height, width, whole = _bmp(start, len(data))
        elif start[:4] in (b"II*\0", b"MM\0*"):
            height, width, whole = _tiff(data)
        else:
            raise ClipError(f"{name}: is no JPEG, PNG, BMP or TIFF file; it starts with {start[:8]!r}")
    except (struct.error, IndexError) as error:
        raise ClipError(f"{name}: the image's header is cut short") from error
    if height <= 0 or width <= 0:
        raise ClipError(f"{name}: the image's header gives no size; the file is damaged")
    if height * width > MAX_PIXELS:
        raise ClipError(f"{name}: {width:,} x {height:,} pixels are refused, the limit is {MAX_PIXELS:,} pixels")
    if not whole:
        raise ClipError(f"{name}: the file is truncated, its end is missing")
    return height, width


def _jpeg(data: memoryview | bytes) -> tuple[int, int, bool]:
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return 0, 0, False
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD8:  # padding and markers without a body
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_SIZES:
            height, width = struct.unpack(">HH", bytes(data[at + 5 : at + 9]))
            return height, width, b"\xff\xd9" in bytes(data[max(at, len(data) - 4096) :])
        if marker in (0xD9, 0xDA):
            return 0, 0, False
        at += 2 + struct.unpack(">H", bytes(data[at + 2 : at + 4]))[0]
    return 0, 0, False


def _bmp(start: bytes, length: int) -> tuple[int, int, bool]:
    offset, header = struct.unpack("<I", start[10:14])[0], struct.unpack("<I", start[14:18])[0]
    if header == 12:
        width, height, _, bits = struct.unpack("<HHHH", start[18:26])
        compression = 0
    else:
        width, height, _, bits = struct.unpack("<iiHH", start[18:30])
        compression = start[30]
    height = abs(height)
    row = (width * bits + 31) // 32 * 4
    return height, width, compression != 0 or length >= offset + row * height


def _tiff(data: memoryview | bytes) -> tuple[int, int, bool]:
    order = "<" if bytes(data[:2]) == b"II" else ">"
    at = struct.unpack(order + "I", bytes(data[4:8]))[0]
    if at + 2 > len(data):
        return 1, 1, False  # the directory is written last by most programs: the file is cut
    size = {}
    for entry in range(struct.unpack(order + "H", bytes(data[at : at + 2]))[0]):
        tag, kind = struct.unpack(order + "HH", bytes(data[at + 2 + 12 * entry : at + 6 + 12 * entry]))
        if tag in (256, 257):  # ImageWidth, ImageLength; SHORT or LONG
            value = bytes(data[at + 10 + 12 * entry : at + 14 + 12 * entry])
            size[tag] = struct.unpack(order + ("H" if kind == 3 else "I"), value[: 2 if kind == 3 else 4])[0]
    return size.get(257, 0), size.get(256, 0), True
