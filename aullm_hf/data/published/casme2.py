"""CASME II: 26 subjects, 200 frames per second, 640 x 480 with official face crops of about 280 x 340.

The public table of 2019-07-01 has 255 rows. Figures published on 256 rows rest on another, re-labelled file, so the
release is named in every report and none of that file's corrections is applied here.
"""

import re

from ..reading.records import Layout, Record

_SUBJECT = re.compile(r"(?:sub)?\s*0*(\d{1,3})", re.IGNORECASE)


def subject_of(text: str) -> str | None:
    """'sub01', '01', '1' -> '01'."""
    match = _SUBJECT.fullmatch(text.strip())
    return f"{int(match[1]):02d}" if match else None


def release_of(file: str, rows: int, records: list[Record]) -> str:
    """By what stands in it; a file's name is only a hint."""
    sadness = sum((record.emotion or "").casefold() == "sadness" for record in records)
    if rows == 255 and sadness == 4:
        return "CASME II, 2019-07-01, 255 rows"
    if rows == 255 and sadness == 7:
        return "CASME II, 2014-05-08, 255 rows (older labels: sadness 7)"
    if rows == 256:
        return "CASME II, 256 rows: the re-labelled file that is not public (its AU counts differ)"
    named = next((date for date in ("20190701", "20140508") if date in file), None)
    return f"CASME II, unknown release{f' (file name says {named})' if named else ''}, {rows} rows"


LAYOUT = Layout(
    name="casme2",
    title="CASME II",
    fps=200.0,
    columns={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("OnsetFrame",),
        "apex": ("ApexFrame", "ApexFrame1"),
        "offset": ("OffsetFrame",),
        "aus": ("Action Units",),
        "emotion": ("Estimated Emotion",),
    },
    subject_folder=re.compile(r"sub\d{1,3}", re.IGNORECASE),
    subject_of=subject_of,
    table_names=("CASME2-coding-20190701.xlsx", "CASME2-coding-updated.xlsx", "CASME2-coding-20140508.xlsx"),
    prefer_images=("selected",),
    foreign=("Inducement Code", "remarks"),
    release_of=release_of,
    request="http://casme.psych.ac.cn/casme/e2",
)
