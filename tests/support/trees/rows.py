"""The rows of each data set's tree: ordinary clips, and one for every quirk that the published files are known for."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from aullm_hf.data.synthetic.domains import DOMAINS
from support.trees.truth import Part


@dataclass(frozen=True)
class Row:
    """A row of a table and its folder. What is true stands in the fields, what the table says instead in `written`."""

    subject: str
    clip: str
    onset: int
    apex: int | None
    offset: int
    parts: tuple[Part, ...] | None
    emotion: str | None = "others"
    written: dict = field(default_factory=dict)  # cells that say something else than the truth
    corrected: tuple[str, ...] = ()  # fields that a published correction mends
    reading: str | None = None  # the published reading of an ambiguous AU cell
    cell: object = None  # the AU cell as written, where it is not the parts joined by "+"
    findings: tuple[tuple[str, str], ...] = ()  # (level, kind) that a report must list
    missing: frozenset[int] = frozenset()  # frames that are not on disk
    on_disk: tuple[int, int] | None = None  # first and last frame there, where that is not onset..offset
    stray: tuple[str, ...] = ()  # other files in the folder
    no_folder: bool = False
    empty: bool = False  # a folder without frames
    loose: bool = False  # a folder without a row
    notes: dict = field(default_factory=dict)  # what a data set's own columns and folders need

    @property
    def usable(self) -> bool:
        return not any(level == "error" for level, _ in self.findings)

    def mended(self) -> "Row":
        """The same row with a folder and frames, so that its clip can be used."""
        doubts = tuple(finding for finding in self.findings if finding[0] != "error")
        return replace(self, findings=doubts, no_folder=False, empty=False)

    @property
    def au_cell(self) -> object:
        """A single AU without side or intensity is a number cell, as spreadsheet programs make it."""
        if self.cell is not None:
            return self.cell
        text = "+".join(part.text for part in self.parts or ())
        return int(text) if text.isdigit() else text

    @property
    def au_text(self) -> str:
        return str(self.au_cell)


@dataclass
class Form:
    """How a data set is written down."""

    name: str
    fps: float
    image: tuple[int, int, int]  # width, height, and width of the face in it
    table: str | None
    images: str
    header: list
    rows: list[Row]
    cells: Callable[[Row, int], list]
    folder: Callable[[Row], str]
    frame: Callable[[Row, int], str]
    preamble: list[list] = field(default_factory=list)
    sheet: str | None = None
    empty_sheets: tuple[str, ...] = ()
    beside: Callable[[Row, int], list[str]] = lambda row, number: []

    @property
    def first_row(self) -> int:
        return len(self.preamble) + 2


def plain(*tokens: str) -> tuple[Part, ...]:
    """Parts of ordinary tokens: "L1", "12B", 4."""
    return tuple(Part(str(token), (int("".join(c for c in str(token) if c.isdigit())),)) for token in tokens)


def form_of(name: str, rng: np.random.Generator, images: str | None, published: bool) -> Form:
    from support.trees import forms as forms

    make = {
        "casme2": forms.casme2,
        "samm": forms.samm,
        "casme": forms.casme,
        "mmew": forms.mmew,
        "4dme": forms.fourdme,
        "casme3": forms.casme3,
        "smic": forms.smic,
    }[name]
    return make(rng, images, published)


def length(rng: np.random.Generator, name: str, published: bool) -> int:
    """Frames of an ordinary clip: a handful, or as many as published."""
    if not published:
        return int(rng.integers(5, 10))
    shortest, median, longest = DOMAINS[name].seconds
    return round(float(np.clip(median * np.exp(0.35 * rng.standard_normal()), shortest, longest)) * DOMAINS[name].fps)


def ordinary(rng, subject: str, clip: str, *, domain="casme2", onset=None, frames=None, side=True, **more) -> Row:
    """A clip without quirks: some AUs, an apex inside."""
    combinations = DOMAINS[domain].combinations
    weights = np.array(list(combinations.values()), float)
    aus = list(combinations)[rng.choice(len(combinations), p=weights / weights.sum())].split("+")
    mark = "LR"[int(rng.integers(2))] if side and rng.random() < 0.2 else ""
    onset = int(rng.integers(1, 200)) if onset is None else onset
    frames = int(rng.integers(5, 10)) if frames is None else frames
    apex = onset + int(rng.integers(1, frames - 1))
    row = Row(subject, clip, onset, apex, onset + frames - 1, plain(mark + aus[0], *aus[1:]))
    return replace(row, **more)
