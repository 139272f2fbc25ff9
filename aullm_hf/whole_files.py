"""Files that are whole or not there, and errors that name the file that was being written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An error of the system (a full disk, most often) names the file that was being written."""
    try:
        yield
    except OSError as error:
        named = OSError(f"{path} could not be written: {error.strerror or error}")
        named.errno = error.errno  # without becoming a part of the message
        raise named from error


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of the file once it is whole: a killed process leaves the old one."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            with partial.open("rb") as stream:  # a power cut must not leave the new name on what was never written
                os.fsync(stream.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


__all__ = ["naming", "replacing"]
