"""CAS(ME)^3 part A: 94 subjects with micro-expressions, 30 frames per second, 1280 x 720 with depth (not read).

A folder holds a whole recording and up to 17 rows share its name, so the onset is part of every clip's key. About one
clip in ten lacks frames: its gaps are listed and it is loaded with the frames there are.
"""

import re

from ..reading.records import Layout

_SUBJECT = re.compile(r"(?:spNO\.?\s*)?0*(\d{1,4})", re.IGNORECASE)


def subject_of(text: str) -> str | None:
    """'spNO.1', '1' -> 'spNO.1'."""
    match = _SUBJECT.fullmatch(text.strip())
    return f"spNO.{int(match[1])}" if match else None


LAYOUT = Layout(
    name="casme3",
    title="CAS(ME)^3 part A",
    fps=30.0,
    columns={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("Onset",),
        "apex": ("Apex",),
        "offset": ("Offset",),
        "aus": ("AU", "AUs"),
        "emotion": ("emotion",),
    },
    subject_folder=re.compile(r"spNO\.?\s*\d{1,4}", re.IGNORECASE),
    subject_of=subject_of,
    table_names=("cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",),
    inner="color",
    request="http://casme.psych.ac.cn/casme/",
)
