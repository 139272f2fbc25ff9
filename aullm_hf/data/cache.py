"""Built clips as Arrow files in the `datasets` cache, keyed by everything that can change them.

The key is a digest of the source files (names, sizes, modification times), the options and the code that makes the
clips. A changed frame, option or fix rebuilds, and so does a damaged file of the cache; nothing else does. Of many
processes one builds and the others wait.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable
from functools import cache as remember
from pathlib import Path

from ..checksums import checksums, damage

logger = logging.getLogger(__name__)

SEAL = "checksums.json"
ROOM = Path(__file__).parent
# The code behind the two kinds of clips. Real ones: all of this room but what only looks at clips, writes them out or
# counts them, and but the synthetic wing. Synthetic ones: their wing and what it imports.
NOT_OF_REAL_CLIPS = ("__init__.py", "checks.py", "preview.py", "exporting.py", "published/counts.py", "synthetic/")
OF_SYNTHETIC_CLIPS = ("synthetic/", "schema.py", "labels.py", "facs.py", "template.py", "errors.py", "threads.py",
                      "published/counts.py")  # fmt: skip


@remember
def code_fingerprint(synthetic: bool, room: Path = ROOM) -> str:
    """Digest of the source that makes clips: a fixed parser or crop must not meet clips built before the fix."""
    digest = hashlib.sha256()
    for name in code_files(synthetic, room):
        digest.update(name.encode() + b"\0" + (room / name).read_bytes() + b"\0")
    return digest.hexdigest()


def code_files(synthetic: bool, room: Path = ROOM) -> list[str]:
    """The files below the room, by their relative names, that decide what a clip of this kind looks like."""
    names = sorted(path.relative_to(room).as_posix() for path in room.rglob("*") if path.suffix in (".py", ".json"))
    if synthetic:
        return [name for name in names if name.startswith(OF_SYNTHETIC_CLIPS)]
    return [name for name in names if not name.startswith(NOT_OF_REAL_CLIPS)]


def fingerprint(*, name: str, options: dict, files: list[tuple[str, int, int]] = ()) -> str:
    """`files`: (relative name, size, mtime in ns) of all that is read."""
    digest = hashlib.sha256()
    digest.update(json.dumps([name, options, code_fingerprint(name == "synthetic")], sort_keys=True).encode())
    for entry in sorted(files):
        digest.update(repr(entry).encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:32]


def cache_root(cache_dir: str | os.PathLike | None = None) -> Path:
    import datasets

    return Path(cache_dir or datasets.config.HF_DATASETS_CACHE).expanduser() / "aullm_clips"


def cached(name: str, key: str, build: Callable[[Path], None], *, cache_dir=None, rebuild: bool = False):
    """The Dataset under `key`; `build(directory)` writes it with `save_to_disk` or the like where it is missing."""
    from datasets import load_from_disk
    from filelock import FileLock

    home = cache_root(cache_dir) / name
    target = home / key
    if rebuild or not _whole(target):
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(str(home / f"{key}.lock")):
            if rebuild or not _whole(target):
                part = home / f"{key}-{uuid.uuid4().hex[:8]}.incomplete"
                part.mkdir()
                try:
                    build(part)
                    (part / SEAL).write_text(json.dumps(checksums(part)), encoding="utf-8")
                    if target.exists():  # a rebuild: processes that have the old file mapped keep reading it
                        target.rename(part.with_suffix(".replaced"))
                    part.rename(target)
                finally:
                    shutil.rmtree(part, ignore_errors=True)
                    shutil.rmtree(part.with_suffix(".replaced"), ignore_errors=True)
    return load_from_disk(str(target))


def _whole(target: Path) -> bool:
    """Whether every file is as it was built: a flipped byte would be a wrong pixel."""
    if not target.is_dir():
        return False
    try:
        damaged = damage(target, json.loads((target / SEAL).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        damaged = [f"{SEAL} cannot be read"]
    if damaged:
        logger.warning("The cached clips in %s are damaged (%s) and are built again", target, ", ".join(damaged[:3]))
    return not damaged
