"""SMIC-HS: 164 clips of 16 subjects, 100 frames per second, without AU annotations: `aus` is null in every row.

Three forms are read: the official table of the long videos (up to three micro-expressions per row), a plain table with
one row per clip, and no table at all: the cropped set's own folders, `s1/micro/negative/s1_ne_01`.
"""

import re
from dataclasses import replace

from ..errors import DOUBT, ERROR, AnnotationError, DataError, error_from
from ..reading.folders import Tree, natural_key
from ..reading.matching import find_images, find_table, read_published
from ..reading.records import Layout, Policies, ProblemList, RawDataset, Record, attach_frames
from ..reading.tables import Table

_SUBJECT = re.compile(r"(?:s|sub)?0*(\d{1,2})", re.IGNORECASE)
DEPTH = 3  # folders between a subject's and a clip's


def subject_of(text: str) -> str | None:
    """'s01', '1' -> 's1'."""
    match = _SUBJECT.fullmatch(text.strip())
    return f"s{int(match[1])}" if match else None


def locate(tree: Tree, images: str, tops: list[str], record: Record) -> list[str]:
    """The folder of the clip's name, wherever it lies below the subject's."""
    folders = []
    for top in tops:
        level = [f"{images}/{top}" if images else top]
        for _ in range(DEPTH):
            folders += [folder for path in level if (folder := tree.child(path, record.clip)) is not None]
            level = [below for path in level for below in tree.folders(path).values() if below not in folders]
    micro = [folder for folder in folders if "/micro/" in f"/{folder}/".casefold()]
    return micro or folders


LAYOUT = Layout(
    name="smic",
    title="SMIC-HS",
    fps=100.0,
    columns={
        "subject": ("subject",),
        "clip": ("material", "Filename"),
        "onset": ("onset", "OnsetF"),
        "offset": ("offset", "OffsetF"),
        "emotion": ("emotion",),
        "onset 2": ("Onset2F",),
        "offset 2": ("Offset2F",),
        "onset 3": ("Onset3F",),
        "offset 3": ("Offset3F",),
    },
    subject_folder=re.compile(r"s\d{1,2}", re.IGNORECASE),
    subject_of=subject_of,
    required=("subject", "clip", "onset", "offset"),
    expected=("emotion",),
    has_aus=False,
    prefer_images=("hs",),
    locate=locate,
    request="https://www.oulu.fi/cmvs/node/41319",
)


def read_smic(root, policies: Policies) -> RawDataset:
    """By the table if there is one, else by the folders."""
    tree = Tree(root)
    try:
        find_table(LAYOUT, tree, policies, ProblemList())
    except AnnotationError:
        if policies.table is not None:
            raise
        return read_folders(tree, policies)
    raw = read_published(LAYOUT, root, policies, spread)
    return replace(raw, release=f"SMIC-HS with a table, {raw.rows} rows")


def spread(table: Table) -> Table:
    """One row for each of the up to three micro-expressions that share a row in the official table."""
    rows = []
    for number, cells in table.rows:
        rows.append((number, cells))
        for nth in ("2", "3"):
            onset, offset = table.cell(cells, f"onset {nth}"), table.cell(cells, f"offset {nth}")
            if onset in (None, "", 0) and offset in (None, "", 0):
                continue
            copy = list(cells) + [None] * (len(table.header) - len(cells))
            copy[table.column["onset"]], copy[table.column["offset"]] = onset, offset
            rows.append((number, copy))
    return replace(table, rows=rows)


def read_folders(tree: Tree, policies: Policies) -> RawDataset:
    """Every folder of frames below a subject's `micro` (or below the subject) is a clip."""
    problems = ProblemList()
    images = find_images(LAYOUT, tree, policies, problems)
    if images is None:
        raise AnnotationError(
            f"neither a table of SMIC nor folders of its subjects (s1, s2, ...) were found below {tree.root}"
        )
    raw = RawDataset(
        name="smic",
        title=LAYOUT.title,
        release="SMIC-HS by its folders, without a table",
        table=None,
        images=images,
        problems=problems,
        tree=tree,
        licence=f"Licensed data: not to be redistributed; asked for at {LAYOUT.request}",
    )
    tops = [name for name in tree.folders(images) if LAYOUT.subject_folder.fullmatch(name)]
    for top in sorted(tops, key=natural_key):
        path = f"{images}/{top}" if images else top
        micro = tree.child(path, "micro")
        for emotion, folder in _clips_below(tree, micro or path):
            record = _record_of(tree, subject_of(top), emotion, folder, problems)
            if record is not None:
                raw.records.append(record)
    raw.rows = len(raw.records)
    problems.add_circular_links(tree)
    if not raw.records:
        raise error_from(problems, f"{LAYOUT.title}: no clip below {tree.root} can be used")
    return raw


def _clips_below(tree: Tree, path: str) -> list[tuple[str | None, str]]:
    """(emotion folder's name, clip folder), naturally sorted; a clip folder is one without folders in it."""
    clips = []
    for name, below in sorted(tree.folders(path).items(), key=lambda item: natural_key(item[0])):
        inner = tree.folders(below)
        if not inner:
            clips.append((None, below))
        clips += [(name, clip) for _, clip in sorted(inner.items(), key=lambda item: natural_key(item[0]))]
    return clips


def _record_of(tree: Tree, subject: str, emotion: str | None, folder: str, problems: ProblemList) -> Record | None:
    clip = folder.rsplit("/", 1)[-1]
    record = Record(
        dataset="smic",
        subject=subject,
        clip=clip,
        onset=0,
        offset=0,
        apex=None,
        fps=LAYOUT.fps,
        aus=None,
        intensities=None,
        au_text=None,
        emotion=emotion,
        file=folder,
        row=None,
    )
    try:
        frames = tree.scan(folder).frames
    except DataError as error:
        problems.add(ERROR, "frames", str(error), file=folder, clip=record.name)
        return None
    if not frames:
        problems.add(ERROR, "frames", "holds no frames", file=folder, clip=record.name)
        return None
    record.onset, record.offset = frames[0].number, frames[-1].number
    if record.offset - record.onset >= 2 * len(frames) + 10:
        problems.add(DOUBT, "gap", f"{len(frames)} frames spread over {record.onset}..{record.offset}", file=folder)
    return record if attach_frames(record, tree, folder, problems) else None
