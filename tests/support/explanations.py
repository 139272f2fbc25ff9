"""Explanations made up for drawing: as the model gives them, with known contents."""

import torch

from aullm_hf.model.evidence import BRANCHES
from aullm_hf.model.explaining import AUEvidence, ClipExplanation, Neighbour

AUS = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU9", "AU12", "AU14", "AU15", "AU17", "AU23", "AU25")
RELATIONS = [
    ("AU1", "AU2", "co-occurring"),
    ("AU1", "AU4", "co-occurring"),
    ("AU1", "AU4", "opposing"),
    ("AU6", "AU12", "co-occurring"),
    ("AU12", "AU15", "opposing"),
    ("AU15", "AU17", "co-occurring"),
    ("AU4", "AU25", "opposing"),
]


def peak(time: int, row: int, column: int, shape=(2, 9, 9)) -> torch.Tensor:
    """Evidence in one cell alone."""
    cells = torch.zeros(shape)
    cells[time, row, column] = 1.0
    return cells


def evidence(au: str = "AU12", cells: torch.Tensor | None = None, **fields) -> AUEvidence:
    known = {
        "probability": 0.9,
        "threshold": 0.4,
        "active": True,
        "method": "attention",
        "neighbours": [Neighbour("AU6", "co-occurring", 0.3, 0.12), Neighbour("AU15", "opposing", 0.5, -0.05)],
        "counterfactual": 0.6,
    }
    return AUEvidence(au=au, cells=peak(1, 7, 2) if cells is None else cells, **{**known, **fields})


def explanation(labels=AUS, graph: bool = True) -> ClipExplanation:
    """Every third AU is active; with a graph, each listens to its neighbours of RELATIONS."""
    count = len(labels)
    generator = torch.Generator().manual_seed(0)
    heard = torch.rand(count, count, generator=generator)
    return ClipExplanation(
        labels=list(labels),
        probabilities={au: 0.9 - 0.05 * at if at % 3 == 0 else 0.05 * at for at, au in enumerate(labels)},
        thresholds={au: 0.3 if at % 3 == 0 else 0.7 for at, au in enumerate(labels)},
        evidence=[
            evidence(au, peak(0, 2, 3 + at), neighbours=[], method="attention" if graph else "grad-cam")
            for at, au in enumerate(labels[:3])
        ],
        granularity={name: (0.25, torch.rand(2, 9, 9, generator=generator) / 10) for name in BRANCHES}
        if graph
        else {},
        channel_attention=torch.rand(4, 64, generator=generator),
        strengths=heard / heard.sum(dim=1, keepdim=True) if graph else None,
        relations=[edge for edge in RELATIONS if {edge[0], edge[1]} <= set(labels)] if graph else [],
    )
