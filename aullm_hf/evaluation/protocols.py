"""Which clips train, which choose thresholds, which test: the folds of every protocol.

A `Fold` computes the subjects that it has seen from its own rows, so the sets cannot drift from the rows, and a tested
subject among them is an error. Subjects are keyed `dataset:subject`: "01" of CASME II and of CASME are two people.

A `dataset` is anything with the columns "dataset", "subject" and "aus" (the sorted AU numbers of each clip): a
`datasets.Dataset` or a dict of lists.
"""

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from ..arguments import check_choice, check_number, check_whole, first_few, shown

MIN_INNER_POSITIVES = 3  # fewer held-out positives than this, and an AU's calibration is not fitted
_CANDIDATES = 2000  # subsets of subjects that the stratified inner choice looks at


@dataclass(frozen=True)
class Fold:
    """The rows of one fold, and the subjects that they belong to.

    `subject_of_row` is the key of every row of the whole data set; `train`, `inner` and `test` are indices into it.
    """

    name: str
    subject_of_row: tuple[str, ...] = field(repr=False)
    train: tuple[int, ...] = field(repr=False)
    test: tuple[int, ...] = field(repr=False)
    inner: tuple[int, ...] = field(default=(), repr=False)
    train_subjects: frozenset[str] = field(init=False)
    inner_subjects: frozenset[str] = field(init=False)
    test_subjects: frozenset[str] = field(init=False)

    def __post_init__(self):
        for part in ("train", "inner", "test"):
            rows = tuple(sorted(int(row) for row in getattr(self, part)))
            if len(set(rows)) != len(rows):
                raise ValueError(f"fold '{self.name}': a row stands twice in {part}; give each row once")
            if rows and not (0 <= rows[0] and rows[-1] < len(self.subject_of_row)):
                raise ValueError(
                    f"fold '{self.name}': {part} has rows {rows[0]}..{rows[-1]}, but the data set has rows "
                    f"0..{len(self.subject_of_row) - 1}"
                )
            object.__setattr__(self, part, rows)
            object.__setattr__(self, f"{part}_subjects", frozenset(self.subject_of_row[row] for row in rows))
        for part in ("train", "test"):
            if not getattr(self, part):
                raise ValueError(f"fold '{self.name}' has no {part} clips; it needs at least one")
        for one, other in (("train", "test"), ("inner", "test"), ("train", "inner")):
            if shared := getattr(self, f"{one}_subjects") & getattr(self, f"{other}_subjects"):
                raise ValueError(
                    f"fold '{self.name}': {first_few(shared)} would stand in both {one} and {other}; "
                    "every subject belongs to one of them only"
                )

    @property
    def seen_subjects(self) -> frozenset[str]:
        """Everybody who may have shaped the model, its calibration or its thresholds."""
        return self.train_subjects | self.inner_subjects

    @property
    def refit(self) -> tuple[int, ...]:
        """The rows of `inner: refit`'s second training: all but the test."""
        return tuple(sorted(self.train + self.inner))

    def with_train_clips(self, count: int, seed: int) -> "Fold":
        """The same fold with `count` of its training clips, drawn evenly from its subjects, for a learning curve."""
        if not 1 <= count <= len(self.train):
            raise ValueError(f"train_clips is {count}; fold '{self.name}' allows 1 to {len(self.train)}")
        shuffled = np.random.default_rng(seed).permutation(self.train).tolist()
        turn_of_row, turns = {}, Counter()  # a subject's first clip has turn 1, its second turn 2, ..
        for row in shuffled:
            turns[self.subject_of_row[row]] += 1
            turn_of_row[row] = turns[self.subject_of_row[row]]
        return replace(self, train=tuple(sorted(shuffled, key=turn_of_row.get)[:count]))


def leave_one_subject_out(
    dataset: Any,
    *,
    inner: str = "holdout",
    inner_fraction: float = 0.2,
    seed: int = 0,
    aus: Sequence[int] | None = None,
) -> list[Fold]:
    """One fold per subject: it tests on all clips of that subject and trains on those of the others.

    Args:
        dataset: the clips, with the columns "dataset", "subject" and "aus": a `datasets.Dataset`, or a dict of lists.
        inner: "holdout" holds some training subjects out, to calibrate and to choose thresholds; "refit" does too, and
            the model is then trained again with them; "none" holds nobody out.
        inner_fraction: of the training subjects that are held out.
        seed: chooses who is held out.
        aus: the AUs by which they are chosen (default: all that occur).

    Returns:
        Folds in the order of the subjects' names, each with `train`, `inner` and `test` rows and the subjects of each.

    Example:
        >>> from aullm_hf import leave_one_subject_out
        >>> clips = {
        ...     "dataset": ["mine"] * 6,
        ...     "subject": ["01", "01", "02", "02", "03", "03"],
        ...     "aus": [[4], [], [4, 12], [12], [], [4]],
        ... }
        >>> for fold in leave_one_subject_out(clips, inner="none"):
        ...     print(fold.name, fold.train, fold.test)
        sub01 (2, 3, 4, 5) (0, 1)
        sub02 (0, 1, 4, 5) (2, 3)
        sub03 (0, 1, 2, 3) (4, 5)
    """
    _check_arguments(dataset, inner, inner_fraction, seed, aus)
    keys, names = subject_keys(dataset), _column(dataset, "dataset")
    subjects = sorted(set(keys))
    if len(subjects) < 2:
        raise ValueError(
            f"leave-one-subject-out needs at least 2 subjects, got {len(subjects)}: {first_few(subjects)}"
        )
    several = len(set(names)) > 1
    folds = []
    for subject in subjects:
        test = [row for row, key in enumerate(keys) if key == subject]
        train = [row for row, key in enumerate(keys) if key != subject]
        folds.append(Fold(_fold_name(subject, with_dataset=several), tuple(keys), tuple(train), tuple(test)))
    return _with_inner(folds, dataset, inner, inner_fraction, seed, aus)


def cross_domain(
    dataset: Any,
    source: str,
    target: str,
    *,
    inner: str = "holdout",
    inner_fraction: float = 0.2,
    seed: int = 0,
    aus: Sequence[int] | None = None,
) -> list[Fold]:
    """One fold: train on all of `source`, test on all of `target`; calibration and thresholds from the source only.

    Args:
        dataset: the clips, with the columns "dataset", "subject" and "aus": a `datasets.Dataset`, or a dict of lists.
        source, target: names in the column "dataset".
        inner: "holdout" holds some training subjects out, to calibrate and to choose thresholds; "refit" does too, and
            the model is then trained again with them; "none" holds nobody out.
        inner_fraction: of the training subjects that are held out.
        seed: chooses who is held out.
        aus: the AUs by which they are chosen (default: all that occur).

    Returns:
        A list of the one fold, called `SOURCE-to-TARGET`.

    Example:
        >>> from aullm_hf import cross_domain
        >>> clips = {
        ...     "dataset": ["casme2"] * 4 + ["samm"] * 2,
        ...     "subject": ["01", "01", "02", "02", "03", "03"],
        ...     "aus": [[4], [], [4, 12], [12], [], [4]],
        ... }
        >>> (fold,) = cross_domain(clips, "casme2", "samm")
        >>> fold.name, fold.test, len(fold.train_subjects), len(fold.inner_subjects)
        ('casme2-to-samm', (4, 5), 1, 1)
    """
    _check_arguments(dataset, inner, inner_fraction, seed, aus)
    names = _column(dataset, "dataset")
    for wanted in (source, target):
        if not isinstance(wanted, str) or wanted not in set(names):
            raise ValueError(f"no clip of data set {shown(wanted)}; the table has {first_few(set(names))}")
    if source == target:
        raise ValueError(f"source and target are both '{source}'; cross-domain needs two data sets")
    train = tuple(row for row, name in enumerate(names) if name == source)
    test = tuple(row for row, name in enumerate(names) if name == target)
    folds = [Fold(_folder_name(f"{source}-to-{target}"), tuple(subject_keys(dataset)), train, test)]
    return _with_inner(folds, dataset, inner, inner_fraction, seed, aus)


def leave_one_dataset_out(
    dataset: Any,
    *,
    inner: str = "holdout",
    inner_fraction: float = 0.2,
    seed: int = 0,
    aus: Sequence[int] | None = None,
) -> list[Fold]:
    """One fold per data set: test on all of it, train on all the others."""
    _check_arguments(dataset, inner, inner_fraction, seed, aus)
    names, keys = _column(dataset, "dataset"), tuple(subject_keys(dataset))
    if len(set(names)) < 2:
        raise ValueError(f"leave-one-data-set-out needs at least 2 data sets, got {first_few(set(names))}")
    folds = [
        Fold(
            _folder_name(left_out),
            keys,
            tuple(row for row, name in enumerate(names) if name != left_out),
            tuple(row for row, name in enumerate(names) if name == left_out),
        )
        for left_out in sorted(set(names))
    ]
    return _with_inner(folds, dataset, inner, inner_fraction, seed, aus)


def holdout(
    dataset: Any,
    *,
    test_fraction: float = 0.1,
    inner: str = "holdout",
    inner_fraction: float = 0.2,
    seed: int = 0,
    aus: Sequence[int] | None = None,
) -> list[Fold]:
    """One fold in all, called `holdout`: it tests on a share of the subjects, drawn with the seed, at least one."""
    _check_arguments(dataset, inner, inner_fraction, seed, aus)
    check_number("test_fraction", test_fraction, 0, 1)
    keys = subject_keys(dataset)
    subjects = sorted(set(keys))
    if len(subjects) < 2:
        raise ValueError(f"held-out subjects need at least 2 subjects, got {len(subjects)}: {first_few(subjects)}")
    size = min(max(1, round(test_fraction * len(subjects))), len(subjects) - 1)
    tested = set(np.random.default_rng([seed, 0x7E57]).permutation(subjects)[:size].tolist())
    test = tuple(row for row, key in enumerate(keys) if key in tested)
    train = tuple(row for row, key in enumerate(keys) if key not in tested)
    return _with_inner([Fold("holdout", tuple(keys), train, test)], dataset, inner, inner_fraction, seed, aus)


def inner_holdout(
    fold: Fold, dataset: Any, *, fraction: float = 0.2, seed: int = 0, aus: Sequence[int] | None = None
) -> Fold:
    """Move `fraction` of the fold's training subjects to `inner`, stratified by AU.

    Of all subsets of that many subjects (or of 2,000 drawn with the seed, where there are more) the one is taken that
    leaves the fewest AUs without enough positives on either side, and then whose clips and positives per AU come
    closest to the fraction. The choice depends on the fold and the seed alone, not on the other folds, and never on a
    test row.
    """
    if not isinstance(fold, Fold):
        raise TypeError(f"fold={shown(fold)} is not allowed; give a Fold, as leave_one_subject_out makes them")
    _check_arguments(dataset, "holdout", fraction, seed, aus)
    labels, rows = _column(dataset, "aus"), fold.refit
    subjects = sorted({fold.subject_of_row[row] for row in rows})
    if len(subjects) < 2:
        raise ValueError(
            f"fold '{fold.name}' trains on one subject, {first_few(subjects)}: nobody can be held out; use inner: none"
        )
    if bare := [row for row in rows if labels[row] is None]:
        raise ValueError(f"row {bare[0]} has no AU annotation (aus is None); leave unlabelled clips out of a protocol")
    wanted = sorted(set(aus) if aus is not None else {au for row in rows for au in labels[row]})
    place = {subject: i for i, subject in enumerate(subjects)}
    counts = np.zeros((len(subjects), 1 + len(wanted)))  # (S, 1 + n_AU): clips, then positives per AU
    present = np.array([[1, *(au in labels[row] for au in wanted)] for row in rows])
    np.add.at(counts, [place[fold.subject_of_row[row]] for row in rows], present)
    size = min(max(1, round(fraction * len(subjects))), len(subjects) - 1)
    chosen = _closest_subset(counts, size, fraction, np.random.default_rng([seed, zlib.crc32(fold.name.encode())]))
    held = {subjects[i] for i in chosen}
    return replace(
        fold,
        train=tuple(row for row in rows if fold.subject_of_row[row] not in held),
        inner=tuple(row for row in rows if fold.subject_of_row[row] in held),
    )


def subject_keys(dataset: Any) -> list[str]:
    """`dataset:subject` of every row."""
    return [
        f"{name}:{subject}"
        for name, subject in zip(_column(dataset, "dataset"), _column(dataset, "subject"), strict=True)
    ]


def _closest_subset(counts: np.ndarray, size: int, fraction: float, rng: np.random.Generator) -> np.ndarray:
    n = len(counts)
    if comb(n, size) <= _CANDIDATES:
        subsets = np.array(list(combinations(range(n), size)))
    else:
        subsets = np.argsort(rng.random((_CANDIDATES, n)), axis=1)[:, :size]
    subsets = subsets[rng.permutation(len(subsets))]  # ties are broken by the seed
    held = counts[subsets].sum(axis=1)  # (C, 1 + n_AU)
    total = counts.sum(axis=0)
    starved = (held[:, 1:] < np.minimum(MIN_INNER_POSITIVES, total[1:] / 2)).sum(axis=1)
    starved = starved + (total[1:] - held[:, 1:] < np.minimum(MIN_INNER_POSITIVES, total[1:] / 2)).sum(axis=1)
    off = np.abs(held / np.maximum(total, 1) - fraction).mean(axis=1)
    return subsets[np.lexsort((off.round(12), starved))[0]]


def _with_inner(folds, dataset, inner, inner_fraction, seed, aus) -> list[Fold]:
    names = [fold.name for fold in folds]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two subjects would share the fold name {first_few(twice)}; rename one of them in the data")
    if inner == "none":
        return folds
    return [inner_holdout(fold, dataset, fraction=inner_fraction, seed=seed, aus=aus) for fold in folds]


def _fold_name(key: str, *, with_dataset: bool) -> str:
    dataset, subject = key.split(":", 1)
    name = f"sub{subject}" if subject[:1].isdigit() else subject
    return _folder_name(f"{dataset}-{name}" if with_dataset else name)


def _folder_name(name: str) -> str:
    """A name that is a folder on every system and part of a git branch (`spNO.1` -> `spNO-1`)."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _column(dataset: Any, name: str) -> list:
    there = getattr(dataset, "column_names", None) or (dataset.keys() if hasattr(dataset, "keys") else None)
    if there is None:
        raise TypeError(f"dataset={shown(dataset)} is no data set; give a datasets.Dataset, or a dict of lists")
    if name not in there:
        raise ValueError(f"the data set has no column '{name}'; a protocol reads 'dataset', 'subject' and 'aus'")
    column = dataset[name]
    if isinstance(column, str | bytes | Mapping) or not hasattr(column, "__len__") or getattr(column, "ndim", 1) != 1:
        raise ValueError(f"the data set's column '{name}' is {shown(column)}; expected a list with one cell per clip")
    return list(column)


def _check_arguments(dataset: Any, inner: str, inner_fraction: float, seed: int, aus: Sequence[int] | None) -> None:
    """What the folds are made of: names that are text, annotations that are lists of AU numbers, as many of each."""
    check_choice("inner", inner, ("holdout", "refit", "none"))
    check_number("inner_fraction", inner_fraction, 0, 1)
    check_whole("seed", int(seed) if isinstance(seed, np.integer) else seed, 0)
    if aus is not None and not (_is_list(aus) and all(_is_whole(au) for au in aus)):
        raise ValueError(f"aus={shown(aus)} is not allowed; give a list of AU numbers, or None")
    columns = {name: _column(dataset, name) for name in ("dataset", "subject", "aus")}
    if len({len(column) for column in columns.values()}) > 1:
        sizes = ", ".join(f"'{name}' {len(column)}" for name, column in columns.items())
        raise ValueError(f"the data set's columns differ in length: {sizes}; give one cell of each per clip")
    for name in ("dataset", "subject"):
        for row, cell in enumerate(columns[name]):
            if not (isinstance(cell, str) and cell) and not (name == "subject" and _is_whole(cell)):
                raise ValueError(f"row {row} has {name} {shown(cell)}; expected a name")
    for row, cell in enumerate(columns["aus"]):
        if cell is not None and not (_is_list(cell) and all(_is_whole(au) for au in cell)):
            raise ValueError(f"row {row} has aus {shown(cell)}; expected a list of AU numbers, or None")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | set | frozenset | range) or getattr(value, "ndim", 0) == 1
