"""The run folder while it is being written: locks, the manifest, finished and damaged folds, the report.

    run.json, config.yaml       what the run is, and what train.py takes to do it again; written first
    .locks/folds-<fold>.lock    held by the process that trains the fold; a dead process holds nothing
    folds/<fold>/work/          the Trainer's checkpoints; deleted when the fold is finished
    folds/<fold>/fold.json      written last, with every file's checksum: a fold is finished exactly when it is there
    folds/<fold>/failed.json    why it failed, until it is finished
    damaged/<fold>-<n>/         a finished fold that was changed afterwards, as it was found

The locks are the operating system's (flock), so the kernel frees those of a killed process. On a network file system
they hold between machines only where it supports flock (NFS v4, Lustre with `-o flock`); where it does not, give each
job its own part with `--fold_shard`, which needs no lock.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from ..arguments import first_few
from ..checksums import checksum, checksums, damage
from ..evaluation.run_folder import digest_matches, fold_damage, read_json, with_digest, write_json, write_text
from .checkpoints import sync
from .settings import ConfigError

REPORTED = ".locks/report.json"  # of which folds the tables are, and their checksums
FAILED = "failed.json"  # in a fold's folder: why it could not be finished
DATA_FINGERPRINTS = {
    "fingerprint": "the data, or the code that makes clips of it",
    "labels_fingerprint": "the labels",
}


# -------------------------------------------------------------------- locks


@contextmanager
def locked(run_dir: Path, name: str, *, wait: bool) -> Iterator[bool]:
    """Hold a lock of the run; yields whether it was free (always True with `wait`)."""
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


def lock_of(folder: Path) -> str:
    """The lock of a fold's folder, or of the final fit's: a fold may be called `final`, `run` or `report`."""
    return f"folds-{folder.name}" if folder.parent.name == "folds" else folder.name


# -------------------------------------------------------------------- the manifest


def open_run(run_dir: Path, info: dict[str, Any], plain: dict, identity: dict) -> None:
    """Write run.json, or join the run that is there; the folder of another run is refused with what differs."""
    with locked(run_dir, "run", wait=True):
        path = run_dir / "run.json"
        if not path.exists():
            write_text(yaml.safe_dump(plain, sort_keys=False), run_dir / "config.yaml")
            write_json(with_digest({**info, "identity": identity}), path)
            return
        there = _manifest(path)
        lines = _differences(identity, there["identity"])
        for name, meaning in DATA_FINGERPRINTS.items():
            if there["data"][name] != info["data"][name]:
                lines.append(f"{meaning}: {name} here {info['data'][name][:16]}, there {there['data'][name][:16]}")
        if lines:
            raise ConfigError(
                f"{run_dir} holds another run: " + "; ".join(lines) + ". Choose another folder with --output_dir, or "
                "delete that one."
            )
        if there["versions"] != info["versions"]:
            old, new = there["versions"], info["versions"]
            changed = ", ".join(f"{name} {old.get(name)} -> {new[name]}" for name in new if old.get(name) != new[name])
            print(f"Warning: the run was started with other versions ({changed}): its folds may differ in bits.")


def _differences(one: dict, other: dict) -> list[str]:
    """`section.field: here X, there Y` for every field in which two saved configurations differ."""
    lines = []
    for section in sorted({*one, *other}):
        here, there = one.get(section, {}), other.get(section, {})
        for name in sorted({*here, *there}):
            if here.get(name) != there.get(name):
                texts = [repr(fields[name]) if name in fields else "the default" for fields in (here, there)]
                lines.append(f"{section}.{name}: here {texts[0]}, there {texts[1]}")
    return lines


def _manifest(path: Path) -> dict[str, Any]:
    try:
        there = read_json(path)
        whole = {"identity", "data", "versions"} <= set(there) and digest_matches(there)
    except (ValueError, TypeError) as error:
        whole, reason = False, str(error)
    else:
        reason = f"'{path}' was changed or does not say what the run is"
    if not whole:
        raise ConfigError(
            f"{reason}, so it cannot be told whether this is the same run. Put a copy of it back; or, if "
            f"{path.parent} certainly is this command's (config.yaml there is its configuration), delete run.json: it "
            "is written again, and every finished fold is kept."
        )
    return there


# -------------------------------------------------------------------- a fold


def is_finished(folder: Path) -> bool:
    """Whether the fold is finished; a launch checks finished folds for damage first (`set_damaged_aside`)."""
    return (folder / "fold.json").is_file()


def set_damaged_aside(run_dir: Path, folders: Iterable[Path], *, retrain: bool) -> None:
    """Refuse finished folds whose files have changed, or with `retrain` move them away to be trained again.

    Another launch may do the same at the same time: it may have moved a fold away and be training it by now.
    """
    finished = [folder for folder in folders if is_finished(folder)]
    damaged = {folder: first_few(files, 3) for folder in finished if (files := fold_damage(folder))}
    if damaged and not retrain:
        folders = "; ".join(f"{folder} ({files})" for folder, files in damaged.items())
        raise ConfigError(
            f"damaged after they were finished: {folders}. Put the files back, or give the same command with "
            f"--retrain_damaged, which trains these folds again and keeps the old files under {run_dir / 'damaged'}."
        )
    for folder, files in damaged.items():
        with locked(run_dir, lock_of(folder), wait=False) as free:
            if not (free and is_finished(folder) and fold_damage(folder)):
                continue
            aside = next(path for n in count(1) if not (path := run_dir / "damaged" / f"{folder.name}-{n}").exists())
            aside.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, aside)
        print(f"{folder} is trained again ({files}); the old files are kept: {aside}", flush=True)
    for folder in finished:
        if folder not in damaged:  # its process was killed before it could delete this
            shutil.rmtree(folder / "work", ignore_errors=True)


def finish(folder: Path, entry: dict[str, Any]) -> None:
    """Write fold.json with the checksum of every other file, then delete the Trainer's checkpoints."""
    clear_partials(folder)
    (folder / FAILED).unlink(missing_ok=True)
    files = checksums(folder, leave_out=("work", "fold.json"))
    write_json(with_digest({**entry, "files": files}), folder / "fold.json")
    sync(folder)
    shutil.rmtree(folder / "work", ignore_errors=True)


def clear_partials(folder: Path) -> None:
    """Delete what killed processes have left unfinished; the caller holds the lock under which it is written."""
    for partial in folder.glob(".*.partial"):
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink()


# -------------------------------------------------------------------- the report


def clear_report_partials(run_dir: Path) -> None:
    """Delete what killed processes have left of tables, figures and card, also where the report itself is whole."""
    for folder in (run_dir, run_dir / "tables", run_dir / "figures"):
        clear_partials(folder)


def is_reported(run_dir: Path, folders: Iterable[Path]) -> bool:
    """Whether tables, figures and card are of these folds and unchanged: by content, not by time."""
    try:
        record = read_json(run_dir / REPORTED)
        current = record["folds"] == _fold_marks(folders) and not damage(run_dir, record["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return current and (run_dir / "README.md").is_file()  # the card may be edited


def mark_reported(run_dir: Path, folders: Iterable[Path]) -> None:
    files = [run_dir / name for name in ("predictions.parquet", "inner.parquet", "folds.json", "results.json")]
    files += sorted([*run_dir.glob("tables/*"), *run_dir.glob("figures/*")])
    written = {file.relative_to(run_dir).as_posix(): checksum(file) for file in files if file.is_file()}
    write_json({"folds": _fold_marks(folders), "files": written}, run_dir / REPORTED)


def _fold_marks(folders: Iterable[Path]) -> dict[str, str]:
    return {folder.name: checksum(folder / "fold.json")["sha256"] for folder in folders}
