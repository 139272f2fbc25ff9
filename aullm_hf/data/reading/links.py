"""Links to folders, followed so that nothing is met twice: a link above itself would make a tree endless."""

import glob
import os

CIRCULAR = "is a link to a folder above it"
REPEATED = "is a link to a folder that is listed already"


def circular_link(path: str, start: str | os.PathLike = ".") -> str | None:
    """The first part of `path`, seen from the folder `start`, that is a link to a folder passed before, or above one.

    It is given as the beginning of `path`; None where no part is such a link.
    """
    prefixes = [os.sep] if path.startswith(os.sep) else []
    for part in path.split(os.sep):
        if part:
            prefixes.append(os.path.join(prefixes[-1] if prefixes else "", part))
    for at, prefix in enumerate(prefixes):
        here = os.path.join(start, prefix)
        if os.path.islink(here):
            target = os.path.realpath(here)
            passed = [os.path.realpath(os.path.join(start, before)) for before in ("", *prefixes[:at])]
            if any(_holds(target, folder) for folder in passed):
                return prefix
    return None


def recursive_glob(pattern: str) -> tuple[list[str], dict[str, str]]:
    """(the files that fit a pattern, the links that were left out with the reason of each).

    As `glob.glob(pattern, recursive=True)` without the folders, which would follow a circular link forty folders deep,
    and two of them for ever.
    """
    parts = pattern.split(os.sep)
    if "**" not in parts:
        return [match for match in glob.glob(pattern) if not os.path.isdir(match)], {}
    at = parts.index("**")
    above = os.sep.join(parts[:at]) or (os.sep if pattern.startswith(os.sep) else "")
    below = [part for part in parts[at + 1 :] if part not in ("", "**")] or ["*"]
    matches, left_out = {}, {}
    for start in glob.glob(above) if above else [""]:
        for folder in _folders_below(start, left_out):
            found = glob.glob(os.path.join(glob.escape(folder), *below))
            matches |= {match: True for match in found if not os.path.isdir(match)}
    return list(matches), left_out


def _folders_below(start: str, left_out: dict[str, str]) -> list[str]:
    """The folder and all below it but hidden ones, each once; links are followed after everything else."""
    folders: dict[str, str] = {}  # real path -> the path it is reached by
    waiting, links = [start], []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = os.path.realpath(folder or ".")
        if folder != start and os.path.islink(folder) and circular_link(folder):
            left_out[folder] = CIRCULAR
            continue
        if real in folders:
            left_out[folder] = REPEATED
            continue
        folders[real] = folder
        try:
            with os.scandir(folder or ".") as entries:
                for entry in entries:
                    if entry.is_dir() and not entry.name.startswith("."):
                        (links if entry.is_symlink() else waiting).append(os.path.join(folder, entry.name))
        except OSError:
            continue  # as glob does
    return list(folders.values())


def _holds(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
