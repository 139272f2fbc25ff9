"""One cell at a time: frame numbers, subjects and names, whatever type the spreadsheet program gave them."""

import math
import re
import unicodedata

from ...arguments import shown
from ..errors import AnnotationError

MAX_FRAME_NUMBER = 100_000_000
NOT_ANNOTATED = frozenset({"/", "-", "--", "?", "n/a", "na", "nan", "none", "null", "\\"})


def frame_number(cell: object, what: str) -> int:
    """46, 46.0, "46" and " 46.0 " are frame 46; anything else is an error that shows the value."""
    number = cell
    if isinstance(cell, str):
        text = unicodedata.normalize("NFKC", cell).strip()
        if not re.fullmatch(r"\d{1,12}(\.0*)?", text):
            raise AnnotationError(f"{what} is {shown(cell)}, which is not a frame number")
        number = int(text.split(".")[0])
    if isinstance(number, bool) or type(number).__name__ == "bool_":
        raise AnnotationError(f"{what} is the truth value {cell!r}, which is not a frame number")
    try:
        value = float(number)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise AnnotationError(
            f"{what} is {shown(cell)} ({type(cell).__name__}), which is not a frame number"
        ) from None
    if not math.isfinite(value) or not value.is_integer() or not 0 <= value <= MAX_FRAME_NUMBER:
        raise AnnotationError(f"{what} is {shown(cell)}; a frame number is a whole number from 0 on")
    return int(value)


def not_annotated(cell: object) -> bool:
    """Whether an apex cell says that there is none: empty, NaN or a mark such as "/"."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return True
    return isinstance(cell, str) and (not cell.strip() or cell.strip().casefold() in NOT_ANNOTATED)


def text_of(cell: object, what: str) -> str:
    """A name as text: numbers lose their ".0", dates and truth values are errors."""
    if isinstance(cell, str):
        text = unicodedata.normalize("NFC", cell).strip()
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise AnnotationError(f"{what} is {shown(cell)}, which holds half of a surrogate pair; type it again")
        if len(text) > 500:
            raise AnnotationError(f"{what} is a text of {len(text):,} characters: {shown(text)}")
        return text
    if isinstance(cell, bool) or hasattr(cell, "isoformat"):
        raise AnnotationError(f"{what} is {shown(cell)} ({type(cell).__name__}); write it as text")
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise AnnotationError(f"{what} is {shown(cell)} ({type(cell).__name__}); write it as text") from None
    if not math.isfinite(value) or not value.is_integer():
        raise AnnotationError(f"{what} is {shown(cell)}; write it as text")
    return str(int(value))


def positive_number(cell: object, what: str, advice: str) -> float:
    """A rate; anything else is an error that says what to write."""
    try:
        value = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value <= 100_000:
        raise AnnotationError(f"{what} is {shown(cell)}; write {advice}")
    return value
