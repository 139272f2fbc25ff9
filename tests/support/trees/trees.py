"""Synthetic clips on disk, in the folder layout and spreadsheet form of each published data set, with their quirks.

    truth = write_tree("casme2", root)
    clips = load_clips("casme2", root, on_error="skip", face="none")
    assert [clip.clip_id for clip in truth.usable] == clips["clip_id"]

Subjects, clips and numbers are generated; what is taken over are the kinds of quirks, the forms of AU cells, and the
few clips that published corrections name, so that those are exercised. Trees are small: few and short clips, tiny
images.
"""

import os
import zlib
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from aullm_hf.arguments import check_choice
from aullm_hf.data.synthetic.domains import DOMAINS
from aullm_hf.data.synthetic.drawing import draw_clip, draw_still
from aullm_hf.data.synthetic.faces import MIDDLE, Person, Viewport, sample_person
from aullm_hf.data.synthetic.motion import FIELDS
from aullm_hf.data.synthetic.plans import DIFFICULTIES, Action, ClipPlan
from support.trees.rows import Form, Row, form_of
from support.trees.truth import Change, Finding, TrueClip, Truth

TREES = ("casme2", "samm", "casme", "mmew", "4dme", "casme3", "smic")


def write_tree(
    name: str,
    root: str | os.PathLike,
    *,
    seed: int = 0,
    images: str | None = None,
    broken: bool = True,
    published: bool = False,
    scale: float = 0.125,
) -> Truth:
    """Write a tree of the data set `name` below `root` and return the truth about it.

    images: which of the data set's image forms ("raw" or "cropped" for CASME II and CASME). broken: with clips that
    cannot be used (a row without folder, an empty folder); False mends those, so that `on_error="raise"` loads.
    published: as many clips a subject as published, with clips as long, for timings. scale: of the images, 1 is the
    data set's own size.
    """
    check_choice("name", name, TREES)
    root = Path(root)
    form = form_of(name, np.random.default_rng([seed, zlib.crc32(name.encode())]), images, published)
    rows = form.rows if broken else [row.mended() for row in form.rows]
    truth = Truth(name=name, root=root, table=form.table, images=form.images, rows=0)
    for row in rows:
        number = None if form.table is None or row.loose else form.first_row + truth.rows
        truth.rows += not row.loose
        clip = _write_clip(form, row, root, seed, scale, number)
        if row.loose:  # a folder that no row of the table names
            truth.findings.add(Finding("note", "no-row", "/".join(clip.folder.split("/")[-2:])))
            continue
        truth.clips.append(clip)
        for level, kind in row.findings:
            truth.findings.add(Finding(level, kind, clip.name, number if level == "error" or kind != "gap" else None))
        if row.stray:
            truth.findings.add(Finding("note", "stray", clip.name))
        truth.corrections += [
            Change(row.subject, row.clip, field, row.written[field], _corrected(row, field)) for field in row.corrected
        ]
    if form.table is not None:
        _write_table(form, [row for row in rows if not row.loose], root / form.table)
    else:
        truth.rows = len(truth.usable)
    return truth


def _corrected(row: Row, field: str) -> object:
    return row.reading if field == "aus" else getattr(row, field)


def _write_table(form: Form, rows: list[Row], path: Path) -> None:
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise ImportError("writing spreadsheets needs openpyxl; pip install aullm-hf[data]") from error
    book = Workbook()
    sheet = book.active
    if form.sheet:
        sheet.title = form.sheet
    for cells in form.preamble:
        sheet.append(cells)
    sheet.append(form.header)
    for number, row in enumerate(rows, start=form.first_row):
        sheet.append(form.cells(row, number))
    for title in form.empty_sheets:
        book.create_sheet(title)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def _write_clip(form: Form, row: Row, root: Path, seed: int, scale: float, number: int | None) -> TrueClip:
    """The frames of one row (all, some or none of them) and what is true of it."""
    folder = form.folder(row)
    first, last = row.on_disk or (row.onset, row.offset)
    there = [] if row.no_folder or row.empty else [n for n in range(first, last + 1) if n not in row.missing]
    if not row.no_folder:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for stray in row.stray:
            (root / folder / stray).write_bytes(b"not a frame")
    if there:
        pictures = _pictures(form, row, seed, scale)
        cv2 = _cv2()
        for n in there:
            picture = pictures[min(max(n - row.onset, 0), len(pictures) - 1)]
            done, data = cv2.imencode(Path(form.frame(row, n)).suffix, picture)
            assert done
            (root / folder / form.frame(row, n)).write_bytes(data.tobytes())
        for extra in form.beside(row, there[0]):  # a depth map, a blur of the truth: nothing that a loader reads
            (root / extra).parent.mkdir(parents=True, exist_ok=True)
            (root / extra).write_bytes(cv2.imencode(Path(extra).suffix, pictures[0][::4, ::4])[1].tobytes())
    files = tuple(f"{folder}/{form.frame(row, n)}" for n in there if row.onset <= n <= row.offset)
    return TrueClip(
        dataset=form.name,
        subject=row.subject,
        clip=row.clip,
        onset=row.onset,
        apex=row.apex,
        offset=row.offset,
        fps=form.fps,
        parts=row.parts,
        au_text=None if row.parts is None else row.au_text,
        emotion=row.emotion,
        row=number,
        folder=folder,
        files=files,
        as_written={"onset": row.onset, "apex": row.apex, "offset": row.offset, **row.written},
        usable=row.usable and not row.loose,
    )


def _pictures(form: Form, row: Row, seed: int, scale: float) -> np.ndarray:
    """(T, H, W) uint8: the person of the row, moving as the row says, as large in the image as in the data set."""
    who = zlib.crc32(f"{form.name}/{row.subject}".encode())
    which = zlib.crc32(f"{row.clip}/{row.onset}".encode())
    parts = row.parts or ()
    aus = sorted({au for part in parts for au in (part.literature or part.aus) if au in FIELDS})
    actions = tuple(Action(au, "", "C") for au in aus)
    frames = row.offset - row.onset + 1
    domain = DOMAINS["samm" if form.name == "samm" else "casme2"]
    plan = ClipPlan(
        domain=replace(domain, fps=form.fps),
        difficulty=DIFFICULTIES["easy"],
        person=_person(seed, who, domain.name),
        subject=row.subject,
        clip=row.clip,
        actions=actions,
        annotated=actions,
        frames=frames,
        onset=row.onset,
        apex=row.onset + min(max(frames // 2, 1), max(frames - 2, 0)),
        fps=form.fps,
        streams=(seed, 3, who, which),
    )
    width, height, face = form.image  # pixels of the data set's images, and the face's width in them
    width, height = round(width * scale), round(height * scale)
    density = face * scale / 104  # pixels per face unit: a face is about 104 units wide
    viewport = Viewport(MIDDLE - width / density / 2, 62 - height / density / 2, width, height, density)
    return draw_clip(plan, viewport=viewport, still=_still(plan.person, domain.blur, viewport))


@lru_cache(maxsize=4)
def _still(person: Person, blur: float, viewport: Viewport) -> np.ndarray:
    return draw_still(person, blur, viewport)


@cache
def _person(seed: int, who: int, domain: str) -> Person:
    return sample_person(np.random.default_rng([seed, who]), DOMAINS[domain].people)


def _cv2():
    try:
        import cv2
    except ImportError as error:
        raise ImportError("writing image files needs OpenCV; pip install aullm-hf[data]") from error
    return cv2
