"""What can be wrong with clips and annotations, as types a caller can catch and a list a person can work through.

Problems are collected, never raised one at a time, so that a tree of 250 clips can be mended in one go.
"""

import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields

ERROR, DOUBT, NOTE = "error", "doubt", "note"
SHOWN = 40  # problems printed in one message; the exception carries all of them


def printable(text: str) -> str:
    """The text with undecodable bytes of file names escaped, so that it can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_control(text: str) -> str:
    """The text with control characters escaped, so that what a file holds cannot steer a terminal."""
    return "".join(repr(one)[1:-1] if unicodedata.category(one).startswith("C") else one for one in text)


@dataclass(frozen=True)
class Problem:
    """One finding: an `error` makes a clip unusable, a `doubt` is loaded as it is, a `note` needs no action."""

    level: str
    kind: str  # a fixed word, for counting and filtering: "au", "frames", "no-folder", ...
    message: str
    file: str | None = None
    row: int | None = None  # as the spreadsheet program numbers it: the first line is 1
    value: str | None = None
    clip: str | None = None  # "subject/clip"

    def __post_init__(self):  # file names may hold bytes that are no text; a report has to be writable
        for name in ("message", "file", "value", "clip"):
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, printable(text))

    def __str__(self) -> str:
        where = ", ".join(
            part
            for part in (
                self.file,
                f"row {self.row}" if self.row else None,
                f"clip {self.clip}" if self.clip else None,
            )
            if part
        )
        return f"{where}: {self.message}" if where else self.message

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Problem":
        return cls(**{field.name: values.get(field.name) for field in fields(cls)})


class DataError(ValueError):
    """Anything wrong with the data; `.problems` lists all that was found, not the first only."""

    def __init__(self, message: str, problems: Iterable[Problem] = ()):
        super().__init__(printable(message))
        self.problems = tuple(problems)

    def __reduce__(self):
        return type(self), (self.args[0], self.problems)


class AnnotationError(DataError):
    """A spreadsheet, one of its rows or one of its cells cannot be understood."""


class ClipError(DataError):
    """The frames of a clip are missing, unreadable or refused."""


class UnsafePathError(ClipError):
    """A name leads outside the data root."""


class FaceError(ClipError):
    """No face was found, or the face detector cannot be had."""


class LicenceError(DataError):
    """The data's agreement does not allow what was asked."""


ANNOTATION_KINDS = frozenset({"table", "header", "row", "au", "frame-number", "subject", "duplicate"})


def error_from(problems: Iterable[Problem], title: str) -> DataError:
    """One exception for all problems of level `error`, of the narrowest type that fits them all."""
    errors = [problem for problem in problems if problem.level == ERROR]
    kinds = {problem.kind for problem in errors}
    if kinds & ANNOTATION_KINDS:
        family: type[DataError] = AnnotationError
    elif kinds == {"unsafe"}:
        family = UnsafePathError
    elif kinds == {"face"}:
        family = FaceError
    else:
        family = ClipError
    lines = [f"- {problem}" for problem in errors[:SHOWN]]
    if len(errors) > SHOWN:
        lines.append(f"- and {len(errors) - SHOWN} more, all in the exception's `problems`")
    many = "problem" if len(errors) == 1 else "problems"
    way_out = "Mend them, or pass on_error='skip' to load the rest and list these in the report."
    head = f"{title}: {len(errors)} {many}. {way_out}"
    return family("\n".join([head, *lines]), errors)
