"""Find a published data set below a root: its table by the header, its frames by the folders' names; match them."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ..errors import DOUBT, ERROR, NOTE, AnnotationError, ClipError, DataError, error_from
from .folders import Tree, natural_key
from .records import (
    Layout,
    Policies,
    ProblemList,
    RawDataset,
    Record,
    attach_frames,
    table_fingerprint,
    without_duplicates,
)
from .rows import read_rows
from .tables import OLD_SUFFIXES, TABLE_SUFFIXES, Sheet, Table, find_header, missing_columns, plain, read_sheets

TABLE_DEPTH = 3
IMAGE_DEPTH = 6


def read_published(
    layout: Layout, root, policies: Policies, spread: Callable[[Table], Table] | None = None
) -> RawDataset:
    """Every clip of the data set with its frames' files, and every problem; raises only where nothing can be read.

    `spread` makes several rows out of one, where a table has several clips per row.
    """
    tree = Tree(root)
    problems = ProblemList()
    table, path = find_table(layout, tree, policies, problems)
    if not table.rows:
        raise AnnotationError(f"{table.file}: the header in row {table.header_row} has no row below it")
    if table.sheet.encoding_note:
        problems.add(NOTE, "table", table.sheet.encoding_note, file=table.file)
    rows = len(table.rows)
    table = spread(table) if spread else table
    records, corrections = read_rows(layout, table, policies, problems)
    records = without_duplicates(records, problems)
    images = find_images(layout, tree, policies, problems)
    raw = RawDataset(
        name=layout.name,
        title=layout.title,
        release=layout.release_of(path.name, rows, records) if layout.release_of else f"{rows} rows",
        table=table.file,
        images=images,
        rows=rows,
        problems=problems,
        corrections=corrections,
        tree=tree,
        files=[table_fingerprint(path)],
        licence=f"Licensed data: not to be redistributed; asked for at {layout.request}" if layout.request else "",
    )
    if not records:
        raise error_from(problems, f"{layout.title}: no row of {table.file} can be used")
    raw.records = match_folders(layout, tree, images, records, problems)
    problems.add_circular_links(tree)
    return raw


def find_table(layout: Layout, tree: Tree, policies: Policies, problems: ProblemList) -> tuple[Table, Path]:
    """The annotation table: the one the caller names, or the one file whose header fits."""
    if policies.table is not None:
        path = Path(policies.table).expanduser()
        path = path if path.is_absolute() or path.is_file() else tree.absolute(policies.table)
        if not path.is_file():
            raise AnnotationError(f"table={policies.table!r} is not a file, neither here nor below {tree.root}")
        fitting = _fitting(layout, read_sheets(path, path.name))
        if not fitting:
            raise AnnotationError(_why_none_fits(layout, read_sheets(path, path.name)))
        return fitting[0], path
    sheets: list[Sheet] = []
    fitting: list[tuple[int, str, Table]] = []
    broken: dict[str, str] = {}
    for name in _table_files(layout, tree):
        try:
            here = read_sheets(tree.absolute(name), name)
            sheets += here
            tables = _fitting(layout, here)
            fitting += [(_preference(layout, name), name, table) for table in tables[:1]]
            for other in tables[1:]:
                message = f"sheet {other.sheet.name!r} fits as well, but {tables[0].sheet.name!r} is taken"
                problems.add(DOUBT, "table", message, file=name)
        except DataError as error:
            broken[name] = str(error)
    if not fitting:
        raise AnnotationError("\n".join([_why_none_fits(layout, sheets), *broken.values()]))
    for name, message in broken.items():
        old = name.lower().endswith(OLD_SUFFIXES)
        if not old and _preference(layout, name) < min(rank for rank, _, _ in fitting):
            raise AnnotationError(f"{message}\nOther tables lie there; pass table= to take one of them instead")
        problems.add(NOTE if old else DOUBT, "table", message)
    fitting.sort(key=lambda item: (item[0], natural_key(item[1])))
    best = [item for item in fitting if item[0] == fitting[0][0]]
    if len(best) > 1:
        names = ", ".join(repr(name) for _, name, _ in best)
        raise AnnotationError(f"{len(best)} tables fit {layout.title}: {names}; pass table= to say which one counts")
    for _, name, _ in fitting[1:]:
        problems.add(NOTE, "table", f"fits as well, but {fitting[0][1]} is taken", file=name)
    return fitting[0][2], tree.absolute(fitting[0][1])


def _table_files(layout: Layout, tree: Tree) -> list[str]:
    names = []
    for folder in tree.walk(depth=TABLE_DEPTH, stop=layout.subject_folder.fullmatch):
        try:
            files = tree.files(folder)
        except ClipError:
            continue
        for name in files:
            suffix = PurePosixPath(name).suffix.lower()
            if suffix in TABLE_SUFFIXES + OLD_SUFFIXES and not name.startswith(("~$", "._", ".")):
                names.append(f"{folder}/{name}" if folder else name)
    return names


def _preference(layout: Layout, name: str) -> int:
    stem = plain(PurePosixPath(name).stem)
    ranks = [rank for rank, name in enumerate(layout.table_names) if plain(PurePosixPath(name).stem) == stem]
    return ranks[0] if ranks else len(layout.table_names)


def _fitting(layout: Layout, sheets: list[Sheet]) -> list[Table]:
    tables = []
    for sheet in sheets:
        table = find_header(sheet, layout.columns, layout.required)
        if table is not None and not {plain(name) for name in table.header} & set(map(plain, layout.foreign)):
            tables.append(table)
    return tables


def _why_none_fits(layout: Layout, sheets: list[Sheet]) -> str:
    wanted = ", ".join(layout.columns[name][0] for name in layout.required)
    lines = [f"no table with the header of {layout.title} was found; its columns are {wanted}"]
    for sheet in sheets:
        name = f"{sheet.file}, sheet {sheet.name!r}" if sheet.name else sheet.file
        if not sheet.rows:
            lines.append(f"- {name}: is empty")
            continue
        row, missing = missing_columns(sheet, layout.columns, layout.required)
        if not missing:
            cells = dict(sheet.rows)[row] if row else sheet.rows[0][1]
            foreign = set(map(plain, layout.foreign))
            others = ", ".join(repr(cell) for cell in cells if plain(cell) in foreign)
            lines.append(f"- {name}, row {row}: has the column {others}, so it is another data set's table")
        elif row:
            lines.append(f"- {name}, row {row}: lacks the column {', '.join(map(repr, missing))}")
        else:
            lines.append(f"- {name}: no row looks like a header; its first is {str(sheet.rows[0][1][:6])[:120]}")
    if not sheets:
        lines.append(f"- no {', '.join(TABLE_SUFFIXES)} file could be read there; pass table= if it lies elsewhere")
    return "\n".join(lines)


def find_images(layout: Layout, tree: Tree, policies: Policies, problems: ProblemList) -> str | None:
    """The folder that holds the subjects' folders, through archives' nested roots; None where there is none."""
    folders = tree.walk(depth=IMAGE_DEPTH, stop=layout.subject_folder.fullmatch)
    roots = []
    for folder in folders:
        try:
            if any(layout.subject_folder.fullmatch(name) for name in tree.folders(folder)):
                roots.append(folder)
        except ClipError as error:
            problems.add(DOUBT, "no-folder", str(error), file=folder)
    if policies.images is not None:
        wanted = str(PurePosixPath(str(policies.images).replace("\\", "/"))).strip("/")
        wanted = "" if wanted == "." else wanted
        roots = [root for root in roots if root == wanted or root.startswith(f"{wanted}/") or not wanted]
        if not roots:
            raise ClipError(
                f"images={policies.images!r} is not a folder below {tree.root} that holds {layout.title}'s subjects"
            )
    if not roots:
        return None

    def rank(root: str):
        low = root.casefold()
        liked = any(part in low for part in layout.prefer_images)
        return "macro" in low, ("crop" in low) != policies.prefer_crops, not liked, root.count("/"), natural_key(root)

    roots.sort(key=rank)
    if len(roots) > 1:
        others = ", ".join(repr(root) for root in roots[1:6])
        problems.add(
            NOTE,
            "images",
            f"{roots[0]!r} is taken of {len(roots)} image folders (also {others}); images= takes another",
        )
    return roots[0]


def match_folders(
    layout: Layout, tree: Tree, images: str | None, records: list[Record], problems: ProblemList
) -> list[Record]:
    """The records whose frames were found; the others are listed, and folders without a row are noted."""
    usable, taken = [], set()
    locate = layout.locate or _locate
    tops = [] if images is None else [name for name in tree.folders(images) if layout.subject_folder.fullmatch(name)]
    for record in records:
        where = {"file": record.file, "row": record.row, "clip": record.name}
        folders = [] if images is None else locate(tree, images, _tops_of(layout, tops, record), record)
        taken.update(folders)
        if layout.inner:
            outer, folders = folders, [path for folder in folders if (path := tree.child(folder, layout.inner))]
            if outer and not folders:
                problems.add(ERROR, "no-folder", f"no folder {layout.inner!r} in {outer[0]}", **where)
                continue
        if not folders:
            message, kind = _missing(layout, tree, images, tops, record)
            problems.add(ERROR, kind, message, **where)
        elif len(folders) > 1:
            names = ", ".join(map(repr, folders))
            problems.add(ERROR, "frames", f"{len(folders)} folders fit: {names}; keep one, or pass images=", **where)
        elif attach_frames(record, tree, folders[0], problems):
            usable.append(record)
    if images is not None and layout.locate is None:
        _note_unused(layout, tree, images, tops, taken, problems)
    _doubt_longer_folders(tree, usable, problems)
    return usable


def _doubt_longer_folders(tree: Tree, records: list[Record], problems: ProblemList) -> None:
    """Where most folders are cut to onset..offset, one that holds more suggests that its row is wrong."""
    longer = []
    for record in records:
        numbers = [frame.number for frame in tree.scan(record.folder).frames]
        if numbers[0] < record.onset or numbers[-1] > record.offset:
            longer.append((record, numbers))
    if 2 * len(longer) >= len(records):  # whole recordings: this says nothing
        return
    for record, numbers in longer:
        message = (
            f"the folder holds frames {numbers[0]}..{numbers[-1]}, the table has {record.onset}..{record.offset}; "
            "the other folders hold only what the table says"
        )
        problems.add(DOUBT, "frames", message, file=record.file, row=record.row, clip=record.name)


def _tops_of(layout: Layout, tops: list[str], record: Record) -> list[str]:
    fits = layout.fits or (lambda name, record: layout.subject_of(name) == record.subject)
    fitting = [name for name in tops if fits(name, record)]
    exact = [name for name in fitting if name.casefold() == record.subject_text.casefold()]
    return exact + [name for name in fitting if name not in exact]


def _locate(tree: Tree, images: str, tops: list[str], record: Record) -> list[str]:
    folders = [tree.child(f"{images}/{top}" if images else top, record.clip) for top in tops]
    folders = [folder for folder in folders if folder is not None]
    same = [folder for folder in folders if folder.split("/")[-2].casefold() == record.subject_text.casefold()]
    return same or folders


def _missing(layout: Layout, tree: Tree, images: str | None, tops: list[str], record: Record) -> tuple[str, str]:
    if images is None:
        return f"no folder of a subject of {layout.title} lies below {tree.root}", "no-folder"
    own_tops = _tops_of(layout, tops, record)
    for link in tree.escaping:
        *above, last = link.split("/")
        is_clip = last == record.clip and above and layout.subject_of(above[-1]) == record.subject
        if is_clip or layout.subject_of(last) == record.subject:
            return f"{link} is a link that leads outside the data root; it is not followed", "unsafe"
    if not own_tops:
        return f"no folder of subject {record.subject} in {images or '.'}", "no-folder"
    searched = ", ".join(f"{images}/{top}" if images else top for top in own_tops)
    return f"no folder {record.clip!r} in {searched}", "no-folder"


def _note_unused(
    layout: Layout, tree: Tree, images: str, tops: list[str], taken: set[str], problems: ProblemList
) -> None:
    listed = {problem.clip for problem in problems if problem.level == ERROR}  # has a row, if one that cannot be used
    for top in sorted(tops, key=natural_key):
        try:
            folders = tree.folders(f"{images}/{top}" if images else top)
        except ClipError as error:
            problems.add(DOUBT, "no-folder", str(error), file=f"{images}/{top}")
            continue
        for name, path in sorted(folders.items(), key=lambda item: natural_key(item[0])):
            if path not in taken and f"{layout.subject_of(top)}/{name}" not in listed:
                problems.add(NOTE, "no-row", "has no row in the table", file=path, clip=f"{top}/{name}")
