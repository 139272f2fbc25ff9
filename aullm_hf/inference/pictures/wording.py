"""An explanation in words: which AU, where and when its evidence lies, and the probability without that evidence."""

from typing import TYPE_CHECKING

import numpy as np

from ...data.facs import au_info
from .drawing import au_number, spelled_out
from .film_strip import METHODS

if TYPE_CHECKING:
    from ...model.explaining import AUEvidence, ClipExplanation

SMALL = 0.01  # a change of probability that is not worth a sentence
HEIGHTS, SIDES = ("upper", "middle", "lower"), ("left", "middle", "right")


def sentence(evidence: "AUEvidence") -> str:
    """One AU of one clip, for a reader who knows no numbers."""
    state = "is active" if evidence.active else "is not active"
    parts = [
        f"{spelled_out(evidence.au)} {state}: its probability is {evidence.probability:.2f} and its threshold "
        f"{evidence.threshold:.2f}."
    ]
    place = whereabouts(np.asarray(evidence.cells.float().cpu()))
    source = METHODS.get(evidence.method, evidence.method)
    if place is None:
        parts.append(f"No place stands out as evidence for it ({source}).")
    else:
        parts.append(f"The evidence for it is strongest in {place} ({source}).")
        parts.append(_without(evidence.counterfactual, evidence.probability - evidence.counterfactual))
    heard = [one for one in evidence.neighbours if abs(one.effect) >= SMALL]
    if heard:
        strongest = max(heard, key=lambda one: abs(one.effect))
        change = "raised" if strongest.effect > 0 else "lowered"
        parts.append(f"Of its neighbours {spelled_out(strongest.au)} ({strongest.relation}) {change} it most, by "
                     f"{abs(strongest.effect):.2f}.")  # fmt: skip
    elif evidence.neighbours:
        parts.append("None of its neighbours changed it noticeably.")
    return " ".join(parts)


def _without(fall: float, probability: float) -> str:
    """What the model says of the same clip without the evidence. A rise: the evidence spoke against the AU."""
    if abs(fall) < SMALL:
        return "Without that evidence its probability would be the same: what is there does not decide it."
    if fall > 0:
        return f"Without that evidence its probability would fall to {probability:.2f}."
    return f"What is there speaks against the AU all the same: without it its probability would be {probability:.2f}."


def whereabouts(cells: np.ndarray) -> str | None:
    """Evidence (T', H', W') -> "the lower right of the picture, early in the clip"; None where all cells are alike.

    Of the nine parts of the picture, the one that holds most of what reaches half of the strongest evidence. Left and
    right are the picture's.
    """
    if np.ptp(cells) <= 1e-6 * max(float(cells.max()), 1e-12):
        return None
    strong = np.where(cells >= 0.5 * cells.max(), cells, 0.0)
    parts = {
        (height, side): column.sum()
        for height, row in zip(HEIGHTS, np.array_split(strong, 3, axis=1), strict=True)
        for side, column in zip(SIDES, np.array_split(row, 3, axis=2), strict=True)
    }
    height, side = max(parts, key=parts.get)
    spot = "the middle of the picture" if height == side == "middle" else f"the {height} {side} of the picture"
    if len(cells) < 2:
        return spot
    over_time = strong.sum(axis=(1, 2))
    centre = float((over_time * (np.arange(len(cells)) + 0.5)).sum() / over_time.sum() / len(cells))
    when = "early in the clip" if centre < 0.4 else "late in the clip" if centre > 0.6 else "throughout the clip"
    return f"{spot}, {when}"


def entry(evidence: "AUEvidence") -> dict:
    """One AU of one clip, for a program."""
    info = au_info(au_number(evidence.au))
    return {
        "au": evidence.au,
        "name": info.name,
        "muscle": info.muscle,
        "probability": round(evidence.probability, 6),
        "threshold": round(evidence.threshold, 6),
        "active": evidence.active,
        "method": evidence.method,
        "counterfactual": round(evidence.counterfactual, 6),
        "neighbours": [
            {
                "au": one.au,
                "name": au_info(au_number(one.au)).name,
                "relation": one.relation,
                "strength": round(one.strength, 6),
                "effect": round(one.effect, 6),
            }
            for one in evidence.neighbours
        ],
        "sentence": sentence(evidence),
    }


def entries(explanation: "ClipExplanation") -> dict:
    """A clip's probabilities and thresholds, its granularity, and what is known of the AUs that were explained."""
    return {
        "granularity": {name: round(weight, 6) for name, (weight, _) in explanation.granularity.items()},
        "probabilities": {label: round(explanation.probabilities[label], 6) for label in explanation.labels},
        "thresholds": {label: round(explanation.thresholds[label], 6) for label in explanation.labels},
        "aus": [entry(one) for one in explanation.evidence],
    }


__all__ = ["entries", "entry", "sentence", "whereabouts"]
