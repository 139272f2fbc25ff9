"""What becomes of freed memory."""

import platform
import resource
import sys

import pytest
import torch

from aullm_hf.training import cpu
from support.processes import Started


def _faults_of_a_block_that_was_there_before() -> None:
    """Exits with 0 if 64 MiB that were freed are given again without the system clearing their pages once more."""
    cpu.keep_freed_memory()
    for _ in range(6):  # at first two places may take turns: an aligned block does not fit where an equal one lay
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**24)
    sys.exit(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before > 2**24 * 4 / resource.getpagesize() / 10)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in its own way")
def test_freed_memory_is_kept():
    # forked from a process that has the libraries and little else: what a session's tests left is no part of it
    assert Started(_faults_of_a_block_that_was_there_before).wait() == 0
