"""What was recognised, corrected, doubted and skipped in one load: for the caller, the cache and the description."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields

from .errors import DOUBT, ERROR, NOTE, Problem, printable
from .schema import check_dataset

_MARK = "\n\nreport as JSON: "


@dataclass
class Report:
    """The account of one load; `report_of(dataset)` gives it back for any Dataset that was made in it."""

    dataset: str
    title: str
    release: str = ""
    table: str | None = None
    images: str | None = None
    files: str = ""  # digest of the names and sizes of all files that were read: the same for every copy
    rows: int = 0  # rows of the table
    clips: int = 0  # clips that were loaded
    frames: int = 0
    subjects: dict[str, int] = field(default_factory=dict)  # clips per subject
    aus: dict[int, int] = field(default_factory=dict)  # clips per AU
    marked: dict[int, int] = field(default_factory=dict)  # clips per AU in which its intensity is marked
    emotions: dict[str, int] = field(default_factory=dict)
    policies: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)  # how frames were cropped
    corrections: list[dict] = field(default_factory=list)  # those applied, each with its reason
    problems: list[Problem] = field(default_factory=list)
    licence: str = ""

    @classmethod
    def about(cls, raw, policies: dict, recipe, problems: Iterable[Problem] = ()) -> "Report":
        """What reading the table and the folders brought to light, before clips are counted."""
        return cls(
            dataset=raw.name,
            title=raw.title,
            release=raw.release,
            table=raw.table,
            images=raw.images,
            files=_digest_of_files(raw),
            rows=raw.rows,
            policies=policies,
            recipe=recipe.to_dict(),
            corrections=[asdict(correction) for correction in raw.corrections],
            problems=list(problems),
            licence=raw.licence,
        )

    def of_level(self, level: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.level == level]

    @property
    def skipped(self) -> list[Problem]:
        """Why clips or rows are not in the Dataset."""
        return self.of_level(ERROR)

    @property
    def doubts(self) -> list[Problem]:
        """What was loaded as it is, and deserves a look."""
        return self.of_level(DOUBT)

    @property
    def notes(self) -> list[Problem]:
        return self.of_level(NOTE)

    def count(self, records) -> "Report":
        """Fill in the counts of the clips that were loaded."""
        self.clips = len(records)
        self.frames = sum(len(r.frames) or r.offset - r.onset + 1 for r in records)
        self.subjects = dict(sorted(Counter(record.subject for record in records).items()))
        noted = [pair for r in records if r.aus for pair in zip(r.aus, r.intensities, strict=True)]
        self.aus = dict(sorted(Counter(number for number, _ in noted).items()))
        self.marked = dict(sorted(Counter(number for number, level in noted if level is not None).items()))
        self.emotions = dict(Counter(record.emotion for record in records if record.emotion).most_common())
        return self

    def __str__(self) -> str:
        lines = [
            f"{self.title}: {self.release}",
            f"{self.clips} clips of {len(self.subjects)} subjects, {self.frames} frames",
        ]
        if self.aus:
            lines.append("clips per AU: " + " ".join(f"{number}:{count}" for number, count in self.aus.items()))
        if self.marked:
            lines.append(f"intensity marked: {sum(self.marked.values())} of {sum(self.aus.values())} AUs of clips")
        if self.policies:
            lines.append("policies: " + ", ".join(f"{name}={value}" for name, value in self.policies.items()))
        for title, items in (
            (
                "corrected",
                [
                    f"{c['subject']}/{c['clip']}: {c['field']} {c['faulty']} -> {c['value']} ({c['reason']})"
                    for c in self.corrections
                ],
            ),
            ("skipped", self.skipped),
            ("doubtful, loaded as it is", self.doubts),
            ("noted", self.notes),
        ):
            if items:
                lines += [f"{title}: {len(items)}", *(f"  - {item}" for item in items)]
        if self.licence:
            lines.append(self.licence)
        return "\n".join(lines)

    def to_dict(self) -> dict:
        return {**asdict(self), "problems": [problem.to_dict() for problem in self.problems]}

    @classmethod
    def from_dict(cls, values: dict) -> "Report":
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known["problems"] = [Problem.from_dict(problem) for problem in known.get("problems", ())]
        for name in ("aus", "marked"):
            known[name] = {int(number): count for number, count in known.get(name, {}).items()}
        return cls(**known)

    def description(self) -> str:
        """For `DatasetInfo.description`: to read, and to read back."""
        return printable(f"{self}{_MARK}{json.dumps(self.to_dict(), ensure_ascii=False, sort_keys=True)}")


def _digest_of_files(raw) -> str:
    tables = [(name, size) for name, size, _ in raw.files]
    frames = [(frame.path, frame.size) for record in raw.records for frame in record.frames]
    lines = "\n".join(map(repr, sorted({*tables, *frames})))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def report_of(dataset) -> Report | None:
    """The report that a Dataset carries in its description; None for one that was not read from files.

    Args:
        dataset: a `datasets.Dataset`, as `load_clips` returns it, or a part of it.

    Example:

    ```python
    >>> from aullm_hf import load_clips
    >>> from aullm_hf.data import report_of
    >>> clips = load_clips("synthetic", subjects=2, clips_per_subject=2)
    >>> print(report_of(clips))  # synthetic clips are read from no file
    None

    ```

    For a real data set, `print(report_of(clips))` shows the release, the counts, corrections and doubts.
    """
    check_dataset("dataset", dataset)
    text = dataset.info.description or ""
    if _MARK not in text:
        return None
    return Report.from_dict(json.loads(text.rsplit(_MARK, 1)[1]))
