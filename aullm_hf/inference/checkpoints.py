"""A model as somebody names it: a checkpoint's folder or a repository on the Hub, and what is wrong with it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def opening(model: str | os.PathLike, revision: str | None = None) -> Iterator[None]:
    """Around whatever reads a checkpoint: its errors name the model, in one line.

    A wrong path is told before the Hub is asked, which would speak of repositories.
    """
    name = os.fspath(model)
    folder = Path(name)
    if folder.is_file():
        raise ValueError(f"model={name!r} is a file; give the folder of the checkpoint")
    looks_like_a_path = folder.is_absolute() or len(folder.parts) > 2
    if not name.strip() or (looks_like_a_path and not folder.is_dir()):
        raise ValueError(
            f"model={name!r} is no folder; give a checkpoint's, or a repository on the Hub such as me/casme2-aullm"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():  # a run's folder, most often
        nested = (found for deep in range(1, 4) for found in sorted(folder.glob("*/" * deep + "config.json")))
        below = next(nested, None)
        hint = f"; did you mean {str(below.parent)!r}?" if below else ""
        raise ValueError(f"model={name!r} is a folder without a config.json, so no checkpoint{hint}")
    if folder.is_dir() and revision:
        raise ValueError(f"revision={revision!r} is not allowed: the folder {name!r} has none, only a repository has")
    try:
        yield
    except SafetensorError as error:  # what an interrupted copy leaves, or a pointer in the place of a large file
        said = f"its weights are damaged ({error}); copy or download them again"
        raise OSError(f"the checkpoint {name!r} could not be read: {said}") from error
    except OSError as error:
        said = " ".join(str(error).split())
        where = f"the checkpoint {name!r}" if folder.is_dir() else f"{name!r}, which is no folder here,"
        raise OSError(f"{where} could not be read: {said}") from error


__all__ = ["opening"]
