"""Files a command writes: refused before any work where they could not be."""

import os
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


__all__ = ["OutputError", "check_output_folder"]
