"""Which AUs go together and which exclude each other: the prior of the relation graph, as data with its sources.

It covers every AU that has a partner; a model takes the part that lies between its own AUs, and may replace it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EDGE_KINDS = ("co-occurring", "opposing")

# Where each pair comes from. Prototypes are the emotion predictions of the FACS investigator's guide (Ekman, Friesen
# and Hager, 2002) and EMFACS; antagonists and alternatives follow from the manual's muscles and scoring rules.
_TOGETHER = {
    "surprise: 1+2+5+26, 1+2+5+27": "1-2 1-5 2-5 1-26 2-26 5-26 5-27 1-27 2-27",
    "fear: 1+2+4+5+20+25, 1+2+4+5+20+26": "1-4 2-4 4-5 1-20 4-20 5-20 20-25 20-26",
    "happiness: 6+12, 12+25, 6+7+12, 6+12+25": "6-12 12-25 6-7 7-12 6-25",
    "sadness: 1+4+15, 1+4+11, 6+15, 1+4+15+17, 11+17": "1-15 4-15 1-11 4-11 6-15 15-17 1-17 11-17",
    "disgust: 9, 9+16+15, 9+17, 10, 10+16+25, 10+17": "9-16 9-15 15-16 9-17 10-17 10-16 10-25 16-25",
    "anger: 4+5+7+10+22+23+25, 4+5+7+17+23, 4+5+7+17+24": (
        "4-7 5-7 4-10 7-10 4-23 7-23 4-17 7-17 17-23 17-24 4-24 7-24 10-23 22-23 22-25"
    ),
    "contempt: 12+14, 10+14": "12-14 10-14",
    "embarrassment: 12 controlled by 24 or 14 (Keltner, 1995)": "12-24 14-24",
    "shrug of the mouth: 15+17, 14+17": "14-17",
    "nose wrinkling lowers the brow and lifts the lip (manual, AU 9)": "4-9 9-10 7-9",
    "the same muscle: orbicularis oculi": "6-44 7-44 7-43 43-45",
    "the same muscle: orbicularis oris": "18-22 23-24 18-23",
    "zygomatic neighbours": "11-12 12-13 10-11",
    "the jaw opens the lips (manual, AUs 25-27)": "25-26 25-27",
    "jaw and lips in speech and chewing": "26-50 25-50 25-19 26-19",
    "sniffing moves the nostrils": "38-40 39-40",
    "looking goes with turning": "51-61 52-62 53-63 54-64",
    "tightened platysma": "20-21",
}
_AGAINST = {
    "antagonists: zygomaticus major, depressor anguli oris": "12-15 13-15",
    "antagonists: zygomaticus major, mentalis with depressors (smile against pout)": "12-17",
    "antagonists: frontalis, corrugator supercilii; micro-expressions show 1 and 2 mostly without 4": "1-4 2-4",
    "antagonists: levator palpebrae, orbicularis oculi": "5-6 5-41 5-42 5-43 5-44 5-45 5-46",
    "antagonists: risorius and zygomaticus major stretch what orbicularis oris puckers": "18-20 12-18 20-22 14-18",
    "antagonists: lips parted or pressed together": "24-25 24-26 24-27 8-25 23-27",
    "antagonists: jaw dropped or clenched": "26-31 27-31",
    "antagonists: nostrils wide or narrow": "38-39",
    "antagonists: levators of the upper lip, depressor of the lower face": "10-15 12-16",
    "alternatives: cheeks": "33-35 34-35",
    "alternatives: jaw drop, mouth stretch": "26-27",
    "alternatives: head and eyes": "51-52 53-54 55-56 57-58 61-62 63-64 65-66",
}


@dataclass(frozen=True)
class Edge:
    """Two AUs, how they relate, and who says so. A pair may stand in both relations: learning decides."""

    first: int
    second: int
    kind: str
    source: str


def _edges(kind: str, table: dict[str, str]) -> list[Edge]:
    pairs = [(source, pair.split("-")) for source, pairs in table.items() for pair in pairs.split()]
    return [Edge(*sorted((int(a), int(b))), kind, source) for source, (a, b) in pairs]


FACS_PRIOR: tuple[Edge, ...] = (*_edges("co-occurring", _TOGETHER), *_edges("opposing", _AGAINST))


def facs_edges(aus: Sequence[int]) -> list[list]:
    """The prior's edges between the AUs at hand, as the configuration holds them: [[1, 2, "co-occurring"], ..]."""
    return [[edge.first, edge.second, edge.kind] for edge in FACS_PRIOR if {edge.first, edge.second} <= set(aus)]


def edges_from_labels(labels: np.ndarray, aus: Sequence[int], z: float = 1.645) -> list[list]:
    """A prior from a training fold's labels (clips, n_AU): pairs whose log odds ratio is clearly above or below 0.

    Half a clip is added to each of the four counts; "clearly" is `z` standard errors (1.645: one-sided 95 %).
    """
    shown = np.asarray(labels) > 0
    edges = []
    for i, j in itertools.combinations(range(len(aus)), 2):
        a, b = shown[:, i], shown[:, j]
        counts = np.array([(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()]) + 0.5
        both, only_a, only_b, neither = np.log(counts)
        score = (both - only_a - only_b + neither) / np.sqrt((1 / counts).sum())
        if abs(score) >= z:
            edges.append([*sorted((aus[i], aus[j])), "co-occurring" if score > 0 else "opposing"])
    return edges


__all__ = ["EDGE_KINDS", "FACS_PRIOR", "Edge", "edges_from_labels", "facs_edges"]
