"""What a CPU needs to train quickly beside arithmetic that it has (../widening.py): memory that it keeps."""

import ctypes
import platform
import sys

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1  # of glibc's mallopt


def keep_freed_memory() -> None:
    """Let glibc reuse large blocks: it would return those of every step to the system, which clears them each time."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
