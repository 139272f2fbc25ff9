"""A fold that fails is reported and the others continue; the exit status is then 1.

A fold fails when its loss or weights are nan or infinite, when the device's memory is too small for it even with its
batch in parts, or by any other error of its own. What concerns the whole launch ends it: settings, data, the disk, a
device in an error state, a request to stop.
"""

import errno
import gc
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from safetensors import SafetensorError

from ..data import DataError
from ..evaluation.run_folder import read_json, write_json
from .checkpoints import is_sealed, seal, sealed_checkpoint
from .context import RunContext
from .distributed import broadcast_from_first
from .nonfinite import NotFinite
from .run_state import FAILED, is_finished
from .settings import ConfigError

IN_PARTS = Path("work", "in_parts")  # in a fold's folder: its training takes each batch in parts
NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def attempt(train: Callable[[RunContext], None], context: RunContext, folder: Path) -> str | None:
    """Train a fold; the reason why it failed, or None. Every process of a data-parallel run calls this."""
    before = broadcast_from_first(_parts_of(folder) if context.training.should_save else 1)
    error = _error_of(train, replace(context, batch_parts=before))
    batch = context.training.per_device_train_batch_size
    parts = next((one for one in range(2, batch + 1) if batch % one == 0), 1)
    if error is not None and is_out_of_memory(error) and before == 1 and parts > 1:
        print(
            f"Fold {folder.name}: the device's memory is too small for a batch of {batch} ({_first_line(error)}). "
            f"It starts again with {batch // parts} clips at a time, {parts} times accumulated. The effective batch "
            "stays; batch norm sees smaller ones, so its figures are not comparable bit for bit with other folds'.",
            flush=True,
        )
        shutil.rmtree(folder / "work", ignore_errors=True)
        write_json({"parts": parts}, folder / IN_PARTS / "parts.json")
        seal(folder / IN_PARTS)
        error = None  # frees what it holds of the device before the fold starts again
        free_memory()
        error = _error_of(train, replace(context, batch_parts=parts))
    if error is None:
        return None
    reason = _reason(error, batch)
    if context.training.should_save:
        _record(error, reason, folder)
        message = f"Fold {folder.name} FAILED: {reason}. The other folds continue; details: {folder / FAILED}"
        print(message, file=sys.stderr, flush=True)
    error = None
    free_memory()
    return reason


class Failures:
    """The folds that failed since this launch began, in any process of the run."""

    def __init__(self, folders: Sequence[Path]):
        self.folders = folders
        self.known = {folder: _attempts(folder) for folder in folders}

    def has(self, folder: Path) -> bool:
        return not is_finished(folder) and _attempts(folder) > self.known[folder]

    def reasons(self) -> dict[str, str]:
        return {folder.name: read_json(folder / FAILED)["reason"] for folder in self.folders if self.has(folder)}


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or should_reduce_batch_size(error)


def os_error_behind(error: BaseException | None) -> OSError | None:
    """The operating system's error that caused another one: no space, no permission, no handles; None without."""
    while error is not None:
        if isinstance(error, OSError) and error.errno:
            return error
        if isinstance(error, SafetensorError) and (number := re.search(r"os error (\d+)", str(error))):
            return OSError(int(number[1]), os.strerror(int(number[1])))
        error = error.__cause__
    return None


def free_memory() -> None:
    gc.collect()
    clear_device_cache()


def _error_of(train: Callable[[RunContext], None], context: RunContext) -> Exception | None:
    try:
        train(context)
    except Exception as error:
        # The other processes of a data-parallel run know of non-finite values only.
        ends_them_all = context.training.world_size > 1 and not isinstance(error, NotFinite)
        if ends_them_all or _ends_the_launch(error):
            raise
        return error
    return None


def _ends_the_launch(error: Exception) -> bool:
    if isinstance(error, ConfigError | DataError):
        return True
    if is_out_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or os_error_behind(error) is not None


def _reason(error: Exception, batch: int) -> str:
    if is_out_of_memory(error):
        return (
            f"out of memory with its batch in parts too ({_first_line(error)}); lower per_device_train_batch_size "
            f"(now {batch}) and raise gradient_accumulation_steps by as much, in another --output_dir"
        )
    return _first_line(error) if isinstance(error, NotFinite) else f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _record(error: Exception, reason: str, folder: Path) -> None:
    good = sealed_checkpoint(folder / "work")
    entry = {
        "fold": folder.name,
        "attempt": _attempts(folder) + 1,
        "reason": reason,
        "last_good_checkpoint": good.relative_to(folder).as_posix() if good else None,
    }
    if isinstance(error, NotFinite):
        entry |= {"step": error.step, "clips": error.clips, "terms": {k: str(v) for k, v in error.terms.items()}}
    lines = "".join(traceback.format_exception(error)).splitlines()
    write_json(entry | {"traceback": lines}, folder / FAILED)


def _attempts(folder: Path) -> int:
    try:
        return int(read_json(folder / FAILED)["attempt"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _parts_of(folder: Path) -> int:
    """In how many parts an unfinished training takes its batches; where that cannot be read, it starts again."""
    if is_sealed(folder / IN_PARTS):
        return int(read_json(folder / IN_PARTS / "parts.json")["parts"])
    if (folder / IN_PARTS).exists():
        shutil.rmtree(folder / "work")
    return 1
