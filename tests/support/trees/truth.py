"""What a written tree holds, known from the writing of it and not from any reading."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Part:
    """One piece of an AU cell, and what it means under each policy."""

    text: str
    aus: tuple[int, ...] = ()  # of an ordinary piece, or of the first alternative
    kind: str = "plain"  # "plain", "ref", "either", "static" or "remark"
    literature: tuple[int, ...] = ()  # of an either: the published reading

    def meant(self, *, either: str, ref: str, static: str) -> tuple[int, ...]:
        if self.kind == "remark" or (self.kind == "ref" and ref == "drop"):
            return ()
        if self.kind == "static" and static == "drop":
            return ()
        if self.kind == "either":
            return {"literature": self.literature, "first": self.aus, "drop": ()}[either]
        return self.aus


@dataclass(frozen=True)
class Finding:
    """Something that a report on the tree must list, in the report's words; `clip` is subject/clip."""

    level: str  # "error": the clip cannot be used; "doubt": loaded as it stands; "note"
    kind: str
    clip: str
    row: int | None = None  # as the spreadsheet program numbers it


@dataclass(frozen=True)
class Change:
    """A published correction that applies to the tree."""

    subject: str
    clip: str
    field: str
    found: object
    value: object


@dataclass
class TrueClip:
    """One row of the table and its frames. Onset, apex, offset are corrected; `as_written` are the table's."""

    dataset: str
    subject: str
    clip: str
    onset: int
    apex: int | None
    offset: int
    fps: float
    parts: tuple[Part, ...] | None  # None: the data set has no AUs
    au_text: str | None
    emotion: str | None
    row: int | None
    folder: str  # relative to the root
    files: tuple[str, ...]  # frames of onset..offset, in order, relative to the root
    as_written: dict = field(default_factory=dict)
    usable: bool = True

    @property
    def clip_id(self) -> str:
        return f"{self.dataset}/{self.subject}/{self.clip}/{self.onset}"

    @property
    def name(self) -> str:
        return f"{self.subject}/{self.clip}"

    def aus(self, *, either: str = "literature", ref: str = "keep", static: str = "drop") -> list[int] | None:
        if self.parts is None:
            return None
        return sorted({au for part in self.parts for au in part.meant(either=either, ref=ref, static=static)})


@dataclass
class Truth:
    """Everything a loader, its report and a checker should say about the tree."""

    name: str
    root: Path
    table: str | None  # relative to the root
    images: str  # the folder that holds the subjects' or emotions' folders, relative to the root
    rows: int
    clips: list[TrueClip] = field(default_factory=list)  # in the table's order, the unusable ones too
    findings: set[Finding] = field(default_factory=set)
    corrections: list[Change] = field(default_factory=list)

    @property
    def usable(self) -> list[TrueClip]:
        return [clip for clip in self.clips if clip.usable]

    @property
    def subjects(self) -> dict[str, int]:
        """Usable clips per subject."""
        counts: dict[str, int] = {}
        for clip in self.usable:
            counts[clip.subject] = counts.get(clip.subject, 0) + 1
        return dict(sorted(counts.items()))

    @property
    def frames(self) -> int:
        return sum(len(clip.files) for clip in self.usable)

    def au_counts(self, **policies: str) -> dict[int, int]:
        """Usable clips per AU."""
        counts: dict[int, int] = {}
        for clip in self.usable:
            for au in clip.aus(**policies) or ():
                counts[au] = counts.get(au, 0) + 1
        return dict(sorted(counts.items()))
