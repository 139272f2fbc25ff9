"""MMEW: 300 micro-expressions, 90 frames per second, faces of 400 x 400.

Folders are sorted by emotion, some copies by subject and then emotion, and the folder's emotion is not always the
table's ("others" is also filed under "repression"): the clip's name, PersonIndex-EmotionIndex-SampleIndex, decides.
"""

import re

from ..reading.folders import Tree
from ..reading.records import Layout, Record

_SUBJECT = re.compile(r"S?0*(\d{1,3})", re.IGNORECASE)
_EMOTIONS = "happiness|happy|surprise|anger|angry|disgust|fear|sadness|sad|contempt|repression|others?"
_SAME = {"others": ("others", "other", "repression"), "other": ("others", "other", "repression")}


def subject_of(text: str) -> str | None:
    """'S13', '13' -> 'S13'."""
    match = _SUBJECT.fullmatch(text.strip())
    return f"S{int(match[1]):02d}" if match else None


def locate(tree: Tree, images: str, tops: list[str], record: Record) -> list[str]:
    """<emotion>/<clip> or <subject>/<emotion>/<clip>; the row's own emotion first where several hold the name."""
    emotions: dict[str, str] = {}
    for top in tops:
        path = f"{images}/{top}" if images else top
        if subject_of(top):
            emotions |= {f"{top}/{name}": below for name, below in tree.folders(path).items()}
        else:
            emotions[top] = path
    folders = {name: tree.child(path, record.clip) for name, path in emotions.items()}
    folders = {name.rsplit("/", 1)[-1].casefold(): path for name, path in folders.items() if path is not None}
    label = (record.emotion or "").casefold()
    named = [folders[name] for name in _SAME.get(label, (label,)) if name in folders]
    return named[:1] or list(folders.values())


def fits(top: str, record: Record) -> bool:
    return subject_of(top) in (None, record.subject)


LAYOUT = Layout(
    name="mmew",
    title="MMEW",
    fps=90.0,
    columns={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("OnsetFrame",),
        "apex": ("ApexFrame",),
        "offset": ("OffsetFrame",),
        "aus": ("Action Units",),
        "emotion": ("Estimated Emotion",),
    },
    subject_folder=re.compile(rf"(?:{_EMOTIONS})|S\d{{1,3}}", re.IGNORECASE),
    subject_of=subject_of,
    table_names=("MMEW_Micro_Exp_v2.xlsx", "MMEW_Micro_Exp.xlsx", "MMEW_Micro_Exp(20).xlsx"),
    foreign=("Inducement Code",),
    prefer_images=("micro_expression",),
    fits=fits,
    locate=locate,
    request="http://www.dpailab.com/database.html",
)
