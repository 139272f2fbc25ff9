"""The run folder: the three tables that every figure comes from, read, checked and written the same way each time.

    runs/NAME/run.json             what was run, on what, with which versions
    runs/NAME/predictions.parquet  one row per tested clip (and seed): KEYS, z_AU.., p_AU.., y_AU..
                                   with an output for intensities also intensity_AU.., y_intensity_AU..
    runs/NAME/inner.parquet        the same for the inner held-out clips
    runs/NAME/folds.json           each fold's calibration, thresholds and the subjects it has seen
    runs/NAME/folds/<fold>/        (several seeds: <fold>-seed<k>) the same for one fold, its checkpoint and its log

A fold counts as finished once its `fold.json` is there, which lists the fold's files with their checksums.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..arguments import check_path, first_few, shown
from ..checksums import damage
from ..whole_files import replacing

_SCORED = re.compile(r"([zpy]|(y_)?intensity)_AU[0-9]+")
KEYS = ("clip_id", "dataset", "subject", "fold", "seed")
FOLD_TABLES = ("predictions.parquet", "inner.parquet")  # of a fold
_TEXT = ("clip_id", "dataset", "subject", "fold")
# Control characters, line ends and lone surrogates; other spaces and joiners may be part of a name.
_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class DamagedFold(ValueError):
    """A finished fold whose files are not those that fold.json lists."""


@dataclass(frozen=True)
class Run:
    """The contents of a run folder."""

    path: Path
    info: dict
    predictions: pd.DataFrame
    inner: pd.DataFrame | None
    folds: list[dict]

    @property
    def name(self) -> str:
        return self.info.get("name") or self.path.name


def read_run(run: str | Path) -> Run:
    """Read a run folder, or a predictions file with what is beside it of run.json, folds.json and inner.parquet."""
    check_path("run", run, "a run folder, or a predictions file")
    path = Path(run)
    alone = path.is_file()
    folder, predictions = (path.parent, path) if alone else (path, path / "predictions.parquet")
    for needed in (folder / "run.json", predictions, folder / "folds.json"):
        if not needed.is_file() and not alone:
            raise FileNotFoundError(
                f"'{folder}' has no {needed.name}: it is not a finished run. "
                "Give the folder that `aullm train` wrote, or finish the run first"
            )
    inner = folder / "inner.parquet"
    return Run(
        path=folder,
        info=read_json(folder / "run.json") if (folder / "run.json").is_file() else {},
        predictions=sort_rows(read_table(predictions)),
        inner=sort_rows(read_table(inner)) if inner.is_file() else None,
        folds=read_json(folder / "folds.json") if (folder / "folds.json").is_file() else [],
    )


def assemble_run(run_dir: str | Path) -> int:
    """Write the run's predictions, inner and folds tables from its finished folds; how many there are.

    Idempotent: the same folds give the same bytes, in whatever order they finished.
    """
    check_path("run_dir", run_dir, "a run folder")
    path = Path(run_dir)
    finished = finished_folds(path)
    if not finished:
        raise FileNotFoundError(f"no finished fold under '{path / 'folds'}': train at least one fold first")
    refuse_damaged(finished, only=FOLD_TABLES)
    entries = sorted((read_json(folder / "fold.json") for folder in finished), key=_fold_order)
    for name in FOLD_TABLES:
        parts = [read_table(folder / name) for folder in finished if (folder / name).is_file()]
        parts = [part for part in parts if len(part)]
        if parts:
            write_table(pd.concat(parts, ignore_index=True), path / name)
    write_json(entries, path / "folds.json")
    return len(finished)


def finished_folds(run_dir: str | Path) -> list[Path]:
    """The folders of the finished folds, by name."""
    return sorted(file.parent for file in Path(run_dir).glob("folds/*/fold.json"))


def fold_damage(folder: Path, only: Collection[str] | None = None, *, by_size: bool = False) -> list[str]:
    """What is wrong with the files that fold.json lists (those of them that are named); empty where nothing is.

    `by_size` reads none of the files: a checkpoint may have many gigabytes.
    """
    try:
        entry = read_json(folder / "fold.json")
        known = entry["files"]
        if not digest_matches(entry):
            return ["fold.json does not have its checksum"]
        files = {name: known[name] for name in known if only is None or name in only}
        return damage(folder, files, by_size=by_size)
    except (ValueError, KeyError, TypeError, AttributeError):
        return ["fold.json cannot be read, or lists no files"]


def digest_matches(entry: Mapping) -> bool:
    """Whether nothing of it was changed; what was written before there were digests is believed."""
    return "sha256" not in entry or entry == with_digest(entry)


def with_digest(entry: Mapping) -> dict:
    """What fold.json or run.json holds, with the checksum of all the rest of it."""
    rest = {name: value for name, value in entry.items() if name != "sha256"}
    return rest | {"sha256": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def refuse_damaged(folders: Iterable[Path], only: Collection[str] | None = None) -> None:
    for folder in folders:
        if problems := fold_damage(folder, only):
            raise DamagedFold(
                f"'{folder}' was damaged after it was finished: {first_few(problems, 3)}. Put the files back, or give "
                "the run's `aullm train` command with --retrain_damaged: it trains this fold again and keeps the old "
                "files"
            )


def fold_folder(entry: Mapping, folds: Sequence[Mapping]) -> str:
    """The folder of a fold under folds/: its name, and its seed where the run has several."""
    several = len({int(other["seed"]) for other in folds}) > 1
    return f"{entry['fold']}-seed{entry['seed']}" if several else str(entry["fold"])


def read_table(table: pd.DataFrame | Mapping[str, Sequence] | str | Path) -> pd.DataFrame:
    """A predictions table from a frame, a dict of columns, or a Parquet or CSV file; ids are text, seed an integer."""
    if isinstance(table, str | Path):
        table = _read_file(Path(table))
    elif not isinstance(table, pd.DataFrame | Mapping):
        raise TypeError(
            f"table={shown(table)} is no predictions table; give a DataFrame, a dict of columns, or a path"
        )
    try:
        table = pd.DataFrame(table)
    except (ValueError, TypeError) as error:  # columns of several lengths, or single values
        raise ValueError(f"table={shown(table)} is no dict of columns of one length ({error})") from error
    if not table.columns.is_unique:
        twice = sorted({str(name) for name in table.columns[table.columns.duplicated()]})
        raise ValueError(f"the predictions table has a column {', '.join(twice)} more than once")
    if missing := [key for key in KEYS if key not in table.columns]:
        raise ValueError(
            f"the predictions table has no column {', '.join(missing)}; it needs {', '.join(KEYS)} and z_AU.., y_AU.."
        )
    if not len(table):
        raise ValueError("the predictions table has no rows")
    table = table.reset_index(drop=True)
    for key in _TEXT:
        if (lacking := table[key].isna()).any():
            raise ValueError(f"the predictions table has no {key} in row {lacking.idxmax()}; every row needs one")
    text = {key: pd.Series([str(cell) for cell in table[key]], dtype=object) for key in _TEXT}
    for key, cells in text.items():
        if odd := [cell for cell in cells.unique() if _NO_NAME.search(cell)]:
            raise ValueError(f"the predictions table has {key} {shown(odd[0])}; expected printable text")
    scored = {name: _numbers(table[name], str(name)) for name in table.columns if _SCORED.fullmatch(str(name))}
    seed = _numbers(table["seed"], "seed")
    if (odd := ~((seed >= 0) & (seed < 2**53) & (seed % 1 == 0))).any():
        raise ValueError(f"the predictions table has seed {seed[odd].iloc[0]!r}; a seed is a whole number")
    return table.assign(**text, **scored, seed=seed.astype("int64"))


def _read_file(path: Path) -> pd.DataFrame:
    if path.suffix not in (".parquet", ".csv"):
        raise ValueError(f"{shown(str(path))} is no table this package reads; give a .parquet or .csv file")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no file '{path}'") from error
    except (ValueError, OSError) as error:  # of pyarrow, pandas and the file system
        raise ValueError(f"'{path}' cannot be read as a table ({' '.join(str(error).split())})") from error


def _numbers(column: pd.Series, name: str) -> pd.Series:
    """The column as it is where it holds numbers, or the numbers that its cells say."""
    if column.dtype.kind in "biuf" and isinstance(column.dtype, np.dtype):
        return column
    values = column.astype(object)
    if "intensity" in name:  # an empty cell of a CSV file: not known
        values = values.where(values != "", np.nan)
    plain = values.map(lambda cell: isinstance(cell, int | float | np.number | str) and not isinstance(cell, complex))
    numbers = pd.to_numeric(values.where(plain | values.isna(), "?"), errors="coerce").astype("float64")
    wrong = (numbers.isna() & values.notna()) | np.isinf(numbers)
    if wrong.any():
        row = wrong.idxmax()
        raise ValueError(f"the predictions table has {name} = {shown(values[row])} in row {row}; expected a number")
    whole = name.startswith("y_AU") and not (numbers.isna().any() or (numbers % 1).any())
    return numbers.astype("int64") if whole else numbers


def sort_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by (seed, dataset, subject, clip_id); columns: keys, then z_, p_ and y_ by AU number, and intensities."""
    aus, kinds = aus_of_table(table, kind="zpy"), ("z", "p", "y", "intensity", "y_intensity")
    scored = [name for kind in kinds for au in aus if (name := f"{kind}_{au}") in table.columns]
    others = sorted(column for column in table.columns if column not in (*KEYS, *scored))
    rows = table.sort_values(["seed", "dataset", "subject", "clip_id", "fold"], kind="stable", ignore_index=True)
    return rows[[*KEYS, *scored, *others]]


def aus_of_table(table: pd.DataFrame, kind: str = "z") -> tuple[str, ...]:
    """AU1, AU2, .. of the table's z_ columns, by number."""
    pattern = re.compile(rf"[{kind}]_(AU([0-9]+))")
    numbers = {match[1]: int(match[2]) for column in table.columns if (match := pattern.fullmatch(str(column)))}
    if not numbers:
        raise ValueError(f"the table has no z_AU column; its columns are {', '.join(map(str, table.columns))}")
    return tuple(sorted(numbers, key=numbers.__getitem__))


def write_table(table: pd.DataFrame, path: str | Path) -> None:
    """Parquet with the rows sorted and nothing in the file but the table: the same rows give the same bytes."""
    write_parquet(sort_rows(read_table(table)), path)


def write_parquet(frame: pd.DataFrame, path: str | Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    with replacing(path) as partial:
        pq.write_table(plain, partial, compression="zstd")


def write_json(content: Any, path: str | Path) -> None:
    write_text(json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n", path)


def write_text(text: str, path: str | Path) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def read_json(path: str | Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"'{path}' is not JSON ({error}); it was cut short or edited by hand") from error


def _fold_order(entry: Mapping) -> tuple[int, str]:
    return int(entry["seed"]), str(entry["fold"])
