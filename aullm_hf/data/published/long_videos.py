"""The annotated intervals of long videos, as `score_spotting` takes them: CAS(ME)^2, SAMM Long Videos, CAS(ME)^3.

Of the licensed tables only the form is known here, from what is public about them:

- CAS(ME)^2, `CAS(ME)^2code_final.xlsx`: a sheet of rows without a header (participant, "anger1_2" = stimulus and
  number of the expression, onset, apex, offset, AUs, emotion, type, self-report), and two sheets of names: participant
  -> s15, stimulus -> 0401. A video is s15_0401. 30 frames per second; 57 micro-expressions and 300 longer ones.
- SAMM Long Videos, `SAMM_LongVideos_V3_Release.xlsx`: the header stands below a preamble; the type is "Macro" or
  "Micro - 1/2"; of "006_1_1", 006_1 is the video. 147 videos at 200 frames per second; 159 and 343 expressions.
- CAS(ME)^3 part A: one table of micro-expressions and one of longer ones (`.._ME_..`, `.._MaE_..`) with a header; a
  video is a subject and a letter. 30 frames per second.

An offset that was not annotated (0, -1 or empty) is the apex, as the public loaders take it, and `note` says so.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ...arguments import check_choice, check_path
from ..errors import AnnotationError
from ..reading.cells import not_annotated, text_of
from ..reading.tables import Sheet, find_header, is_blank, missing_columns, read_sheets

COLUMNS = ["dataset", "subject", "video", "onset", "apex", "offset", "kind", "aus", "fps", "note"]


class Row(NamedTuple):
    """One annotated interval as its table has it."""

    place: str
    subject: str
    video: str
    cells: dict[str, Any]  # onset, apex, offset
    kind: str
    aus: str


def load_intervals(dataset: str, table: str | Path) -> pd.DataFrame:
    """The annotated intervals of a data set of long videos, one row per expression.

    Args:
        dataset: "casme_squared", "samm_long_videos" or "casme3".
        table: the data set's own spreadsheet, as it is distributed.

    Example:
        >>> from aullm_hf.data import load_intervals
        >>> truth = load_intervals("samm_long_videos", "SAMM_LongVideos_V3_Release.xlsx")  # doctest: +SKIP
        >>> truth[["video", "onset", "offset", "kind"]]  # doctest: +SKIP
    """
    check_choice("dataset", dataset, READERS)
    check_path("table", table, "the spreadsheet of the data set")
    path = Path(table).expanduser()
    if not path.is_file():
        raise AnnotationError(f"{path} is no file; table is the spreadsheet of {dataset}")
    rate, read = READERS[dataset]
    rows = [_interval(dataset, rate, row) for row in read(read_sheets(path, path.name), path.name)]
    if not rows:
        raise AnnotationError(f"{path.name} has no annotated interval")
    return pd.DataFrame(rows, columns=COLUMNS).astype({"apex": "Int64"})


def _interval(dataset: str, rate: float, row: Row) -> dict[str, Any]:
    frames = {name: _frame(cell, f"{row.place}: {name}") for name, cell in row.cells.items()}
    onset, apex, offset = (frames[name] for name in ("onset", "apex", "offset"))
    notes = []
    if onset is None:
        raise AnnotationError(f"{row.place}: no onset is annotated, without which there is no interval")
    if offset is None:
        if apex is None:
            raise AnnotationError(f"{row.place}: neither apex nor offset is annotated, so the interval has no end")
        offset = apex
        notes.append("no offset is annotated: it ends with its apex")
    if offset < onset:
        raise AnnotationError(f"{row.place}: the offset {offset} is before the onset {onset}")
    if apex is not None and not onset <= apex <= offset:
        notes.append(f"the apex {apex} is not between onset and offset, and was left out")
        apex = None
    values = {"onset": onset, "apex": apex, "offset": offset, "kind": row.kind, "aus": row.aus, "fps": rate}
    return {"dataset": dataset, "subject": row.subject, "video": row.video, **values, "note": "; ".join(notes)}


def _frame(cell: Any, what: str) -> int | None:
    """A frame number; None for what the tables write where there is none."""
    if not_annotated(cell):
        return None
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise AnnotationError(f"{what} is {cell!r}, which is not a frame number") from None
    if value != value or value != int(value):
        raise AnnotationError(f"{what} is {cell!r}, which is not a frame number")
    return int(value) if value > 0 else None


def _kind(cell: Any, place: str) -> str:
    text = "" if is_blank(cell) else str(cell).strip().casefold()
    for start, kind in (("micro", "micro"), ("macro", "longer")):
        if text.startswith(start):
            return kind
    raise AnnotationError(f"{place}: the type is {cell!r}; known are micro- and macro-expressions")


def _aus(cell: Any, place: str) -> str:
    return "" if is_blank(cell) else text_of(cell, f"{place}: the AUs")


def _casme_squared(sheets: list[Sheet], name: str) -> Iterator[Row]:
    if len(sheets) < 3:
        raise AnnotationError(
            f"{name} has {len(sheets)} of the 3 sheets that are needed: the codes, and the names of participants and "
            "of stimuli; give the .xlsx file as it is distributed"
        )
    codes, people, stimuli = sheets[:3]
    subjects = {text_of(cells[2], name): text_of(cells[1], name) for _, cells in people.rows if len(cells) > 2}
    videos = {text_of(cells[1], name): text_of(cells[0], name).zfill(4) for _, cells in stimuli.rows if len(cells) > 1}
    for number, cells in codes.rows:
        place = f"{name}, row {number}"
        if len(cells) < 8:
            raise AnnotationError(f"{place}: {len(cells)} cells, but at least 8 are expected, up to the type")
        person, clip = text_of(cells[0], place), text_of(cells[1], place)
        stimulus = clip.split("_")[0]
        for known, wanted, what in ((subjects, person, "participant"), (videos, stimulus, "stimulus")):
            if wanted not in known:
                raise AnnotationError(f"{place}: the {what} {wanted!r} is not in the sheet of {what} names")
        frames = dict(zip(("onset", "apex", "offset"), cells[2:5], strict=True))
        subject = subjects[person]
        yield Row(
            place, subject, f"{subject}_{videos[stimulus]}", frames, _kind(cells[7], place), _aus(cells[5], place)
        )


SAMM = {"clip": ("Filename",), "onset": ("Onset", "Onset Frame"), "apex": ("Apex", "Apex Frame"),
        "offset": ("Offset", "Offset Frame"), "kind": ("Type", "Micro"), "aus": ("Action Units",)}  # fmt: skip
CASME3 = {"subject": ("Subject",), "clip": ("Filename",), "onset": ("Onset",), "apex": ("Apex",),
          "offset": ("Offset",), "aus": ("AU", "AUs")}  # fmt: skip


def _samm(sheets: list[Sheet], name: str) -> Iterator[Row]:
    for place, cell in _rows_below_header(sheets, name, SAMM):
        clip = text_of(cell("clip"), place)
        if not (match := re.fullmatch(r"(\d{1,3})_(\d+)(?:_\d+)?", clip)):
            raise AnnotationError(f"{place}: the name {clip!r} is not of the form 006_1_2")
        subject = match[1].zfill(3)
        frames = {each: cell(each) for each in ("onset", "apex", "offset")}
        kind = _kind(cell("kind"), place)
        yield Row(place, subject, f"{subject}_{match[2]}", frames, kind, _aus(cell("aus"), place))


def _casme3(sheets: list[Sheet], name: str) -> Iterator[Row]:
    kinds = {"mae": "longer", "me": "micro"}
    found = [kinds[part] for part in re.split(r"[^a-z]+", name.casefold()) if part in kinds]
    kind = next((kind for kind in kinds.values() if kind in found), None)
    if "longer" in found:
        kind = "longer"
    if kind is None:
        raise AnnotationError(
            f"{name} does not say whether it holds micro (.._ME_..) or longer expressions (.._MaE_..)"
        )
    for place, cell in _rows_below_header(sheets, name, CASME3):
        subject, clip = text_of(cell("subject"), place), text_of(cell("clip"), place)
        frames = {each: cell(each) for each in ("onset", "apex", "offset")}
        yield Row(place, subject, f"{subject}_{clip}", frames, kind, _aus(cell("aus"), place))


def _rows_below_header(sheets: list[Sheet], name: str, columns: dict) -> Iterator[tuple[str, Callable[[str], Any]]]:
    required = tuple(field for field in columns if field != "aus")
    table = next((found for sheet in sheets if (found := find_header(sheet, columns, required))), None)
    if table is None:
        _, missing = min((missing_columns(sheet, columns, required) for sheet in sheets), key=lambda one: len(one[1]))
        raise AnnotationError(f"{name} has no header with the columns {', '.join(missing)}")
    for number, cells in table.rows:
        yield f"{name}, row {number}", lambda field, cells=cells: table.cell(cells, field)


READERS: dict[str, tuple[float, Callable[[list[Sheet], str], Iterator[Row]]]] = {
    "casme_squared": (30.0, _casme_squared),
    "samm_long_videos": (200.0, _samm),
    "casme3": (30.0, _casme3),
}

__all__ = ["READERS", "load_intervals"]
