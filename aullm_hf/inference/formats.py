"""A table in pieces to one file and back: CSV, Parquet, JSON or JSON lines."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from .columns import column_type, plain_value, with_types

Tables = Iterator[pd.DataFrame]  # at least one, all of the same columns and types


def write_csv(path: Path, tables: Tables) -> int:
    """The number of rows, as for every format."""
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for at, table in enumerate(tables):
            escape_formulas(table).to_csv(file, index=False, header=at == 0)
            count += len(table)
    return count


def escape_formulas(table: pd.DataFrame) -> pd.DataFrame:
    """For CSV alone, which spreadsheet programs open: a text that they would run as a formula gets an apostrophe.

    Names of files come from strangers, and `=cmd|..` is a name. The other formats hold every text as it is.
    """
    texts = [name for name in table.columns if table[name].dtype == object]
    escaped = {name: table[name].map(_escape_formula, na_action="ignore") for name in texts}
    return table.assign(**escaped).rename(columns=_escape_formula)


def _escape_formula(text: Any) -> Any:
    return f"'{text}" if isinstance(text, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def write_parquet(path: Path, tables: Tables) -> int:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    arrow = {"int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64(), "boolean": pa.bool_()}
    first = next(tables)
    schema = pa.schema([(name, arrow.get(str(dtype), pa.string())) for name, dtype in first.dtypes.items()])
    count = 0
    with ParquetWriter(path, schema) as writer:
        for table in (first, *tables):
            writer.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False))
            count += len(table)
    return count


def write_json(path: Path, tables: Tables) -> int:
    """An array of objects; what is missing is null."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for count, row in enumerate(_json_rows(tables), start=1):
            file.write((",\n " if count > 1 else "\n ") + row)
        file.write("\n]\n")
    return count


def write_json_lines(path: Path, tables: Tables) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, row in enumerate(_json_rows(tables), start=1):  # noqa: B007
            file.write(row + "\n")
    return count


def _json_rows(tables: Tables) -> Iterator[str]:
    for table in tables:
        for row in table.to_dict("records"):
            yield json.dumps(plain_row(row), ensure_ascii=False)


def plain_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as JSON takes it."""
    return {name: plain_value(value) for name, value in row.items()}


WRITERS: dict[str, Callable[[Path, Tables], int]] = {
    ".csv": write_csv,
    ".parquet": write_parquet,
    ".json": write_json,
    ".jsonl": write_json_lines,
}


def read_table(path: str | Path) -> pd.DataFrame:
    """Results as `aullm predict` wrote them, with their types."""
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"{path} ends in {path.suffix or 'nothing'!r}; results are one of {', '.join(WRITERS)}")
    try:
        table = _READERS[path.suffix.lower()](path)
    except ValueError as error:
        raise ValueError(f"{path} could not be read as a table: {error}") from error
    known = {name: column_type(name) for name in table}
    return with_types(table, {name: dtype or str(table[name].dtype) for name, dtype in known.items()})


def _read_csv(path: Path) -> pd.DataFrame:
    known = {name: column_type(name) for name in pd.read_csv(path, nrows=0)}
    return pd.read_csv(path, dtype={name: dtype for name, dtype in known.items() if dtype})


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": _read_csv,
    ".parquet": pd.read_parquet,
    ".json": pd.read_json,
    ".jsonl": partial(pd.read_json, lines=True),
}

__all__ = ["WRITERS", "escape_formulas", "plain_row", "read_table"]
