"""Why: where the evidence for each AU lies, whom it heard, and what would be predicted without either.

Evidence is what the model has: the attention of the AU's own node (R-AUGNN), the evidence gate (MGE-EFP or CCR), or,
where it has neither, Grad-CAM on F_mid (Selvaraju et al., 2017). The counterfactuals are answers of the model, not of
its parts: each asks it again about a clip that holds, where the evidence was, what it holds elsewhere (the median of
its cells, which the few that move do not change), or about a graph without the edge.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch

from .arguments import shown
from .evidence import pixel_map, typical
from .graph import RELATIONS


@dataclass
class Neighbour:
    """What one AU heard of another."""

    au: str
    relation: str  # "co-occurring", "opposing", or both joined by " and "
    strength: float  # its share of the listener's attention
    effect: float  # how far the listener's probability falls without the edge; above 0: the neighbour raised it


@dataclass
class AUEvidence:
    """Why one AU of one clip got its probability."""

    au: str
    probability: float
    threshold: float
    active: bool
    cells: torch.Tensor  # (T', H', W'), not negative, sums to 1: where the evidence lies
    method: str  # "attention", "gate" or "grad-cam"
    neighbours: list[Neighbour]
    counterfactual: float  # how far the probability falls when the evidence is removed


@dataclass
class ClipExplanation:
    """Why one clip got its probabilities."""

    labels: list[str]
    probabilities: dict[str, float]
    thresholds: dict[str, float]
    evidence: list[AUEvidence]
    gate: torch.Tensor | None  # (T', H', W') in (0, 1)
    channel_attention: torch.Tensor  # (T-2, C)
    strengths: torch.Tensor | None  # (n_AU, n_AU): how much the row's AU heard the column's; rows sum to 1
    relations: list[tuple[str, str, str]]  # the prior: two AUs and their relation


def explain(model: Any, pixel_values: torch.Tensor, aus: str | Collection[str] = "active") -> list[ClipExplanation]:
    """An explanation a clip; see `AULLMForAUDetection.explain`."""
    wanted = _wanted(model, aus)
    model.model.check_input(pixel_values)
    modes = {module: module.training for module in model.modules()}
    if any(modes.values()):
        model.eval()
    try:
        return [_explain_clip(model, clip[None], wanted) for clip in pixel_values]
    finally:
        for module, training in modes.items():
            module.training = training


def _wanted(model: Any, aus: str | Collection[str]) -> list[str] | str:
    if isinstance(aus, str) and aus in ("active", "all"):
        return aus
    labels = model.config.labels
    if not isinstance(aus, (str, list, tuple, set, frozenset)):
        raise ValueError(f"aus is {shown(aus)}; allowed: 'active', 'all', or a list of {', '.join(labels)}.")
    names = [aus] if isinstance(aus, str) else list(aus)
    if not names:
        raise ValueError(f"aus names nothing; allowed: 'active', 'all', or a list of {', '.join(labels)}.")
    for name in names:
        if not isinstance(name, str) or name not in labels:
            raise ValueError(f"aus holds {shown(name)}; allowed: 'active', 'all', or a list of {', '.join(labels)}.")
    return names


def _explain_clip(model: Any, pixel_values: torch.Tensor, wanted: list[str] | str) -> ClipExplanation:
    config, body = model.config, model.model
    labels = config.labels
    with torch.no_grad():
        f_mid, channel_attention = body.see(pixel_values)
        gate = body.weigh(f_mid)
        reading = body.read(f_mid, gate)
        p = model.probabilities(model.classify(reading.last_hidden))[0]
    active = [bool(p[i] >= config.thresholds[label]) for i, label in enumerate(labels)]
    if wanted == "active":
        chosen = [i for i, is_active in enumerate(active) if is_active] or [int(p.argmax())]
    else:
        chosen = [i for i, label in enumerate(labels) if wanted == "all" or label in wanted]
    cells, method = _evidence(model, f_mid, gate, reading.graph, chosen)
    edges = _edges(body.graph, chosen)
    falls = p[[*chosen, *(i for i, _ in edges)]] - _counterfactuals(model, f_mid, cells, chosen, edges)
    strengths = None if reading.graph is None else reading.graph.strengths[0].sum(dim=-1)
    neighbours: dict[int, list[Neighbour]] = {i: [] for i in chosen}
    for (i, j), effect in zip(edges, falls[len(chosen) :].tolist(), strict=True):
        kinds = [kind for r, kind in enumerate(RELATIONS) if r and body.graph.prior[i, j, r]]
        neighbours[i].append(Neighbour(labels[j], " and ".join(kinds), float(strengths[i, j]), effect))
    return ClipExplanation(
        labels=labels,
        probabilities=dict(zip(labels, p.tolist(), strict=True)),
        thresholds=dict(config.thresholds),
        evidence=[
            AUEvidence(
                au=labels[i],
                probability=float(p[i]),
                threshold=config.thresholds[labels[i]],
                active=active[i],
                cells=cells[row],
                method=method,
                neighbours=sorted(neighbours[i], key=lambda one: -one.strength),
                counterfactual=float(falls[row]),
            )
            for row, i in enumerate(chosen)
        ],
        gate=None if gate is None else gate[0],
        channel_attention=channel_attention[0],
        strengths=strengths,
        relations=[(f"AU{a}", f"AU{b}", kind) for a, b, kind in config.prior_edges or ()],
    )


def _evidence(model, f_mid, gate, graph, chosen: list[int]) -> tuple[torch.Tensor, str]:
    """Where the evidence of each chosen AU lies, (chosen, T', H', W'), and how that is known."""
    if graph is not None:
        cells, method = graph.attention[0, chosen], "attention"
        cells = cells if gate is None else cells * gate  # a closed cell has nothing to give
    elif gate is not None:
        cells, method = gate.expand(len(chosen), -1, -1, -1), "gate"
    else:
        cells, method = _grad_cam(model, f_mid, chosen), "grad-cam"
    total = cells.sum(dim=(1, 2, 3), keepdim=True)
    even = torch.full_like(cells, 1 / cells[0].numel())  # Grad-CAM may find nothing that speaks for the AU
    return torch.where(total > 0, cells / total.clamp(min=1e-12), even), method


def _grad_cam(model, f_mid: torch.Tensor, chosen: list[int]) -> torch.Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        f_mid = f_mid.detach().clone().requires_grad_()
        logits = model.classify(model.model.read(f_mid).last_hidden)[0]
        slopes = torch.stack([torch.autograd.grad(logits[i], f_mid, retain_graph=True)[0][0] for i in chosen])
    weights = slopes.mean(dim=(3, 4), keepdim=True)  # (chosen, C, T', 1, 1)
    return (weights * f_mid.detach()).sum(dim=1).relu()


def _edges(graph, chosen: list[int]) -> list[tuple[int, int]]:
    """(listener, neighbour) of every edge into a chosen AU."""
    if graph is None:
        return []
    heard = graph.prior[..., 1:].any(dim=-1)
    return [(i, j) for i in chosen for j in heard[i].nonzero().flatten().tolist()]


@torch.no_grad()
def _counterfactuals(model, f_mid, cells, chosen, edges) -> torch.Tensor:
    """Probabilities of the chosen AUs without their evidence, then of the listeners without an edge; one LLM pass."""
    body, config = model.model, model.config
    count = max(round(config.ccr_cells * cells[0].numel()), 1)
    ranked = cells.flatten(1).topk(count, dim=1).indices
    gone = torch.zeros_like(cells.flatten(1), dtype=torch.bool).scatter_(1, ranked, True).view_as(cells)
    elsewhere = typical(f_mid.flatten(3))[..., None]  # (1, C, T', 1, 1)
    rows = torch.cat([torch.where(gone[:, None], elsewhere, f_mid), f_mid.expand(len(edges), -1, -1, -1, -1)])
    gates = body.weigh(rows)  # anew: the pattern of the gate would tell what was there
    prior = None
    if body.graph is not None:
        whole = [body.graph.prior] * len(chosen)
        prior = torch.stack([*whole, *(body.graph.without(i, j) for i, j in edges)])
    p = model.probabilities(model.classify(body.read(rows, gates, prior=prior).last_hidden))
    listeners = torch.tensor([*chosen, *(i for i, _ in edges)], device=p.device)
    return p.gather(1, listeners[:, None]).squeeze(1)


__all__ = ["AUEvidence", "ClipExplanation", "Neighbour", "explain", "pixel_map"]
