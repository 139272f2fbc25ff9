"""The AU notation of the tables as a parser: `(R6 or R12)+R15`, `ref(7B)+43`, `10A/B`, `A/L12`, `AUR2+12(k)`, `4，7`.

    cell        := part (sep part)*              sep: + , ; and their full-width and Chinese forms
    part        := choice (("or" | "/") choice)* one of them is meant, the coder could not tell which
    choice      := "(" cell ")" | "ref(" cell ")" | token | remark
    token       := ["AU"] [side] number [intensity] ["(k)"] ["?"]
    side        := L | R | A | T | B, or two of them: A/L
    intensity   := A .. E, or two of them: A/B

Nothing is guessed: what is not in the grammar is an error that names the token. Cells that hold numbers are read as
numbers, so that 4.0 is AU 4 and never AU 40.
"""

import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ..arguments import check_choice, shown
from .errors import AnnotationError
from .facs import AUS, LEVELS

EITHER = ("literature", "first", "drop")
REF = ("keep", "drop")
STATIC = ("drop", "keep")

NO_ACTION = frozenset({"0", "AU0", "NONE", "NEUTRAL"})  # a cell that says: annotated, and nothing moves
REMARKS = ("SOFT FOCUS", "?")  # they occur among the tokens of the published tables and are no Action Units

_TOKEN = re.compile(
    r"""(?:AU\s*)?
        (?P<side>[LRATB](?:\s*/\s*[LRATB])?)?\s*
        (?P<number>\d+(?:\.0+)?)(?![.\d])
        \s?(?P<intensity>(?:[A-E](?![A-Z0-9]))(?:\s*/\s*[A-E](?![A-Z0-9]|\s*\d))?)?
        (?![A-Z])
        (?:\s*(?P<static>\(\s*K\s*\)))?
        (?:\s*(?P<uncertain>\?))?""",
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"\s*[+,;、]\s*")
_OR = re.compile(r"\s*(?:/|\bOR\b)\s*")
_OPEN = re.compile(r"\s*(?P<ref>REF)?\s*\(\s*")
_CLOSE = re.compile(r"\s*\)\s*")
_REMARK = re.compile("|".join(re.escape(remark) for remark in REMARKS))


@dataclass(frozen=True)
class ActionUnit:
    """One token: the AU and all that the coder wrote about it."""

    number: int
    side: str = ""  # "", "L", "R", "A", "T", "B" or two: "A/L"
    intensity: str = ""  # "", "A".."E" or two: "A/B"
    ref: bool = False  # written as ref(..)
    static: bool = False  # "(k)": held during the whole clip, so nothing moves
    uncertain: bool = False  # "?": the offset is unclear
    raw: str = ""


@dataclass(frozen=True)
class Either:
    """One of these is meant."""

    choices: tuple[tuple["ActionUnit | Either", ...], ...]
    raw: str = ""


@dataclass(frozen=True)
class Annotation:
    """A parsed cell; `resolve` applies the policies."""

    text: str
    parts: tuple[ActionUnit | Either, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ambiguous(self) -> bool:
        return any(isinstance(part, Either) for part in self.parts)

    def resolve(
        self,
        *,
        either: Literal["literature", "first", "drop"] = "literature",
        ref: Literal["keep", "drop"] = "keep",
        static: Literal["drop", "keep"] = "keep",
        reading: str | None = None,
    ) -> tuple[ActionUnit, ...]:
        """The Action Units that count. `reading`: how the literature reads this very cell, for either="literature"."""
        check_policies(either=either, ref=ref, static=static)
        parts = self.parts
        if self.ambiguous and either == "literature":
            if reading is None:
                raise AnnotationError(
                    f"{self.text!r} names alternatives, and no published reading of this clip is known; "
                    "pass either='first' (the first named counts) or either='drop' (none of them counts)"
                )
            parts = parse_aus(reading).parts
        units = _flatten(parts, first=either == "first")
        return tuple(
            unit for unit in units if (ref == "keep" or not unit.ref) and (static == "keep" or not unit.static)
        )


def check_policies(**chosen: str) -> None:
    """An error for a policy that does not exist, before any file is read."""
    for name, value in chosen.items():
        check_choice(name, value, {"either": EITHER, "ref": REF, "static": STATIC}[name])


def au_numbers(units: Iterable[ActionUnit]) -> list[int]:
    """Sorted and each once: sides and intensities do not matter for a label."""
    return sorted({unit.number for unit in units})


def au_intensities(units: Iterable[ActionUnit]) -> list[float | None]:
    """For each of `au_numbers`: 1 to 5 for A to E, 1.5 for A/B, None where nothing is marked.

    Of an AU that is named twice, such as `L12A+R12C`, the highest counts.
    """
    marked: dict[int, float | None] = {}
    for unit in units:
        levels = [LEVELS[letter] for letter in unit.intensity.split("/") if letter]
        level = sum(levels) / len(levels) if levels else None
        known = [one for one in (level, marked.get(unit.number)) if one is not None]
        marked[unit.number] = max(known, default=None)
    return [marked[number] for number in sorted(marked)]


def parse_aus(cell: object) -> Annotation:
    """Parse an AU cell; `Annotation.resolve` then applies the policies for doubtful parts.

    Args:
        cell: text, a number (single AUs are number cells), or a list, as Parquet files hold it.

    Raises:
        AnnotationError: for a token that is not in the grammar, with the token.

    Example:

    ```python
    >>> from aullm_hf.data import parse_aus
    >>> from aullm_hf.data.annotations import au_numbers
    >>> annotation = parse_aus("L12A+ref(7B)")
    >>> [(unit.number, unit.side, unit.intensity) for unit in annotation.resolve()]
    [(12, 'L', 'A'), (7, '', 'B')]
    >>> au_numbers(annotation.resolve(ref="drop"))
    [12]

    ```
    """
    if isinstance(cell, (list, tuple)) or (type(cell).__name__ == "ndarray" and cell.ndim):
        if any(isinstance(item, (list, tuple)) or getattr(item, "ndim", 0) for item in cell):
            raise AnnotationError(
                f"the AU cell holds lists within a list, {shown(cell)}; write one list of AU numbers"
            )
        annotations = [parse_aus(item) for item in cell]
        return Annotation(
            text="+".join(annotation.text for annotation in annotations),
            parts=tuple(part for annotation in annotations for part in annotation.parts),
            remarks=tuple(remark for annotation in annotations for remark in annotation.remarks),
        )
    text = _as_text(cell)
    plain = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip().upper()
    if not plain:
        raise AnnotationError("the AU cell is empty; write 0 or none for a clip in which nothing moves")
    if plain.startswith("[") and plain.endswith("]"):  # a list as CSV files get it: [4, 12] or ['AU4']
        plain = re.sub(r"[\[\]'\"]", "", plain).strip() or "NONE"
    if plain in NO_ACTION:
        return Annotation(text=text)
    return _Parser(text, plain).parse()


def _as_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool) or type(cell).__name__ == "bool_":
        raise AnnotationError(f"the AU cell holds the truth value {cell!r}; write the AU numbers, joined by '+'")
    try:
        number = float(cell)  # type: ignore[arg-type]  # int, float, Decimal and numpy scalars
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of torch
        hint = "; the spreadsheet program has read it as a date" if hasattr(cell, "isoformat") else ""
        raise AnnotationError(
            f"the AU cell holds {cell!r} ({type(cell).__name__}){hint}; write the AU numbers as text, joined by '+'"
        ) from None
    if math.isnan(number):
        return ""
    if not number.is_integer() or number < 0:
        raise AnnotationError(
            f"the AU cell holds the number {cell!r}; an AU is a whole number, several are joined by '+'"
        )
    return str(int(number))


class _Parser:
    """Recursive descent over the normalised text; positions only ever move forward."""

    def __init__(self, text: str, plain: str):
        self.text, self.plain, self.at, self.depth = text, plain, 0, 0
        self.remarks: list[str] = []

    def parse(self) -> Annotation:
        parts = self.cell(ref=False)
        if self.at < len(self.plain):
            self.fail()
        return Annotation(text=self.text, parts=parts, remarks=tuple(self.remarks))

    def cell(self, ref: bool) -> tuple[ActionUnit | Either, ...]:
        parts = list(self.part(ref))
        while self.take(_SEPARATOR):
            parts += self.part(ref)
        return tuple(parts)

    def part(self, ref: bool) -> tuple[ActionUnit | Either, ...]:
        start = self.at
        choices = [self.choice(ref)]
        while self.take(_OR):
            choices.append(self.choice(ref))
        if len(choices) == 1:
            return choices[0]
        return (Either(tuple(choices), raw=self.plain[start : self.at].strip()),)

    def choice(self, ref: bool) -> tuple[ActionUnit | Either, ...]:
        if opened := self.take(_OPEN):
            self.depth += 1
            if self.depth > 8:
                raise AnnotationError(f"{_short(self.text)!r} has parentheses more than 8 deep")
            inner = self.cell(ref=ref or bool(opened["ref"]))
            if not self.take(_CLOSE):
                self.fail("a closing parenthesis is missing")
            self.depth -= 1
            return inner
        if remark := self.take(_REMARK):
            self.remarks.append(remark[0].lower())
            return ()
        if token := self.take(_TOKEN):
            return (self.unit(token, ref),)
        self.fail()

    def unit(self, token: re.Match, ref: bool) -> ActionUnit:
        digits = token["number"].split(".")[0]
        number = int(digits) if len(digits) < 9 else -1
        if number not in AUS:
            raise AnnotationError(
                f"unknown AU token {_short(token[0].strip())!r} in {_short(self.text)!r}: {_short(digits)} is not a "
                "FACS code"
            )
        return ActionUnit(
            number=number,
            side=re.sub(r"\s", "", token["side"] or ""),
            intensity=re.sub(r"\s", "", token["intensity"] or ""),
            ref=ref,
            static=bool(token["static"]),
            uncertain=bool(token["uncertain"]),
            raw=token[0].strip(),
        )

    def take(self, pattern: re.Pattern) -> re.Match | None:
        if found := pattern.match(self.plain, self.at):
            self.at = found.end()
        return found

    def fail(self, why: str = "") -> None:
        left = re.split(r"[+,;、]", self.plain[self.at :])[0].strip()
        if not why:
            why = f"unknown AU token {_short(left)!r}" if left else "an AU is missing beside a separator"
        raise AnnotationError(f"{why} in {_short(self.text)!r}; write AU numbers joined by '+', such as L1+2+R12B")


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _flatten(parts: Iterable[ActionUnit | Either], *, first: bool) -> list[ActionUnit]:
    units: list[ActionUnit] = []
    for part in parts:
        if isinstance(part, ActionUnit):
            units.append(replace(part))
        elif first:
            units += _flatten(part.choices[0], first=True)
    return units
