"""From the AU numbers of a clip to the label vector of a task: published AU lists by name, and multi-hot vectors.

The lists per data set are those of leave-one-subject-out protocols in the literature (LED, SCA, AU-LLM and their kin):
AUs with enough positive clips. `cd6me` is the list of the cross-data-set protocol over six data sets.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..arguments import shown
from .facs import AUS
from .schema import check_dataset

PUBLISHED_AUS: dict[str, tuple[int, ...]] = {
    "casme": (1, 4, 9, 14),
    "casme2": (1, 2, 4, 7, 12, 14, 15, 17),
    "samm": (2, 4, 7, 12),
    "mmew": (1, 2, 4, 5, 7, 10, 12, 14),
    "4dme": (1, 2, 4, 6, 7, 12, 17, 45),
    "cross_domain": (2, 4, 7, 12),  # CASME II -> SAMM and back
    "cd6me": (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17),
}


def aus_of(name_or_numbers: str | Iterable[int | str]) -> tuple[int, ...]:
    """AU numbers from the name of a published list ("casme2", "samm", "cross_domain", ..) or from a list: [4, "AU12"].

    Args:
        name_or_numbers: a key of `PUBLISHED_AUS`, or AUs as numbers or texts.

    Example:

    ```python
    >>> from aullm_hf.data import aus_of
    >>> aus_of("samm"), aus_of([4, "AU12"])
    ((2, 4, 7, 12), (4, 12))

    ```
    """
    if isinstance(name_or_numbers, str):
        if name_or_numbers not in PUBLISHED_AUS:
            raise ValueError(
                f"there is no published AU list {shown(name_or_numbers)}; there are {', '.join(PUBLISHED_AUS)}, "
                "or pass the AU numbers themselves"
            )
        return PUBLISHED_AUS[name_or_numbers]
    if (
        not isinstance(name_or_numbers, Iterable)
        or isinstance(name_or_numbers, bytes | Mapping)
        or not getattr(name_or_numbers, "ndim", 1)
    ):
        raise TypeError(
            f"aus={shown(name_or_numbers)} is not a list of AUs; write [4, 12], or the name of a published list"
        )
    numbers = tuple(_number(value) for value in name_or_numbers)
    if not numbers:
        raise ValueError("the AU list is empty; name at least one AU")
    if len(set(numbers)) != len(numbers):
        raise ValueError(f"the AU list {list(numbers)} names an AU twice")
    return numbers


def _number(value: int | str) -> int:
    text = value.strip().upper().removeprefix("AU") if isinstance(value, str) else value
    try:
        number = -1 if isinstance(value, bool | np.bool_) else int(text)
        whole = number == float(text)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last of torch
        raise ValueError(f"{shown(value)} is not an AU; write 12 or 'AU12'") from None
    if not whole or number not in AUS:
        raise ValueError(f"{shown(value)} is not a FACS code; known are {', '.join(map(str, AUS))}")
    return number


def au_names(aus: str | Iterable[int | str]) -> list[str]:
    """['AU4', 'AU12']: names for columns and for a model's `id2label`."""
    return [f"AU{number}" for number in aus_of(aus)]


def multi_hot(clip_aus: Iterable[int] | None, aus: str | Sequence[int]) -> np.ndarray:
    """(n_AU,) float32, 1 where the clip's annotation names the AU.

    Args:
        clip_aus: the AU numbers of one clip, as in the column `aus`.
        aus: the AUs of the task, as `aus_of` takes them.

    Example:

    ```python
    >>> from aullm_hf.data import multi_hot
    >>> multi_hot([4, 7], "samm")
    array([0., 1., 1., 0.], dtype=float32)

    ```
    """
    if clip_aus is None:
        raise ValueError("this clip has no AU annotation (aus is None), so it has no labels; leave it out")
    if (
        not isinstance(clip_aus, Iterable)
        or isinstance(clip_aus, str | bytes | Mapping)
        or not getattr(clip_aus, "ndim", 1)
    ):
        raise ValueError(f"clip_aus={shown(clip_aus)} is not a list of AU numbers")
    present = set(map(_number, clip_aus))
    return np.array([number in present for number in aus_of(aus)], dtype=np.float32)


def label_matrix(dataset, aus: str | Sequence[int]) -> np.ndarray:
    """(n_clips, n_AU) float32: the labels of a whole Dataset, or of a list of rows.

    Args:
        dataset: a `datasets.Dataset` of clips, or dictionaries with `aus`.
        aus: the AUs of the task, as `aus_of` takes them.

    Example:

    ```python
    >>> from aullm_hf.data import label_matrix
    >>> label_matrix([{"aus": [4]}, {"aus": []}], [4, 12])
    array([[1., 0.],
           [0., 0.]], dtype=float32)

    ```
    """
    wanted, rows = aus_of(aus), _column(dataset, "aus")
    return np.stack([multi_hot(row, wanted) for row in rows]) if len(rows) else np.zeros((0, len(wanted)), np.float32)


def intensity_matrix(dataset, aus: str | Sequence[int]) -> np.ndarray:
    """(n_clips, n_AU) float32: 0 where an AU is absent, 1 to 5 for A to E, NaN where it is active and not marked.

    Args:
        dataset: a `datasets.Dataset` of clips, or dictionaries with `aus` and `intensities`.
        aus: the AUs of the task, as `aus_of` takes them.

    Example:

    ```python
    >>> from aullm_hf.data import intensity_matrix
    >>> intensity_matrix([{"aus": [4], "intensities": [2.0]}, {"aus": [12], "intensities": [None]}], [4, 12])
    array([[ 2.,  0.],
           [ 0., nan]], dtype=float32)

    ```
    """
    matrix, place = label_matrix(dataset, aus), {number: at for at, number in enumerate(aus_of(aus))}
    for row, present, levels in zip(matrix, _column(dataset, "aus"), _column(dataset, "intensities"), strict=True):
        if levels is None or len(levels) != len(present):
            raise ValueError(
                f"intensities is {shown(levels)}, aus {shown(present)}; there is one for each AU, or null"
            )
        for number, level in zip(present, levels, strict=True):
            if number in place:
                row[place[number]] = np.nan if level is None else level
    return matrix


def _column(dataset, name: str) -> list:
    """A column of a Dataset, or of a list of rows."""
    if not isinstance(dataset, list | tuple):
        check_dataset("dataset", dataset)
        return dataset.select_columns(name).with_format(None)[name]
    for at, row in enumerate(dataset):
        if not isinstance(row, Mapping) or name not in row:
            raise ValueError(f"row {at} of dataset is {shown(row)}; expected a dictionary with {name!r}")
    return [row[name] for row in dataset]
