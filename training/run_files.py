"""The run folder while it is being written: the manifest, the locks, what is whole and what was cut short.

    run.json, config.yaml       what the run is, and what train.py takes to do it again; written first
    .locks/<fold>.lock          held by the process that trains the fold; a dead process holds nothing
    folds/<fold>/work/          the Trainer's checkpoints, sealed one by one, gone when the fold ends
    folds/<fold>/fold.json      written last: a fold is finished exactly when it is there

The locks are the operating system's (flock), so the kernel frees those of a killed process. On a network file system
they hold between machines only where it supports flock (NFS v4, Lustre with `-o flock`); where it does not, give each
job its own part with `--fold_shard`, which needs no lock.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from run_config import ConfigError, differences

from aullm_hf.evaluation.run_folder import read_json, write_json, write_text

SEAL = "sealed.json"


# -------------------------------------------------------------------- locks


@contextmanager
def locked(run_dir: Path, name: str, *, wait: bool) -> Iterator[bool]:
    """Hold a lock of the run; yields whether it was had (always, with `wait`)."""
    path = run_dir / ".locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(path), timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


# -------------------------------------------------------------------- the manifest


def open_run(run_dir: Path, info: dict[str, Any], plain: dict, identity: dict) -> None:
    """Write run.json, or join the run that is there; another run's folder is refused with what differs."""
    with locked(run_dir, "run", wait=True):
        path = run_dir / "run.json"
        if not path.exists():
            write_text(yaml.safe_dump(plain, sort_keys=False), run_dir / "config.yaml")
            write_json({**info, "identity": identity}, path)
            return
        there = read_json(path)
        lines = differences(identity, there.get("identity", {}))
        for name in ("fingerprint", "labels_fingerprint"):
            if there["data"][name] != info["data"][name]:
                lines.append(f"the data: {name} here {info['data'][name][:16]}, there {there['data'][name][:16]}")
        if lines:
            raise ConfigError(
                f"{run_dir} holds another run: " + "; ".join(lines) + ". Choose another folder with --output_dir, or "
                "delete that one."
            )
        if there["versions"] != info["versions"]:
            old, new = there["versions"], info["versions"]
            changed = ", ".join(f"{name} {old.get(name)} -> {new[name]}" for name in new if old.get(name) != new[name])
            print(f"Warning: the run was begun with other versions ({changed}): its folds may differ in bits.")


# -------------------------------------------------------------------- a fold


def is_finished(folder: Path) -> bool:
    """Whether the fold's work is done; a fold.json whose files are gone or of another size is an error."""
    if not (folder / "fold.json").is_file():
        return False
    for name, known in read_json(folder / "fold.json")["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != known["bytes"]:
            raise ConfigError(
                f"{folder / name} {'is gone' if size is None else f'has {size} bytes'}, fold.json says "
                f"{known['bytes']}: the finished fold was changed afterwards. Delete {folder} to train it again."
            )
    return True


def finish(folder: Path, entry: dict[str, Any]) -> None:
    """Write fold.json, with a checksum of every file beside it; then the Trainer's checkpoints may go."""
    for cut_short in folder.glob(".*.partial"):  # a killed process's
        shutil.rmtree(cut_short) if cut_short.is_dir() else cut_short.unlink()
    write_json({**entry, "files": checksums(folder, leave_out=("work", "fold.json"))}, folder / "fold.json")
    sync(folder)
    shutil.rmtree(folder / "work", ignore_errors=True)


def replace_folder(partial: Path, folder: Path) -> None:
    """Put a folder that is whole in its place."""
    for file in sorted(path for path in partial.rglob("*") if path.is_file()):
        sync(file)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def checksums(folder: Path, leave_out: tuple[str, ...] = ()) -> dict[str, dict]:
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if name.split("/")[0] not in leave_out and not name.startswith("."):
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            found[name] = {"bytes": file.stat().st_size, "sha256": digest}
    return found


def sync(path: Path) -> None:
    """Have the disk hold what was written, so that a power cut does not undo it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# -------------------------------------------------------------------- the Trainer's checkpoints


def seal(checkpoint: Path) -> None:
    """Mark a checkpoint as whole: the Trainer writes in place, so a cut one looks like any other."""
    for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
        sync(file)
    write_json(checksums(checkpoint, leave_out=(SEAL,)), checkpoint / SEAL)
    sync(checkpoint / SEAL)


def is_sealed(checkpoint: Path) -> bool:
    try:
        known = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return known == checksums(checkpoint, leave_out=(SEAL,))


def newest_checkpoint(work: Path) -> Path | None:
    """The latest whole checkpoint; the others are deleted."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    newest = next((path for path in found if is_sealed(path)), None)
    drop_checkpoints(work, but=newest)
    return newest


def drop_checkpoints(work: Path, but: Path | None) -> None:
    for path in work.glob("checkpoint-*"):
        if path != but:
            shutil.rmtree(path, ignore_errors=True)
