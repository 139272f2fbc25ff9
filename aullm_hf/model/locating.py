"""Where a model is: a folder here or a repository on the Hub. One that is neither is refused at once, also offline."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from .arguments import shown

CONFIG = "config.json"
PROCESSOR = "video_preprocessor_config.json"


def hub_arguments(loading: dict[str, Any]) -> dict[str, Any]:
    """Of the arguments of a `from_pretrained`, those that say where files are looked for."""
    names = ("revision", "subfolder", "cache_dir", "local_files_only", "token")
    return {name: loading[name] for name in names if loading.get(name) is not None}


def check_location(
    argument: str,
    name: str | os.PathLike,
    *,
    revision: str | None = None,
    subfolder: str = "",
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
    file: str = CONFIG,
    advice: str = "",
) -> None:
    """Raise an error that says what was looked for and what to check, unless a model's folder or repository is there.

    The Hub is asked once, and only about a repository that is not in the cache.

    Args:
        argument: what the caller's argument is called, for the message.
        name: a folder, or a repository's name.
        file: what a folder has to hold.
        advice: what else can be done, a sentence.
        revision, subfolder, cache_dir, local_files_only, token: as for `from_pretrained`; `hub_arguments` picks them.
    """
    name = os.fspath(name)
    given = f"{argument} is {shown(name)}"
    if not name.strip():
        raise ValueError(f"{given}; give a folder, or a repository on the Hub.")
    if os.path.isdir(name):
        _check_folder(given, os.path.join(name, subfolder or ""), file)
        return
    if os.path.isfile(name):
        raise ValueError(f"{given}, a file; give the folder that holds it, or a repository on the Hub.")
    repository = _missing_repository(
        name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only, token=token
    )
    if repository is not None:
        folder = "no such folder" if os.path.isabs(name) else f"no folder {shown(os.path.abspath(name))}"
        raise FileNotFoundError(f"{given}: there is {folder}, and {repository}.{_suggestion(name)}{advice}")


def _check_folder(given: str, folder: str, file: str) -> None:
    if os.path.isfile(os.path.join(folder, file)) or os.path.isfile(os.path.join(folder, CONFIG)):
        return
    final, folds = os.path.join(folder, "final", "checkpoint"), os.path.join(folder, "folds")
    inner = os.path.join(folder, "checkpoint")
    if _is_model(inner):
        raise ValueError(f"{given}, the folder of a fold; its checkpoint is {inner!r}.")
    trained = [fold for fold in _names_in(folds) if _is_model(os.path.join(folds, fold, "checkpoint"))]
    checkpoints = [final] * _is_model(final) + [os.path.join(folds, fold, "checkpoint") for fold in trained[:1]]
    if checkpoints:
        others = f" Its folds are {', '.join(trained)} (folds/FOLD/checkpoint)." if trained else ""
        raise ValueError(
            f"{given}, the folder of a run; give one of its checkpoints, such as {checkpoints[0]!r}.{others}"
        )
    if os.path.isdir(folds):
        raise ValueError(
            f"{given}, the folder of a run in which no fold has been finished: it holds no checkpoint yet."
        )
    raise ValueError(f"{given}, a folder without a {file}, so no checkpoint. Give the folder that holds one.")


def _missing_repository(name: str, *, revision: str | None, local_files_only: bool, **hub: Any) -> str | None:
    """Why no repository of that name can be loaded; None where it can, or where loading it will say more."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return "no repository can have that name (it would be NAME or USER/NAME). Check the spelling"
    if isinstance(try_to_load_from_cache(name, CONFIG, revision=revision, cache_dir=hub["cache_dir"]), str):
        return None
    at = f" at revision {revision!r}" if revision else ""
    if local_files_only or constants.HF_HUB_OFFLINE:
        why = "local_files_only" if local_files_only else "HF_HUB_OFFLINE"
        return (
            f"no repository of that name{at} in the cache; the Hub was not asked, because {why} is set. Check the "
            "spelling, or load it once while online"
        )
    try:
        info = HfApi().model_info(name, revision=revision, token=hub["token"], timeout=constants.HF_HUB_ETAG_TIMEOUT)
        if CONFIG in {file.rfilename for file in info.siblings or ()}:
            return None
        branches = HfApi().list_repo_refs(name, token=hub["token"]).branches
        return _without_model(revision or "main", [ref.name for ref in branches])
    except GatedRepoError:
        return f"the repository of that name is gated. Ask for access on {constants.ENDPOINT}/{name}, then log in"
    except RevisionNotFoundError:
        return f"the repository of that name has no revision {revision!r}. Its page lists its branches"
    except RepositoryNotFoundError:
        return (
            f"no repository of that name on {constants.ENDPOINT} that this account may read. Check the spelling; for "
            "a private one, log in first (hf auth login)"
        )
    except HfHubHTTPError:  # a busy server: loading tries again, and says what came of it
        return None
    except Exception as error:
        # Each huggingface_hub has another HTTP library, whose ConnectError (or the like) is known by its name alone. A
        # line that was cut is left to the loader, which tries again.
        if "Connect" not in type(error).__name__ and not isinstance(error, OfflineModeIsEnabled):
            return None
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return (
            f"no repository of that name{at} in the cache; {constants.ENDPOINT} could not be asked ({why}). Check the "
            "spelling, then the network"
        )
    return None


def _without_model(revision: str, branches: Sequence[str]) -> str:
    """A pushed run without a final fit has no model on `main`, but one on the branch of each fold."""
    folds = sorted(branch for branch in branches if branch.startswith("fold-") and branch != revision)
    if not folds:
        return f"the repository of that name has no {CONFIG} at revision {revision!r}, so no model"
    return (
        f"the repository of that name has no model on {revision!r}, but one of each fold on {', '.join(folds)}: give "
        f"one as the revision, such as {folds[0]!r}; or push the run again after `aullm train .. --final_fit`"
    )


def _suggestion(name: str) -> str:
    """What lies where the path ends, spelled nearly alike."""
    parent, rest = os.path.abspath(name.replace("\0", "")), []
    while not os.path.isdir(parent):
        parent, missing = os.path.split(parent)
        rest.insert(0, missing)
    near = get_close_matches(rest[0], _names_in(parent), n=1) if rest else []
    if not near:
        return f" The folder {parent!r} exists, but holds no {rest[0]!r}." if rest and os.path.isabs(name) else ""
    path = os.path.join(parent, near[0], *rest[1:])
    path = path if os.path.exists(path) else os.path.join(parent, near[0])
    return f" Did you mean {path if os.path.isabs(name) else os.path.relpath(path)!r}?"


def _is_model(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, CONFIG))


def _names_in(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


__all__ = ["CONFIG", "PROCESSOR", "check_location", "hub_arguments"]
