"""A model as somebody names it: a checkpoint's folder or a repository on the Hub, and what is wrong with it."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError

from ..checksums import damage_of_checkpoint
from ..hub_client import UNREACHABLE, be_patient
from ..model.locating import check_location


@contextmanager
def opening(model: str | os.PathLike, revision: str | None = None) -> Iterator[None]:
    """Around whatever reads a checkpoint: its errors name the model, in one line."""
    name = os.fspath(model)
    folder = Path(name)
    be_patient()
    check_location("model", name, revision=revision)
    if folder.is_dir() and revision:
        raise ValueError(f"revision={revision!r} is not allowed: the folder {name!r} has none, only a repository has")
    if folder.is_dir() and (found := damage_of_checkpoint(folder)):
        raise ValueError(
            f"the checkpoint {name!r} was changed since its fold was finished: {', '.join(found[:3])}. Put the files "
            "back, or copy the folder out of the run if the change is wanted"
        )
    try:
        yield
        if not folder.is_dir():
            check_download(name, revision)
    except SafetensorError as error:  # what an interrupted copy leaves, or a pointer in the place of a large file
        said = f"its weights are damaged ({error}); copy or download them again"
        raise OSError(f"the checkpoint {name!r} could not be read: {said}") from error
    except UNREACHABLE as error:
        said = " ".join(str(error).split())
        where = f"the checkpoint {name!r}" if folder.is_dir() else f"{name!r}, which is no folder here,"
        raise OSError(f"{where} could not be read: {said}") from error


def check_download(repo_id: str, revision: str | None, file: str = "model.safetensors") -> None:
    """Refuse weights that are not what was downloaded: in the cache, a file's own name is the hash of its content."""
    cached = try_to_load_from_cache(repo_id, file, revision=revision)
    blob = Path(os.path.realpath(cached)) if isinstance(cached, str) else Path()
    if not re.fullmatch(r"[0-9a-f]{64}", blob.name):  # not cached, or on a system without links
        return
    with blob.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != blob.name:
        raise OSError(f"its weights were damaged after they were downloaded; delete {blob}, then load it again")


def commit_of(model: str | os.PathLike, revision: str | None) -> str | None:
    """The commit that a repository was just read at; None for a folder."""
    if Path(model).is_dir():
        return None
    cached = try_to_load_from_cache(os.fspath(model), "config.json", revision=revision)
    commit = Path(cached).parent.name if isinstance(cached, str) else ""
    return commit if re.fullmatch(r"[0-9a-f]{40}", commit) else revision


def digest_of(model: str | os.PathLike) -> str | None:
    """Tells a folder's checkpoint (or a file) from one that was made again in its place; None for a repository."""
    folder = Path(model)
    if not folder.exists():
        return None
    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else [*folder.glob("*.json"), *folder.glob("*.safetensors")]
    for path in sorted(files):
        stat = path.stat()
        state = path.read_bytes() if path.suffix == ".json" else repr((stat.st_size, stat.st_mtime_ns)).encode()
        digest.update(path.name.encode() + b"\0" + state)
    return digest.hexdigest()[:16]


__all__ = ["check_download", "commit_of", "digest_of", "opening"]
