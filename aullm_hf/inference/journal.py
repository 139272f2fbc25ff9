"""Rows to disk while they come: a journal beside the results, one line per source, and from it the results themselves.

A source is in the journal with all of its rows or not at all, so that a run which was stopped, however roughly,
continues from there. The results are written from the journal and replace what was there in one step.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..version import __version__
from ..whole_files import naming, replacing
from .columns import column_type, column_types, value_type, with_types
from .formats import WRITERS, plain_row
from .output_files import OutputError, check_output_folder
from .reading.clip_source import ClipSource
from .results import name_aus

if TYPE_CHECKING:
    from .detecting import AUDetector

ROWS_AT_ONCE = 2_000  # in memory while the results are written


def check_output_file(path: Path) -> None:
    """Refuse a file that could not be written, before any model is loaded."""
    if path.suffix.lower() not in WRITERS:
        raise OutputError(f"{path} ends in {path.suffix or 'nothing'!r}; results are one of {', '.join(WRITERS)}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file in it, such as {path / 'aus.parquet'}")
    check_output_folder(path.parent)


def journal_path(out: Path) -> Path:
    return out.with_name(out.name + ".journal.jsonl")


@dataclass(frozen=True)
class Entry:
    """Where the rows of one source are in the journal."""

    offset: int
    length: int
    stamp: list | None  # of the source's file when it was read
    columns: dict  # of the caller's table
    rows: int
    failed: int  # rows with a reason


class Results:
    """The results at `out`, to which sources are added one by one; what is there already need not be computed again.

    Args:
        out: a .csv, .parquet, .json or .jsonl file.
        settings: all that the rows depend on beside the sources. Results that were made with others are refused.
        labels: the AUs of the model.
        overwrite: begin anew, whatever is there.

    Example:
        >>> with Results(Path("aus.csv"), detector.settings, detector.labels) as results:  # doctest: +SKIP
        ...     there, missing = results.compare(sources)
        ...     for rows in results.detect(detector, missing):
        ...         print(rows["source"].iloc[0], len(rows))
        ...     results.write()
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], labels: list[str], *, overwrite: bool = False):
        check_output_file(out)
        self.out, self.journal, self.labels = out, journal_path(out), labels
        self.intensity = bool(settings.get("intensity"))
        self.entries: dict[str, Entry] = {}
        self.extra_types: dict[str, str | None] = {}  # of the columns of the callers' tables
        self._times_named: dict[str, int] = {}
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and not self.journal.exists() and not overwrite:
            raise OutputError(
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
        earlier = _parse(first)
        if earlier is None or "settings" not in earlier:
            raise OutputError(f"{self.journal} is no journal of results; move it away, or give another --out")
        before, now = {**earlier["settings"], "AUs": earlier["labels"]}, {**head["settings"], "AUs": head["labels"]}
        differ = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if differ:
            listed = "; ".join(f"{name} was {before.get(name)!r} and is {now.get(name)!r}" for name in differ)
            raise OutputError(
                f"{self.out} holds results that were made with other settings ({listed}); give another place with "
                "--out, or --overwrite them"
            )
        whole = self.file.tell()
        for line in iter(self.file.readline, b""):
            if not line.endswith(b"\n"):  # the run was stopped while it wrote this
                break
            if (entry := _parse(line)) is not None:
                self._remember(entry, whole, len(line))
            whole += len(line)
        self.file.truncate(whole)

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, *_: Any) -> None:
        with naming(self.journal):
            self.file.close()

    # ---------------------------------------------------------------- sources

    def key(self, source: ClipSource) -> str:
        """What a source is found by again; one that is named twice has a key each time."""
        asked = [source.name, source.start, source.end, source.onset, source.offset, source.fps]
        key = json.dumps(asked)
        self._times_named[key] = self._times_named.get(key, 0) + 1
        return json.dumps([*asked, self._times_named[key]])

    def has(self, key: str, source: ClipSource) -> bool:
        """Whether the rows are there, and neither the file nor the caller's table has changed since."""
        entry = self.entries.get(key)
        return entry is not None and entry.stamp == file_stamp(source) and entry.columns == dict(source.columns)

    def compare(self, sources: Sequence[ClipSource]) -> tuple[list[Entry], dict[str, ClipSource]]:
        """(what is there of these sources, those whose rows are still to be computed by their key)."""
        there, missing = [], {}
        for source in sources:
            key = self.key(source)
            if self.has(key, source):
                there.append(self.entries[key])
            else:
                missing[key] = source
        return there, missing

    def detect(self, detector: "AUDetector", missing: Mapping[str, ClipSource]) -> Iterator[pd.DataFrame]:
        """The rows of source after source, each kept as soon as it is there."""
        computed = detector.detect_each(list(missing.values()))
        for key, (source, rows) in zip(missing, computed, strict=True):
            self.add(key, source, rows)
            yield rows

    def add(self, key: str, source: ClipSource, rows: pd.DataFrame) -> None:
        plain = [plain_row(row) for row in rows.to_dict("records")]
        entry = {"key": key, "stamp": file_stamp(source), "columns": dict(source.columns), "rows": plain}
        self._remember(entry, *self._append(entry))

    def _remember(self, entry: dict, offset: int, length: int) -> None:
        rows = entry["rows"]
        failed = sum(bool(row["reason"]) for row in rows)
        columns = entry.get("columns", {})
        self.entries[entry["key"]] = Entry(offset, length, entry["stamp"], columns, len(rows), failed)
        for name in dict.fromkeys(name for row in rows for name in row if column_type(name) is None):
            self.extra_types[name] = value_type((row.get(name) for row in rows), self.extra_types.get(name))

    def _append(self, entry: dict) -> tuple[int, int]:
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with naming(self.journal):
            offset = self.file.seek(0, os.SEEK_END)
            self.file.write(line)
            self.file.flush()
        return offset, len(line)

    # ---------------------------------------------------------------- the results

    def write(self, *, named: bool = False) -> int:
        """All rows to `out`, in the order in which the sources came; how many. `named`: one row per clip and AU."""
        form = name_aus if named else lambda table: table
        with replacing(self.out) as part:
            return WRITERS[self.out.suffix.lower()](part, map(form, self._tables()))

    def _tables(self) -> Iterator[pd.DataFrame]:
        """The rows in pieces of the same columns and types, at least one."""
        extra = {name: dtype or "object" for name, dtype in self.extra_types.items()}
        types = column_types(self.labels, extra, intensity=self.intensity)
        rows: list[dict] = []
        pieces = 0
        for entry in list(self.entries.values()):
            self.file.seek(entry.offset)
            rows += json.loads(self.file.read(entry.length))["rows"]
            if len(rows) >= ROWS_AT_ONCE:
                yield with_types(pd.DataFrame(rows), types)
                rows, pieces = [], pieces + 1
        if rows or not pieces:
            yield with_types(pd.DataFrame(rows), types)


def file_stamp(source: ClipSource) -> list | None:
    """(size, time of change) of a source's file or folder; of a list of files, of all of them together."""
    paths = [source.path] if source.path else source.frames or []
    try:
        stats = [os.stat(path) for path in paths]
    except (OSError, TypeError):  # gone, or not a file but a picture in memory
        return None
    return [sum(stat.st_size for stat in stats), max(stat.st_mtime_ns for stat in stats)] if stats else None


def _parse(line: bytes) -> dict | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _lock(file: Any, out: Path) -> None:
    """One process per result; where the system has no such locks, there is no check."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise OutputError(f"another process is writing {out}; wait for it, or give another --out") from error
    except OSError:
        return


__all__ = ["Entry", "Results", "check_output_file", "file_stamp", "journal_path"]
