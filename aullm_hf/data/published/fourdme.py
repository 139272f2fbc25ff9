"""4DME, the gray micro-expression videos: 60 frames per second, 640 x 480.

`(k)` marks an AU that is held during the whole clip; nothing moves, so it does not count unless static="keep".
Two recordings of one person carry a suffix (`S13_1st`, `S49_2`); the subject is the person, or a fold would leak.
The labels of two rows are said to be swapped in the first release, but only by row number, so they stand as they are.
"""

import re

from ..reading.records import Layout

_SUBJECT = re.compile(r"(?P<person>S?\d{1,3})(?:_(?:1st|2nd|3rd|\d))?", re.IGNORECASE)


def subject_of(text: str) -> str | None:
    """'S13_1st', 'S13' -> 'S13'."""
    match = _SUBJECT.fullmatch(text.strip())
    if not match:
        return None
    person = match["person"].upper()
    return person if person.startswith("S") else f"S{person}"


LAYOUT = Layout(
    name="4dme",
    title="4DME",
    fps=60.0,
    columns={
        "subject": ("sub_ID",),
        "clip": ("fold_name",),
        "onset": ("Onset",),
        "apex": ("Apex",),
        "offset": ("Offset",),
        "aus": ("AUs", "AU"),
        "emotion": ("Emotion",),
    },
    subject_folder=re.compile(_SUBJECT.pattern.replace("?P<person>", "?:"), re.IGNORECASE),
    subject_of=subject_of,
    table_names=("4DME_Labelling_Micro_release v1.xlsx",),
    prefer_images=("gray",),
    request="the Center for Machine Vision and Signal Analysis, University of Oulu",
)
