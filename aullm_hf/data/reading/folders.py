"""Safe access to a data root: nothing outside it is read, no folder is endless, frames are ordered by number.

Names in spreadsheets are untrusted input: they are matched against what a folder lists, never joined to a path.
Symbolic links are followed only while they stay inside the root.
"""

import errno
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from ..errors import ClipError, UnsafePathError
from .links import circular_link

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"})
MAX_FOLDER_ENTRIES = 50_000  # a clip's folder; the longest whole recordings hold a few thousand frames
MAX_FOLDERS_SEARCHED = 20_000
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]|^~|^[A-Za-z]:")  # control characters, ends of lines
_NUMBERED = re.compile(r"^(?P<prefix>.*?)(?P<number>\d{1,18})$")


def natural_key(name: str) -> list:
    """Sort key: img2 before img10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name.casefold())]


def safe_name(name: str, what: str = "name", *, nested: bool = False) -> str:
    """The name itself, if it is one that stays in its folder; `nested` allows a/b but still no way up or out."""
    parts = re.split(r"[/\\]", name) if nested else [name]
    if not name.strip() or _UNSAFE.search(name) or any(part.strip() in ("", ".", "..") for part in parts):
        raise UnsafePathError(f"the {what} {name!r} leads outside the data root or is not a name; it is not followed")
    if not nested and ("/" in name or "\\" in name):
        raise UnsafePathError(
            f"the {what} {name!r} is a path, so it may lead outside the data root; it is not followed"
        )
    return name


@dataclass(frozen=True)
class Frame:
    """One image file; `path` is relative to the root, `size` and `mtime` are for the fingerprint."""

    number: int
    path: str
    size: int
    mtime: int


@dataclass
class FrameFolder:
    """The numbered images of one folder, in order, and the other files there."""

    path: str
    frames: list[Frame] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)  # frame numbers that two files claim
    rivals: tuple[str, ...] = ()  # prefixes of series of the same length: which of them is the clip?


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that the file system cannot hold
        return False


class Tree:
    """The files below one root."""

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root).expanduser()
        if not _is_folder(self.root):
            raise ClipError(f"{self.root} is not a folder; pass the folder the data set was unpacked into")
        self.real = Path(os.path.realpath(self.root))
        self.escaping: list[str] = []  # links met on the way that lead outside, or to nothing but themselves
        self.circular: list[str] = []  # those that lead to a folder above themselves
        self.links: set[str] = set()  # folders that are links, within the root
        self._listed: dict[str, tuple[dict[str, str], list[str]]] = {}
        self._ending: dict[tuple[str, frozenset[str]], list[str]] = {}
        self._scanned: dict[str, FrameFolder] = {}

    def absolute(self, path: str) -> Path:
        return self.real / path

    def inside(self, path: str) -> bool:
        """Whether a relative path stays below the root after all links are followed."""
        real = os.path.realpath(self.real / path)
        return real == str(self.real) or real.startswith(str(self.real).rstrip(os.sep) + os.sep)

    def endless(self, path: str) -> bool:
        """Whether a link leads to itself, by whatever way; to look at it is an error, and would hide all beside it."""
        try:
            os.stat(self.real / path)
        except OSError as error:
            return error.errno in (errno.ELOOP, errno.ENOTDIR)
        return False

    def _list(self, path: str) -> tuple[dict[str, str], list[str]]:
        """(subfolders by name, files) of a relative folder, without links that leave the root or are circular."""
        if path not in self._listed:
            folders: dict[str, str] = {}
            files: list[str] = []
            try:
                with os.scandir(self.real / path) as entries:
                    for count, entry in enumerate(entries):
                        if count >= MAX_FOLDER_ENTRIES:
                            raise ClipError(_too_many(path))
                        relative = f"{path}/{entry.name}" if path else entry.name
                        if entry.is_symlink() and not self.endless(relative) and circular_link(relative, self.real):
                            self.circular.append(relative)
                            continue
                        if entry.is_symlink() and (self.endless(relative) or not self.inside(relative)):
                            self.escaping.append(relative)
                            continue
                        if entry.is_dir():
                            if entry.is_symlink():
                                self.links.add(relative)
                            folders[entry.name] = relative
                        elif entry.is_file():
                            files.append(entry.name)
            except OSError as error:
                raise ClipError(f"the folder {path or '.'} cannot be read: {error.strerror or error}") from error
            self._listed[path] = folders, sorted(files, key=natural_key)
        return self._listed[path]

    def folders(self, path: str = "") -> dict[str, str]:
        return self._list(path)[0]

    def files(self, path: str = "") -> list[str]:
        return self._list(path)[1]

    def files_ending(self, path: str, suffixes: frozenset[str]) -> list[str]:
        """The folder's files of these kinds; remembered, since every row of a table may ask again."""
        if (path, suffixes) not in self._ending:
            chosen = [name for name in self.files(path) if os.path.splitext(name)[1].lower() in suffixes]
            self._ending[path, suffixes] = chosen
        return self._ending[path, suffixes]

    def child(self, path: str, name: str) -> str | None:
        """The subfolder of that name; without regard to case or blanks around it where only one fits."""
        try:
            folders = self.folders(path)
        except ClipError:
            return None
        if name in folders:
            return folders[name]
        close = [
            relative for other, relative in folders.items() if other.strip().casefold() == name.strip().casefold()
        ]
        return close[0] if len(close) == 1 else None

    def walk(self, *, depth: int, stop) -> list[str]:
        """Relative folders from the top down, at most `depth` deep, not below those whose name `stop` accepts.

        Links are not walked: what they lead to inside the root is met anyway, and a loop would never end.
        """
        folders, level = [""], [""]
        for _ in range(depth):
            below = []
            for parent in level:
                try:
                    children = self.folders(parent)
                except ClipError:
                    continue  # an unreadable or overfull folder holds no data set's roots; scanning it says so
                below += [path for name, path in sorted(children.items()) if not stop(name) and path not in self.links]
            folders += below
            if len(folders) > MAX_FOLDERS_SEARCHED:
                raise ClipError(
                    f"{self.root} has over {MAX_FOLDERS_SEARCHED:,} folders; pass the data set's own folder as root"
                )
            level = below
        return folders

    def scan(self, path: str) -> FrameFolder:
        """The frames of a clip's folder. ClipError for a folder that is too full, leaves the root or is gone."""
        if path not in self._scanned:
            self._scanned[path] = self._scan(path)
        return self._scanned[path]

    def _scan(self, path: str) -> FrameFolder:
        if not self.inside(path):
            raise UnsafePathError(
                f"the folder {path!r} is a link that leads outside the data root; it is not followed"
            )
        groups: dict[str, list[Frame]] = defaultdict(list)
        folder = FrameFolder(path)
        try:
            with os.scandir(self.real / path) as entries:
                for count, entry in enumerate(entries):
                    if count >= MAX_FOLDER_ENTRIES:
                        raise ClipError(_too_many(path))
                    stem, suffix = os.path.splitext(entry.name)
                    numbered = _NUMBERED.match(stem) if suffix.lower() in IMAGE_SUFFIXES else None
                    relative = f"{path}/{entry.name}" if path else entry.name
                    if numbered is None or entry.name.startswith("._"):
                        folder.stray.append(entry.name)
                        continue
                    if entry.is_symlink() and not self.inside(relative):
                        raise UnsafePathError(f"the frame {relative!r} is a link that leads outside the data root")
                    if not entry.is_file():
                        folder.stray.append(entry.name)
                        continue
                    stat = entry.stat()
                    frame = Frame(int(numbered["number"]), relative, stat.st_size, stat.st_mtime_ns)
                    groups[numbered["prefix"].casefold()].append(frame)
        except OSError as error:
            raise ClipError(f"the folder {path} cannot be read: {error.strerror or error}") from error
        if groups:  # frames of one clip share the text before the number; anything else lies there by chance
            most = max(map(len, groups.values()))
            main, *rivals = sorted(prefix for prefix in groups if len(groups[prefix]) == most)
            folder.rivals = (main, *rivals) if rivals else ()
            folder.stray += [frame.path.rsplit("/", 1)[-1] for key in groups if key != main for frame in groups[key]]
            folder.frames = sorted(groups[main], key=lambda frame: (frame.number, frame.path))
            numbers = [frame.number for frame in folder.frames]
            folder.twice = sorted({a for a, b in pairwise(numbers) if a == b})
        folder.stray.sort(key=natural_key)
        return folder


def _too_many(path: str) -> str:
    return (
        f"the folder {path or '.'} holds more than {MAX_FOLDER_ENTRIES:,} files and is refused; "
        "a clip's folder holds its frames only"
    )
