"""Tables of other tools as frames with this package's column names: OpenFace 2 and 3, py-feat, LibreFace, MediaPipe.

What a tool says of an AU is one of four kinds, and the kind is the column's prefix, as in a prediction: `p_AU12` is a
probability, `active_AU12` whether the AU occurs, `intensity_AU12` goes from 0 to 5 as FACS's A to E do, and
`score_AU12` goes from 0 to 1 on a scale of the tool's own.

Formats: OpenFace 2's wiki (Output Format); OpenFace 3's `demo.py`, whose eight numbers `demo2.py` names; py-feat's and
LibreFace's documentation; MediaPipe, which writes no tables, by the names of its blendshapes.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ...arguments import check_number, first_few
from ..errors import AnnotationError

SEPARATORS = {".csv": ",", ".tsv": "\t"}
LONGEST_LIST = 10_000  # characters of a cell that holds a list
OPENFACE_3 = (1, 2, 4, 6, 9, 12, 25, 26)
# The blendshapes that show an AU; of several the one that moves most. AU6 and AU9 hardly ever move in this tool.
BLENDSHAPES = {
    1: ("browInnerUp",),
    2: ("browOuterUpLeft", "browOuterUpRight"),
    4: ("browDownLeft", "browDownRight"),
    5: ("eyeWideLeft", "eyeWideRight"),
    6: ("cheekSquintLeft", "cheekSquintRight"),
    7: ("eyeSquintLeft", "eyeSquintRight"),
    9: ("noseSneerLeft", "noseSneerRight"),
    10: ("mouthUpperUpLeft", "mouthUpperUpRight"),
    12: ("mouthSmileLeft", "mouthSmileRight"),
    14: ("mouthDimpleLeft", "mouthDimpleRight"),
    15: ("mouthFrownLeft", "mouthFrownRight"),
    16: ("mouthLowerDownLeft", "mouthLowerDownRight"),
    17: ("mouthShrugLower",),
    18: ("mouthPucker",),
    20: ("mouthStretchLeft", "mouthStretchRight"),
    24: ("mouthPressLeft", "mouthPressRight"),
    25: ("jawOpen",),
    26: ("jawOpen",),
    45: ("eyeBlinkLeft", "eyeBlinkRight"),
}


@dataclass(frozen=True)
class ToolTable:
    """How one tool writes its tables; the first column of each tuple that is there is taken."""

    tool: str
    sign: str  # a column that no tool before it in the list has, as a pattern
    kinds: dict[str, str]  # kind -> the columns of AUs, as a pattern with the AU's number
    source: tuple[str, ...] = ()
    face: tuple[str, ...] = ()
    frame: tuple[str, ...] = ()
    seconds: tuple[str, ...] = ()
    milliseconds: tuple[str, ...] = ()
    first_frame: int = 0
    success: tuple[str, ...] = ()  # 0 where the face was lost
    packed: re.Pattern = field(default=re.compile("(?!)"))  # columns that `unpack` makes columns of AUs of
    unpack: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table

    def wants(self, column: str) -> bool:
        named = (self.source, self.face, self.frame, self.seconds, self.milliseconds, self.success)
        patterns = (*self.kinds.values(), self.packed)
        return any(column in one for one in named) or any(re.fullmatch(pattern, column) for pattern in patterns)


def _unpack_list(table: pd.DataFrame) -> pd.DataFrame:
    """OpenFace 3's eight numbers, which stand in one cell as [[0.1, ..]]."""
    rows = [_numbers_of_cell(cell, row) for row, cell in enumerate(table.pop("action_units"), start=2)]
    names = [f"AU{au:02d}" for au in OPENFACE_3]
    return table.join(pd.DataFrame(rows, columns=names, index=table.index, dtype="float64"))


def _numbers_of_cell(cell: object, row: int) -> list[float | None]:
    if pd.isna(cell):
        return [None] * len(OPENFACE_3)
    try:
        values = json.loads(cell) if len(cell) <= LONGEST_LIST else None
        values = values[0] if isinstance(values[0], list) else values
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, LookupError, RecursionError):
        numbers = []
    if len(numbers) != len(OPENFACE_3):
        raise AnnotationError(
            f"row {row}: action_units is {str(cell)[:60]!r}; OpenFace 3 writes [[..]] with {len(OPENFACE_3)} numbers"
        )
    return numbers


def _unpack_blendshapes(table: pd.DataFrame) -> pd.DataFrame:
    known = {au: [name for name in names if name in table] for au, names in BLENDSHAPES.items()}
    of_aus = {
        f"AU{au:02d}": pd.concat([_numbers(table[name]) for name in names], axis=1).max(axis=1)
        for au, names in known.items()
        if names
    }
    return table.assign(**of_aus)


# The order matters: py-feat's tables of MediaPipe have AUs as well as blendshapes.
TOOLS = (
    ToolTable(
        "OpenFace 3",
        "action_units",
        {"score": r"AU(\d\d)"},
        source=("video_path", "image_path"),
        face=("face_id",),
        frame=("frame_index",),
        packed=re.compile("action_units"),
        unpack=_unpack_list,
    ),
    ToolTable(
        "OpenFace 2",
        r"AU\d\d_[rc]",
        {"intensity": r"AU(\d\d)_r", "active": r"AU(\d\d)_c"},
        face=("face_id", "face"),
        frame=("frame",),
        first_frame=1,
        seconds=("timestamp",),
        success=("success",),
    ),
    ToolTable(
        "LibreFace",
        r"au_\d+(_intensity)?",
        {"intensity": r"au_(\d+)_intensity", "active": r"au_(\d+)"},
        source=("input_image_path",),
        frame=("frame_idx",),
        milliseconds=("frame_time_in_ms",),
    ),
    ToolTable(
        "py-feat",
        r"AU\d\d",
        {"p": r"AU(\d\d)"},
        source=("input",),
        face=("Identity",),
        frame=("frame",),  # its approx_time holds whole seconds
    ),
    ToolTable(
        "MediaPipe",
        "jawOpen",
        {"score": r"AU(\d\d)"},
        source=("video", "source", "file"),
        face=("face_id", "face"),
        frame=("frame", "frame_index"),
        seconds=("time", "seconds"),
        milliseconds=("timestamp_ms", "time_ms"),
        packed=re.compile("|".join({name for names in BLENDSHAPES.values() for name in names})),
        unpack=_unpack_blendshapes,
    ),
)


def read_tool_table(path: str | Path, *, fps: float | None = None) -> pd.DataFrame:
    """The frames of another tool's table, one row per frame and face, with this package's column names.

    Args:
        path: a .csv or .tsv that OpenFace 2 or 3, py-feat, LibreFace, or a script around MediaPipe wrote; which of
            them is seen from its columns. Of MediaPipe, columns are named as the blendshapes are, with a column
            `time` (seconds), `timestamp_ms` or `frame`.
        fps: frames per second of the video, where the table has frame numbers and no times.

    Returns:
        `tool`, `source`, `face_id`, `frame`, `start` and `end` (seconds), `face_found` and `reason`, and for every AU
        what the tool says of it: `p_AU12`, `active_AU12`, `intensity_AU12` (0 to 5) or `score_AU12` (0 to 1, on the
        tool's own scale).

    Example:
        >>> from aullm_hf.data import read_tool_table
        >>> frames = read_tool_table("OPENFACE.csv")
        >>> frames[["start", "intensity_AU12", "active_AU12"]].tail(3)
           start  intensity_AU12  active_AU12
        3   0.12             3.0         True
        4   0.16             4.0         True
        5   0.20             NaN         <NA>
    """
    path = Path(path)
    if fps is not None:
        check_number("fps", fps, 0, 1e6)
    if path.suffix.lower() not in SEPARATORS:
        raise AnnotationError(f"{path.name}: tables of other tools are read as {' or '.join(SEPARATORS)}")
    try:
        tool, table = _read(path)
        return _frames(tool, table, path, fps)
    except AnnotationError as error:
        raise AnnotationError(f"{path.name}: {error}") from error


def _read(path: Path) -> tuple[ToolTable, pd.DataFrame]:
    """Which tool's it is, and those of its columns that are needed: OpenFace 2 writes over 700."""
    options = {"sep": SEPARATORS[path.suffix.lower()], "skipinitialspace": True, "compression": None}
    try:
        names = [str(name).strip() for name in pd.read_csv(path, nrows=0, **options)]
        tool = _tool_of(names)
        table = pd.read_csv(path, usecols=lambda name: tool.wants(str(name).strip()), low_memory=False, **options)
    except AnnotationError:
        raise
    except ValueError as error:  # no text, no header, rows of several lengths
        raise AnnotationError(f"cannot be read as a table: {error}") from error
    return tool, table.rename(columns=lambda name: str(name).strip())


def _tool_of(names: list[str]) -> ToolTable:
    for tool in TOOLS:
        if any(re.fullmatch(tool.sign, name) for name in names):
            return tool
    raise AnnotationError(
        f"its columns ({first_few(names)}) are of no tool that is known: {', '.join(tool.tool for tool in TOOLS)}"
    )


def _frames(tool: ToolTable, table: pd.DataFrame, path: Path, fps: float | None) -> pd.DataFrame:
    table = tool.unpack(table)
    values = _values(tool, table)
    found = values.notna().any(axis=1)
    if success := _column(table, tool.success):
        found &= _numbers(table[success]) > 0
    frames = pd.DataFrame({"tool": tool.tool, "source": path.stem}, index=table.index)
    if source := _column(table, tool.source):
        frames["source"] = table[source].fillna(path.stem).astype(str)
    if frame := _column(table, tool.frame):
        frames["frame"] = _numbers(table[frame]).astype("Int64")
    frames["start"] = frames["end"] = _seconds(tool, table, frames, fps)
    frames["face_id"] = _faces(table, _column(table, tool.face), frames)
    frames["face_found"] = found.astype("boolean")
    frames["reason"] = found.map({True: "", False: f"{tool.tool} found no face"})
    active = [name for name in values if name.startswith("active_")]
    values = values.where(found)
    values = values.assign(**{name: (values[name] > 0).astype("boolean").where(found) for name in active})
    return frames.astype(dict.fromkeys(("tool", "source", "reason"), "object")).join(values)


def _values(tool: ToolTable, table: pd.DataFrame) -> pd.DataFrame:
    """What the tool says, a column per AU and kind."""
    found = {}
    for kind, pattern in tool.kinds.items():
        for name in table:
            if match := re.fullmatch(pattern, name):
                found[f"{kind}_AU{int(match[1])}"] = _numbers(table[name])
    return pd.DataFrame(found, index=table.index)


def _faces(table: pd.DataFrame, column: str | None, frames: pd.DataFrame) -> pd.Series:
    if column is None:  # several rows of one frame are several faces
        return frames.groupby(["source", "start"], dropna=False).cumcount()
    numbers, _ = pd.factorize(table[column])
    return pd.Series(numbers, index=table.index).clip(lower=0)  # where no face was found


def _seconds(tool: ToolTable, table: pd.DataFrame, frames: pd.DataFrame, fps: float | None) -> pd.Series:
    by_rate = fps is not None and "frame" in frames
    if not by_rate and (seconds := _column(table, tool.seconds)):
        return _numbers(table[seconds])
    if not by_rate and (milliseconds := _column(table, tool.milliseconds)):
        times = _numbers(table[milliseconds])
        step = times.diff().median()
        return times if 0 < step < 1 else times / 1000  # LibreFace 0.2 writes seconds under that name
    if "frame" not in frames:
        asked = " or ".join((*tool.seconds, *tool.milliseconds, *tool.frame))
        raise AnnotationError(f"a table of {tool.tool} without a column {asked}: single pictures have no times")
    if fps is None:
        raise AnnotationError(f"a table of {tool.tool} that has no times; give the video's frames per second (fps)")
    return ((frames["frame"] - tool.first_frame) / fps).astype("float64")


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table), None)


def _numbers(cells: pd.Series) -> pd.Series:
    numbers = pd.to_numeric(cells, errors="coerce").astype("float64")
    wrong = numbers.isna() & cells.notna()
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise AnnotationError(f"row {row + 2}: {cells.name} is {str(cells.iloc[row])[:60]!r}, which is no number")
    return numbers


__all__ = ["BLENDSHAPES", "TOOLS", "read_tool_table"]
