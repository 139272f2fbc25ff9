"""Labels apart from predictions: what of a table may be published, and how readers join their own labels."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from .run_folder import aus_of_table

# Data sets that are handed out under a personal agreement: clip ids with labels are the licensed annotation.
LICENSED = frozenset({"casme", "casme2", "casme3", "cas(me)^3", "samm", "smic", "mmew", "4dme", "megc"})


def is_licensed(info: dict) -> bool:
    """Whether a run's labels must not be published; in doubt they must not. Weights hand on what they began with."""
    data = info.get("data", {})
    names = {str(name).lower() for name in data.get("datasets", ())}
    drawn = all("SYNTHETIC faces" in text and "partly" not in text for text in data.get("begun_from") or ())
    return bool(data.get("licensed", True)) or bool(names & LICENSED) or not names or not drawn


def without_labels(table: pd.DataFrame) -> pd.DataFrame:
    """Clip ids, folds and scores alone: every other column is dropped, not only those named y_."""
    kept, kinds = ["clip_id", "dataset", "subject", "fold", "seed"], ("z", "p", "intensity")
    scores = [f"{kind}_{au}" for kind in kinds for au in aus_of_table(table) if f"{kind}_{au}" in table.columns]
    return table[[*kept, *scores]]


def labels_fingerprint(dataset: Any, aus: Iterable[int]) -> str:
    """SHA-256 over which of `aus` every clip of a data set holds, whatever the order of the clips.

    `dataset` has the columns "dataset", "clip_id" and "aus". The same fingerprint means the same labels.
    """
    aus = sorted({int(au) for au in aus})
    if any(present is None for present in list(dataset["aus"])):
        raise ValueError("a clip has no AU annotation (aus is None); leave unlabelled clips out")
    lines = sorted(
        f"{name}\t{clip}\t{'+'.join(str(au) for au in aus if au in set(present))}"
        for name, clip, present in zip(
            list(dataset["dataset"]), list(dataset["clip_id"]), list(dataset["aus"]), strict=True
        )
    )
    head = "aus " + " ".join(map(str, aus))
    return hashlib.sha256("\n".join([head, *lines]).encode()).hexdigest()


def join_labels(table: pd.DataFrame, dataset: Any, *, expected_fingerprint: str | None = None) -> pd.DataFrame:
    """The table with y_ columns from `dataset` (columns dataset, clip_id, aus), by clip id and never by order.

    A table of intensities gets those of the column `intensities`, where `dataset` has it.
    """
    aus = aus_of_table(table)
    numbers = [int(au[2:]) for au in aus]
    if expected_fingerprint and (own := labels_fingerprint(dataset, numbers)) != expected_fingerprint:
        raise ValueError(
            f"these labels have the fingerprint {own[:16]}.., the run has {expected_fingerprint[:16]}..: "
            "another release, other policies (either, ref, corrections) or missing clips. Load the labels as run.json "
            "says, or pass --any_labels to score with yours, which are then not the run's figures"
        )
    keys = list(zip(map(str, dataset["dataset"]), map(str, dataset["clip_id"]), strict=True))
    labels = dict(zip(keys, (set(present) for present in dataset["aus"]), strict=True))
    if len(labels) != len(keys):
        raise ValueError(f"{len(keys) - len(labels)} clip ids stand twice among the labels; each clip has one row")
    wanted = list(zip(table["dataset"], table["clip_id"], strict=True))
    if missing := sorted({clip for name, clip in wanted if (name, clip) not in labels}):
        raise ValueError(f"no labels for {len(missing)} tested clips: {_few(missing)}; load the whole data set")
    columns = {f"y_{au}": [int(n in labels[key]) for key in wanted] for au, n in zip(aus, numbers, strict=True)}
    if f"intensity_{aus[0]}" in table.columns and "intensities" in getattr(dataset, "column_names", dataset):
        pairs = zip(dataset["aus"], dataset["intensities"], strict=True)
        marked = dict(zip(keys, (dict(zip(*pair, strict=True)) for pair in pairs), strict=True))
        for au, n in zip(aus, numbers, strict=True):
            levels = [marked[key].get(n, 0) for key in wanted]
            columns[f"y_intensity_{au}"] = np.array([np.nan if one is None else one for one in levels], np.float32)
    return table.drop(columns=[column for column in columns if column in table.columns]).assign(**columns)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
