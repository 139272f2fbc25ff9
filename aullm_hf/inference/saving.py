"""Rows to disk while they come: a journal beside the results, a line a source, and from it the results themselves.

A source is in the journal with all of its rows or not at all, so that a run which was stopped, however roughly, goes
on where it was. The results are written from the journal and put in place in one step.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..version import __version__
from .reading.sources import Source
from .results import columns_of, disarmed, kind_of, name_aus, typed

FORMATS = (".csv", ".parquet", ".json", ".jsonl")
AT_ONCE = 2_000  # rows in memory while the results are written


class ResultsError(ValueError):
    """What stands at the place of the results does not let them be written."""


def check_out(out: Path) -> None:
    """Refuse a place that could not be written to, before any model is loaded."""
    if out.suffix.lower() not in FORMATS:
        raise ResultsError(f"{out} ends in {out.suffix or 'nothing'!r}; results are one of {', '.join(FORMATS)}")
    if out.is_dir():
        raise ResultsError(f"{out} is a folder; name a file in it, such as {out / 'aus.parquet'}")
    check_folder(out.parent)


def check_folder(folder: Path) -> None:
    """Refuse a folder that is not there and could not be made, or that may not be written to."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise ResultsError(f"{there} is a file, so nothing can be written below it; give another place with --out")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ResultsError(f"the folder {there} may not be written to; give another place with --out")


def journal_of(out: Path) -> Path:
    return out.with_name(out.name + ".journal.jsonl")


class Results:
    """The results at `out`, to which sources are added one by one; what is there already need not be computed again.

    settings: all that the rows depend on beside the sources. Results that were made with others are not continued.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], labels: list[str], *, overwrite: bool = False):
        check_out(out)
        self.out, self.journal, self.labels = out, journal_of(out), labels
        self.places: dict[str, tuple[int, int, list | None, int]] = {}  # key -> offset, length, stamp, bad rows
        self.rows = 0
        self._named: dict[str, int] = {}
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not self.journal.exists() and not overwrite:
            raise ResultsError(
                f"{out} exists, and {self.journal.name}, by which it could be continued, does not; give another place "
                "with --out, or --overwrite it"
            )
        self.file = self.journal.open("a+b")
        _lock(self.file, out)
        if overwrite:
            self.file.truncate(0)
        head = {"aullm_hf": __version__, "settings": json.loads(json.dumps(dict(settings))), "labels": labels}
        self.file.seek(0)
        first = self.file.readline()
        if first.endswith(b"\n"):
            self._continue(first, head)
        else:
            self.file.truncate(0)
            self._append(head)

    def _continue(self, first: bytes, head: dict) -> None:
        """Take over what was written with the same settings."""
        then = _line(first)
        if then is None or "settings" not in then:
            raise ResultsError(f"{self.journal} is no journal of results; move it away, or give another --out")
        before, now = {**then["settings"], "AUs": then["labels"]}, {**head["settings"], "AUs": head["labels"]}
        differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if differ:
            listed = "; ".join(f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in differ)
            raise ResultsError(
                f"{self.out} holds results that were made otherwise ({listed}); give another place with --out, or "
                "--overwrite them"
            )
        whole = self.file.tell()
        for line in iter(self.file.readline, b""):
            if not line.endswith(b"\n"):  # the run was stopped while it wrote this
                break
            if (entry := _line(line)) is not None:
                bad = sum(bool(row["reason"]) for row in entry["rows"])
                self.places[entry["key"]] = whole, len(line), entry["stamp"], bad
            whole += len(line)
        self.file.truncate(whole)

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()

    # ---------------------------------------------------------------- sources

    def key(self, source: Source) -> str:
        """What a source is found by again; one that is named twice has a key each time."""
        asked = [source.name, source.start, source.end, source.onset, source.offset, source.fps]
        key = json.dumps(asked)
        self._named[key] = self._named.get(key, 0) + 1
        return json.dumps([*asked, self._named[key]])

    def has(self, key: str, source: Source) -> bool:
        """Whether the rows are there, and the file has not changed since."""
        return key in self.places and self.places[key][2] == stamp(source)

    def add(self, key: str, source: Source, rows: pd.DataFrame) -> None:
        plain = [{name: _plain(value) for name, value in row.items()} for row in rows.to_dict("records")]
        entry = {"key": key, "stamp": stamp(source), "rows": plain}
        offset, length = self._append(entry)
        self.places[key] = offset, length, entry["stamp"], sum(bool(row["reason"]) for row in plain)

    def bad_rows(self, keys: list[str]) -> int:
        """Rows with a reason."""
        return sum(self.places[key][3] for key in keys)

    def _append(self, entry: dict) -> tuple[int, int]:
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        offset = self.file.seek(0, os.SEEK_END)
        self.file.write(line)
        self.file.flush()
        return offset, len(line)

    # ---------------------------------------------------------------- the results

    def write(self, *, named: bool = False) -> int:
        """All rows to `out`, in the order in which the sources came; how many. `named`: one row a clip and AU."""
        part = self.out.with_name(f".{self.out.name}.part")
        form = name_aus if named else lambda table: table
        try:
            count = WRITERS[self.out.suffix.lower()](part, map(form, self._tables()))
            os.replace(part, self.out)
        finally:
            part.unlink(missing_ok=True)
        return count

    def _tables(self) -> Iterator[pd.DataFrame]:
        """The rows in pieces of the same columns and types, at least one."""
        rows: list[dict] = []
        pieces = 0
        for offset, length, *_ in list(self.places.values()):
            self.file.seek(offset)
            rows += json.loads(self.file.read(length))["rows"]
            if len(rows) >= AT_ONCE:
                yield typed(pd.DataFrame(rows, columns=columns_of(self.labels)))
                rows, pieces = [], pieces + 1
        if rows or not pieces:
            yield typed(pd.DataFrame(rows, columns=columns_of(self.labels)))


def stamp(source: Source) -> list | None:
    """(size, time of change) of a source's file or folder; of a list of files, of all of them together."""
    paths = [source.path] if source.path else source.frames or []
    try:
        stats = [os.stat(path) for path in paths]
    except OSError:
        return None
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)] if stats else None


def _line(line: bytes) -> dict | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _plain(value: Any) -> Any:
    if value is None or value is pd.NA or value != value:
        return None
    return value.item() if hasattr(value, "item") else value


def _lock(file: Any, out: Path) -> None:
    """One process a result; where the system knows no such locks, nobody is stopped."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ResultsError(f"another process is writing {out}; wait for it, or give another --out") from error
    except OSError:
        return


# -------------------------------------------------------------------- formats


def _write_csv(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        for at, table in enumerate(tables):
            disarmed(table).to_csv(file, index=False, header=at == 0)
            count += len(table)
    return count


def _write_parquet(path: Path, tables: Iterator[pd.DataFrame]) -> int:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    arrow = {"int64": pa.int64(), "float64": pa.float64(), "boolean": pa.bool_(), "object": pa.string()}
    first = next(tables)
    schema = pa.schema([(name, arrow[kind_of(name)]) for name in first.columns])
    count = 0
    with ParquetWriter(path, schema) as writer:
        for table in (first, *tables):
            writer.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False))
            count += len(table)
    return count


def _write_json(path: Path, tables: Iterator[pd.DataFrame], *, lines: bool = False) -> int:
    """An array of objects, or with `lines` an object a line; what is missing is null."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("" if lines else "[")
        for table in tables:
            for row in table.to_dict("records"):
                before = "" if lines else ",\n " if count else "\n "
                text = json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False)
                file.write(before + text + ("\n" if lines else ""))
                count += 1
        file.write("" if lines else "\n]\n")
    return count


WRITERS: dict[str, Callable[[Path, Iterator[pd.DataFrame]], int]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
    ".jsonl": lambda path, tables: _write_json(path, tables, lines=True),
}


def short(reason: str) -> str:
    """A reason without its figures and particulars, to count alike ones together."""
    return re.split(r"\s*[(;:]|\s+(?:in|from|between|after)\s.*?\d", reason)[0]
