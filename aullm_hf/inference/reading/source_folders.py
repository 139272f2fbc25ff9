"""A folder as sources: its videos, its numbered pictures as one clip, and the same of the folders in it.

Every visible file is either read, or a source with the reason why it is not.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from ...arguments import counted, first_few
from ...data.errors import DataError, printable
from ...data.reading.folders import Tree, natural_key
from ...data.reading.links import CIRCULAR
from .clip_source import ClipSource, is_image_name, is_video_name

MAX_DEPTH = 6


def sources_in_folder(path: Path) -> Iterator[ClipSource]:
    """A folder of frames, or one of videos, frame folders and further folders, in natural order."""
    sources = list(_sources(Tree(path), "", path, 0))
    if all(source.ignored for source in sources):
        yield ClipSource(printable(str(path)), reason="the folder holds neither videos nor numbered images")
    yield from sources


def _sources(tree: Tree, at: str, shown: Path, depth: int) -> Iterator[ClipSource]:
    def source(name: str = "", reason: str = "", **more) -> ClipSource:
        path = f"{at}/{name}".strip("/")
        return ClipSource(printable(str(shown / name)), None if reason else tree.absolute(path), reason=reason, **more)

    try:
        folders, files = tree.folders(at), tree.files(at)
    except DataError as error:
        yield source(reason=str(error))
        return
    folders, files = ([name for name in names if not name.startswith(".")] for names in (folders, files))
    videos = [name for name in files if is_video_name(name)]
    pictures = [name for name in files if is_image_name(name)]
    frames = [name for name in pictures if os.path.splitext(name)[0][-1:].isdigit()]
    if frames and len(frames) > len(videos):
        yield source()
    elif pictures:
        why = f"beside {counted(len(videos), 'video')}" if frames else "without numbers that order them as frames"
        names = first_few(map(printable, pictures), 3)
        yield source(reason=f"holds {counted(len(pictures), 'picture')} ({names}) {why}; name those of a clip")
    if not frames:  # beside frames, the clip's own row lists them
        for name in sorted({*files} - {*videos, *pictures}, key=natural_key):
            yield source(name, "is neither a video nor a picture", ignored=True)
    for name in sorted([*videos, *folders], key=natural_key):
        path = f"{at}/{name}".strip("/")
        if name in videos:
            yield source(name)
        elif path in tree.links:
            yield source(name, "is a link to a folder, which is not followed; name that folder itself")
        elif depth >= MAX_DEPTH:
            yield source(name, f"lies more than {MAX_DEPTH} folders deep; name it itself")
        else:
            yield from _sources(tree, path, shown / name, depth + 1)
    for path in [path for path in tree.circular if os.path.dirname(path) == at]:
        yield source(os.path.basename(path), CIRCULAR)
    for path in [path for path in tree.escaping if os.path.dirname(path) == at]:
        reason = "is a link that leads outside the folder and is not followed; name its target itself"
        yield source(os.path.basename(path), reason)


__all__ = ["sources_in_folder"]
