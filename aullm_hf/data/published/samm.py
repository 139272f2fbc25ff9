"""SAMM: 29 subjects with clips, 200 frames per second, gray JPEG of 960 x 650, no official face crops.

The table's header stands below a preamble of 13 rows; its Duration column is a formula and is not read. Zero padding
of the frames' names differs between clips.
"""

import re

from ..reading.records import Layout, Record

_SUBJECT = re.compile(r"0*(\d{1,3})")


def subject_of(text: str) -> str | None:
    """'006', '6' -> '006'."""
    match = _SUBJECT.fullmatch(text.strip())
    return f"{int(match[1]):03d}" if match else None


def release_of(file: str, rows: int, records: list[Record]) -> str:
    if rows == 159:
        return "SAMM Micro FACS Codes v2, 159 rows"
    return f"SAMM, unknown release, {rows} rows"


LAYOUT = Layout(
    name="samm",
    title="SAMM",
    fps=200.0,
    columns={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "inducement": ("Inducement Code",),
        "onset": ("Onset Frame",),
        "apex": ("Apex Frame",),
        "offset": ("Offset Frame",),
        "aus": ("Action Units",),
        "emotion": ("Estimated Emotion",),
    },
    subject_folder=re.compile(r"\d{3}"),
    subject_of=subject_of,
    table_names=("SAMM_Micro_FACS_Codes_v2.xlsx", "SAMM_20181215_Micro_FACS_Codes_v2.xlsx"),
    expected=("apex", "emotion", "inducement"),
    release_of=release_of,
    request="http://www2.docm.mmu.ac.uk/STAFF/M.Yap/dataset.php",
)
