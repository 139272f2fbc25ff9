"""What a test session leaves behind: it may write into pytest's temporary folder and the checkout's ignored folders.

The session gets a home and a folder for temporary files of its own, inside pytest's. So what a library puts into
either is gone with pytest's folder, and what is still lying in the latter at the end was left by a test.
"""

import fnmatch
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
HOME = Path.home()  # before `isolate`
# What libraries derive from the home unless it is set.
OF_THE_HOME = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_MODULES_CACHE", "HF_TOKEN_PATH", "MPLCONFIGDIR",
               "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TORCH_HOME")  # fmt: skip


CACHES = ("gradio",)  # folders that libraries keep among the temporary files of a user
OF_PROCESSES = "pymp-"  # the socket of tests/support/processes.py's server: gone with this process


def isolate(folder: Path) -> None:
    """Give this process, and every process that it starts, a home and a temporary folder below `folder`.

    Of the caches, the LLMs that were fetched for the tests are linked: they are only read.
    """
    fetched = Path(os.environ.get("HF_HOME") or HOME / ".cache" / "huggingface").absolute() / "local_llms"
    os.environ["TEST_SESSION"] = str(folder)  # for what lasts as long as the session
    for variable, name in {"HOME": "home", "TMPDIR": "temporary", "TORCHINDUCTOR_CACHE_DIR": "compiled"}.items():
        (folder / name).mkdir()
        os.environ[variable] = str(folder / name)
    for variable in OF_THE_HOME:
        os.environ.pop(variable, None)
    if fetched.is_dir():
        cache = folder / "home" / ".cache" / "huggingface"
        cache.mkdir(parents=True)
        (cache / fetched.name).symlink_to(fetched)
    tempfile.tempdir = None  # found anew from TMPDIR


def snapshot() -> set[Path]:
    """Everything that lies where a test session should leave nothing: by name, not by content."""
    places = [Path("/"), HOME, HOME / ".cache", HOME / ".config", HOME / ".local" / "share"]
    found = {path for place in places for path in _inside(place)}
    return found | set(_temporary()) | set(_of_the_checkout())


def _inside(folder: Path) -> Iterator[Path]:
    try:
        yield from (Path(entry.path) for entry in os.scandir(folder))
    except OSError:  # not there, or not ours to read
        return


def _temporary() -> Iterator[Path]:
    found = _inside(Path(tempfile.gettempdir()))
    return (path for path in found if path.name not in CACHES and not path.name.startswith(OF_PROCESSES))


def _of_the_checkout() -> Iterator[Path]:
    """Files of the checkout, but for what .gitignore names."""
    lines = (CHECKOUT / ".gitignore").read_text(encoding="utf-8").split()
    ignored = [".git", *(line.strip("/") for line in lines)]
    for folder, folders, files in os.walk(CHECKOUT):
        kept = [name for name in (*folders, *files) if not any(fnmatch.fnmatch(name, one) for one in ignored)]
        folders[:] = set(folders) & set(kept)
        yield from (Path(folder) / name for name in kept)


__all__ = ["isolate", "snapshot"]
