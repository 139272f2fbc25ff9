"""Spotted expressions to disk while they come, part by part of every recording: a killed run goes on where it was."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..formats import plain_row
from ..journal import Results, file_stamp
from ..reading.clip_source import ClipSource
from .spotter import ExpressionSpotter, SpottedPart, table_of_rows


class SpottedResults(Results):
    """The results at `out`, to which recordings are added part by part.

    Args:
        out: a .csv, .parquet, .json or .jsonl file.
        settings: those of the spotter. Results that were made with others are refused.
        overwrite: begin anew, whatever is there.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any], *, overwrite: bool = False):
        super().__init__(out, settings, [], overwrite=overwrite)

    def spot(self, spotter: ExpressionSpotter, source: ClipSource) -> pd.DataFrame:
        """The table of one recording: what is there already, and the rest, each part kept as soon as it is there."""
        key = self.key(source)
        parts = list(self._known(key, file_stamp(source)))
        if not (parts and parts[-1].final):
            for part in spotter.spot_parts(source, parts[-1] if parts else None):
                self._keep(key, source, part)
                parts.append(part)
        return table_of_rows([row for part in parts for row in part.rows])

    def _keep(self, key: str, source: ClipSource, part: SpottedPart) -> None:
        entry = {
            "key": json.dumps([key, part.number]),
            "stamp": file_stamp(source),
            "rows": [plain_row(row) for row in part.rows],
            "places": part.places,
            "final": part.final,
        }
        self._remember(entry, *self._append(entry))

    def _known(self, key: str, stamp: list | None = None) -> Iterator[SpottedPart]:
        """The parts of a recording that are there, from the first to the last; with a stamp, of that file alone."""
        number, final = 0, False
        while not final and (entry := self.entries.get(json.dumps([key, number]))) is not None:
            if stamp is not None and entry.stamp != stamp:
                return
            self.file.seek(entry.offset)
            kept = json.loads(self.file.read(entry.length))
            final = kept["final"]
            yield SpottedPart(number, kept["rows"], kept["places"], final)
            number += 1

    def _tables(self) -> Iterator[pd.DataFrame]:
        """One table per recording, at least one."""
        keys = dict.fromkeys(json.loads(key)[0] for key in self.entries)
        if not keys:
            yield table_of_rows([])
        for key in keys:
            yield table_of_rows([row for part in self._known(key) for row in part.rows])


__all__ = ["SpottedResults"]
