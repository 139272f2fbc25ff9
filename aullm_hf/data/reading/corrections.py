"""Known errors of the published tables, as data: `corrections.json`, keyed by clip, each with its reason.

Row numbers of a spreadsheet are not used as keys: copies differ by a row, and a fix would land on a neighbour. A
correction names its clip and the faulty value, and does nothing where another value stands.
"""

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Correction:
    id: str
    dataset: str
    subject: str
    clip: str
    field: str
    faulty: object
    value: object
    reason: str
    onset: tuple[int, int] | None = None  # where clips share a name: the onsets this one is for

    def __str__(self) -> str:
        clip = f"{self.subject}/{self.clip}"
        return f"{clip}: {self.field} {self.faulty} -> {self.value}, because {self.reason} [{self.id}]"


@cache
def all_corrections() -> tuple[Correction, ...]:
    """Every entry of the file; a reading of an ambiguous AU cell is a correction of the field `aus`."""
    entries = json.loads((Path(__file__).parent / "corrections.json").read_text(encoding="utf-8"))["corrections"]
    return tuple(Correction(**{**entry, "onset": tuple(entry.get("onset", ())) or None}) for entry in entries)


class Corrections:
    """Those of one data set that are switched on. `switch`: True, False, or the ids to leave out."""

    def __init__(self, dataset: str, switch: bool | Collection[str] = True):
        mine = [correction for correction in all_corrections() if correction.dataset == dataset]
        if isinstance(switch, str):
            switch = [switch]
        off = set() if isinstance(switch, bool) else set(switch)
        if unknown := off - {correction.id for correction in all_corrections()}:
            raise ValueError(
                f"corrections={sorted(unknown)} names no known correction; {dataset} has "
                f"{', '.join(correction.id for correction in mine) or 'none'}"
            )
        self.values = [c for c in mine if c.field != "aus" and switch is not False and c.id not in off]
        self.readings = [c for c in mine if c.field == "aus" and c.id not in off]

    def value_for(self, subject: str, clip: str, field: str, value: object, onset: int | None) -> Correction | None:
        """The correction of one value, if exactly this faulty value stands there."""
        for correction in self.values:
            if (correction.subject, correction.clip, correction.field) != (subject, clip, field):
                continue
            low, high = correction.onset or (None, None)
            if value == correction.faulty and (low is None or (onset is not None and low <= onset <= high)):
                return correction
        return None

    def reading_for(self, subject: str, clip: str, text: str) -> Correction | None:
        """How the literature reads an ambiguous AU cell of this clip."""
        for correction in self.readings:
            if (correction.subject, correction.clip) == (subject, clip) and _squeezed(correction.faulty) == _squeezed(
                text
            ):
                return correction
        return None


def _squeezed(text: object) -> str:
    return re.sub(r"\s+", "", str(text)).casefold()
