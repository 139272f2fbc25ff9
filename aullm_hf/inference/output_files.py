"""Files a command writes: refused before any work where they could not be, never half there, named when it fails."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class OutputError(ValueError):
    """What is at the output's place does not let it be written."""


def check_output_folder(folder: Path) -> None:
    """Refuse a folder that does not exist and could not be made, or that may not be written to."""
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir():
        raise OutputError(f"{existing} is a file, so nothing can be written below it; give another place with --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {existing} may not be written to; give another place with --out")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An error of the system (a full disk, most often) names the file that was being written."""
    try:
        yield
    except OSError as error:
        raise OSError(f"{path} could not be written: {error.strerror or error}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to; it takes `path`'s place once it is whole, and is deleted otherwise."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        with naming(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


__all__ = ["OutputError", "check_output_folder", "naming", "replacing"]
