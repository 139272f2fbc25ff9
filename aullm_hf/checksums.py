"""Which files a folder held when it was finished, by size and SHA-256, and which of them have changed since."""

import hashlib
import json
from collections.abc import Container, Mapping
from pathlib import Path


def checksums(folder: str | Path, leave_out: Container[str] = ()) -> dict[str, dict]:
    """Name -> {bytes, sha256} of every file below the folder that is not hidden; `leave_out`: names at its top."""
    folder, sums = Path(folder), {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if name.split("/")[0] not in leave_out and not name.startswith("."):
            sums[name] = checksum(file)
    return sums


def checksum(file: Path) -> dict:
    with file.open("rb") as stream:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}


def damage(folder: str | Path, known: Mapping[str, Mapping], *, by_size: bool = False) -> list[str]:
    """What is wrong with the files that a folder should hold: `NAME is gone`, `NAME has 3 bytes, not 5`, ..

    `by_size` looks at presence and size alone, so that no file is read.
    """
    folder, problems = Path(folder), []
    for name, whole in known.items():
        file = folder / name
        if not file.is_file():
            problems.append(f"{name} is gone")
        elif (size := file.stat().st_size) != whole["bytes"]:
            problems.append(f"{name} has {size} bytes, not {whole['bytes']}")
        elif not by_size and checksum(file)["sha256"] != whole["sha256"]:
            problems.append(f"{name} does not have its checksum")
    return problems


def damage_of_checkpoint(folder: str | Path) -> list[str]:
    """What is wrong with a fold's checkpoint, by the fold.json beside it; empty without one."""
    folder = Path(folder).absolute()  # `.` has neither a name nor a parent
    entry, own = folder.parent / "fold.json", f"{folder.name}/"
    if not entry.is_file():
        return []
    try:
        files = json.loads(entry.read_text(encoding="utf-8"))["files"]
        return damage(folder.parent, {name: whole for name, whole in files.items() if name.startswith(own)})
    except (ValueError, TypeError, KeyError, AttributeError):
        return [f"{entry} cannot be read"]
