"""Rows and what became of all sources, in words for a terminal."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from ..arguments import counted, first_few
from ..data.facs import au_name
from .journal import Entry
from .reading.clip_source import ClipSource

LISTED = 6  # reasons


class Summary:
    """Counts what was read and what was not, over all sources of a command."""

    def __init__(self, listed: Iterable[ClipSource]):
        listed = list(listed)
        self.sources = [source for source in listed if not source.ignored]
        self.ignored = [source for source in listed if source.ignored]
        self.earlier = 0  # sources whose rows were there already
        self.rows = self.read = self.failed = 0
        self.reasons: Counter[str] = Counter()

    def add(self, rows: pd.DataFrame) -> None:
        reasons = [short_reason(reason) for reason in rows["reason"] if reason]
        self._count(len(rows), len(reasons))
        self.reasons.update(reasons)

    def add_earlier(self, entries: Sequence[Entry]) -> None:
        self.earlier += len(entries)
        for entry in entries:
            self._count(entry.rows, entry.failed)

    def _count(self, rows: int, failed: int) -> None:
        self.rows += rows
        self.read += rows - failed
        self.failed += failed

    def text(self, out: Path | None = None) -> str:
        parts = [f"{counted(len(self.sources), 'source')}, {counted(self.rows, 'row')}"]
        if self.earlier:
            parts.append(f"{counted(self.earlier, 'source')} had rows already")
        why = ", ".join(f"{count} x {reason}" for reason, count in self.reasons.most_common(LISTED))
        if self.failed:
            parts.append(f"{counted(self.failed, 'row')} with a reason" + (f" ({why})" if why else ""))
        else:
            parts.append("all were read")
        if self.ignored:
            names = first_few((source.name for source in self.ignored), 3)
            parts.append(f"{counted(len(self.ignored), 'other file')} left out, neither video nor picture ({names})")
        return "; ".join(parts) + (f" -> {out}" if out else "")

    def exit_status(self, strict: bool = False) -> int:
        """1 if nothing was read, if what the caller named does not exist, or if `strict` and a row has a reason."""
        missing = any(source.missing for source in self.sources)
        return int(not self.read or missing or (strict and self.failed > 0))


def lines_of(rows: pd.DataFrame, labels: Sequence[str], *, shown: str = "") -> list[str]:
    """One line per row: the active AUs by name, or why there are none.

    Args:
        rows: of one source; what is to be known of several of them is said once.
        shown: warnings that were shown before.
    """
    known, lines = set(shown.split("; ")), []
    for row in rows.to_dict("records"):
        notes = [note for note in row["warning"].split("; ") if note and note not in known]
        known.update(notes)
        lines.append(_line(row, labels) + (f"  [{'; '.join(notes)}]" if notes else ""))
    return lines


def _line(row: dict, labels: Sequence[str]) -> str:
    where = row["source"]
    if row["start"] == row["start"]:  # not NaN
        where += f"  {row['start']:.2f}-{row['end']:.2f} s"
    elif not (pd.isna(row["onset"]) and pd.isna(row["offset"])):
        onset, offset = ("" if pd.isna(row[name]) else row[name] for name in ("onset", "offset"))
        where += f"  frames {onset}-{offset}"
    if row["face_id"]:
        where += f"  face {row['face_id']}"
    if row["reason"]:
        return f"{where}: not read: {row['reason']}"
    active = [
        f"{au_name(int(label.removeprefix('AU')))} {row[f'p_{label}']:.2f} (from {row[f'threshold_{label}']:.2f})"
        for label in labels
        if row[f"active_{label}"]
    ]
    return f"{where}: {', '.join(active) or 'no AU is active'}"


def short_reason(reason: str) -> str:
    """A reason without its figures and particulars, to count alike ones together."""
    return re.split(r"\s*[(;:]|\s+(?:in|from|between|after)\s.*?\d", reason)[0]


__all__ = ["Summary", "lines_of", "short_reason"]
