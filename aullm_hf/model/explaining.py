"""Why: where the evidence for each AU lies, what other AUs added to it, and what would be predicted without either.

Evidence is where the AU's own node (R-AUGNN) has it from, or, without a graph, Grad-CAM on F_mid (Selvaraju et al.,
2017). The counterfactuals are answers of the model, not of
its parts: each asks it again about a clip that holds, where the evidence was, what it holds elsewhere (the median of
its cells, which the few that move do not change), or about a graph without the edge.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from .arguments import check_pixel_values, shown
from .evidence import BRANCHES, EvidenceOutput, pixel_map, typical
from .graph import RELATIONS

METHODS = {"cells": "attention", "chunk": "contribution"}  # by the configuration's `nodes`
REMOVED = 0.2  # share of the cells that is taken away to see what the probability is without the evidence


@dataclass
class Neighbour:
    """What one AU's node got from another's."""

    au: str
    relation: str  # "co-occurring", "opposing", or both joined by " and "
    strength: float  # its share of the node's attention
    effect: float  # how far the probability falls without the edge; above 0: the neighbour raised it


@dataclass
class AUEvidence:
    """Why one AU of one clip got its probability."""

    au: str
    probability: float
    threshold: float
    active: bool
    cells: torch.Tensor  # (T', H', W'), not negative, sums to 1: where the evidence lies
    method: str  # "attention", "contribution" or "grad-cam"
    neighbours: list[Neighbour]
    counterfactual: float  # how far the probability falls when the evidence is removed


@dataclass
class ClipExplanation:
    """Why one clip got its probabilities."""

    labels: list[str]
    probabilities: dict[str, float]
    thresholds: dict[str, float]
    evidence: list[AUEvidence]
    granularity: dict[str, tuple[float, torch.Tensor]]  # of MGE: branch -> weight, and share of the map (T', H', W')
    channel_attention: torch.Tensor  # (T-2, C)
    strengths: torch.Tensor | None  # (n_AU, n_AU): attention of the row's AU to the column's; rows sum to 1
    relations: list[tuple[str, str, str]]  # the prior: two AUs and their relation


def _wanted(model: Any, aus: str | Collection[str]) -> list[str] | str:
    if isinstance(aus, str) and aus in ("active", "all"):
        return aus
    labels = model.config.labels
    if not isinstance(aus, (str, list, tuple, set, frozenset)):
        raise ValueError(f"aus is {shown(aus)}; allowed: 'active', 'all', or a list of {', '.join(labels)}.")
    names = [aus] if isinstance(aus, str) else list(aus)
    if not names:
        raise ValueError(f"aus is empty; allowed: 'active', 'all', or a list of {', '.join(labels)}.")
    for name in names:
        if not isinstance(name, str) or name not in labels:
            raise ValueError(f"aus holds {shown(name)}; allowed: 'active', 'all', or a list of {', '.join(labels)}.")
    return names


def _explain_clip(model: Any, pixel_values: torch.Tensor, wanted: list[str] | str) -> ClipExplanation:
    config, body = model.config, model.model
    labels = config.labels
    with torch.no_grad():
        x_att, channel_attention = body.encode_frames(pixel_values)
        output = body.run_llm(x_att)
        p = model.probabilities(model.classify(output.last_hidden_state))[0]
    active = [bool(p[i] >= config.thresholds[label]) for i, label in enumerate(labels)]
    if wanted == "active":
        chosen = [i for i, is_active in enumerate(active) if is_active] or [int(p.argmax())]
    else:
        chosen = [i for i, label in enumerate(labels) if wanted == "all" or label in wanted]
    evidence = output.evidence
    cells, method = _locate(model, x_att, evidence, chosen)
    edges = _edges(body.graph, chosen)
    falls = p[[*chosen, *(i for i, _ in edges)]] - _counterfactuals(model, x_att, cells, chosen, edges)
    strengths = None if body.graph is None else evidence.relation_strengths[0].sum(dim=-1)
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
        granularity=_granularity(evidence),
        channel_attention=channel_attention[0],
        strengths=strengths,
        relations=[(f"AU{a}", f"AU{b}", kind) for a, b, kind in config.prior_edges or ()],
    )


def _granularity(evidence: EvidenceOutput) -> dict[str, tuple[float, torch.Tensor]]:
    if evidence.branch_weights is None:
        return {}
    weights = evidence.branch_weights[0].tolist()
    return dict(zip(BRANCHES, zip(weights, evidence.branch_shares[0], strict=True), strict=True))


def _locate(model, x_att, evidence: EvidenceOutput, chosen: list[int]) -> tuple[torch.Tensor, str]:
    """Where the evidence of each chosen AU lies, (chosen, T', H', W'), and how that is known."""
    if evidence.au_attention is not None:
        cells, method = evidence.au_attention[0, chosen], METHODS[model.config.nodes]
    else:
        cells, method = _grad_cam(model, x_att, chosen), "grad-cam"
    total = cells.sum(dim=(1, 2, 3), keepdim=True)
    even = torch.full_like(cells, 1 / cells[0].numel())  # a map may be zero everywhere
    return torch.where(total > 0, cells / total.clamp(min=1e-12), even), method


def _grad_cam(model, x_att: torch.Tensor, chosen: list[int]) -> torch.Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        output = model.model.run_llm(x_att.detach().clone().requires_grad_())
        logits, f_mid = model.classify(output.last_hidden_state)[0], output.evidence.mid_map
        slopes = torch.stack([torch.autograd.grad(logits[i], f_mid, retain_graph=True)[0][0] for i in chosen])
    weights = slopes.mean(dim=(3, 4), keepdim=True)  # (chosen, C, T', 1, 1)
    return (weights * f_mid.detach()).sum(dim=1).relu()


def _edges(graph, chosen: list[int]) -> list[tuple[int, int]]:
    """(AU, neighbour) of every edge into a chosen AU."""
    if graph is None:
        return []
    joined = graph.prior[..., 1:].any(dim=-1)
    return [(i, j) for i in chosen for j in joined[i].nonzero().flatten().tolist()]


@torch.no_grad()
def _counterfactuals(model, x_att, cells, chosen, edges) -> torch.Tensor:
    """Probabilities of the chosen AUs without their evidence, then without each edge; one LLM pass."""
    body = model.model
    count = max(round(REMOVED * cells[0].numel()), 1)
    ranked = cells.flatten(1).topk(count, dim=1).indices
    gone = torch.zeros_like(cells.flatten(1)).scatter_(1, ranked, 1.0).view_as(cells)
    gone = under_cells(gone[:, None], x_att.shape[2:]).bool()
    elsewhere = typical(x_att.flatten(3))[..., None]  # (1, C, T, 1, 1)
    rows = torch.cat([torch.where(gone, elsewhere, x_att), x_att.expand(len(edges), -1, -1, -1, -1)])
    prior = None
    if body.graph is not None:
        whole = [body.graph.prior] * len(chosen)
        prior = torch.stack([*whole, *(body.graph.prior_without(i, j) for i, j in edges)])
    p = model.probabilities(model.classify(body.run_llm(rows, prior=prior).last_hidden_state))
    affected = torch.tensor([*chosen, *(i for i, _ in edges)], device=p.device)
    return p.gather(1, affected[:, None]).squeeze(1)


def under_cells(cells: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A map over F_mid's cells (.., T', H', W') -> over the map of `shape` that was pooled by two; 0 where cut off."""
    for dim in (-3, -2, -1):
        cells = cells.repeat_interleave(2, dim=dim)
    cut = [shape[dim] - cells.shape[dim] for dim in (-1, -2, -3)]
    return functional.pad(cells, [pad for size in cut for pad in (0, size)])


class ExplainMixin:
    """`explain`, for the detector."""

    def explain(self, pixel_values: torch.Tensor, aus: str | Collection[str] = "active") -> list[ClipExplanation]:
        """Why each clip got its probabilities: where the evidence for each AU lies, which AUs its node attended to in
        the graph, and how far its probability falls without the one or the other.

        Args:
            pixel_values: clips (B, T, 1, H, W), as AULLMVideoProcessor makes them.
            aus: "active" (where none is, the likeliest), "all", or names such as ["AU4"].

        Example:
            >>> import torch
            >>> from aullm_hf import AULLMForAUDetection
            >>> model = AULLMForAUDetection.from_pretrained("CHECKPOINT_FOLDER")
            >>> (explanation,) = model.explain(torch.rand(1, 6, 1, 32, 32), aus=["AU4"])
            >>> evidence = explanation.evidence[0]
            >>> evidence.au, evidence.method, evidence.cells.shape
            ('AU4', 'grad-cam', torch.Size([2, 3, 3]))
        """
        wanted = _wanted(self, aus)
        check_pixel_values(self.config, pixel_values)
        modes = {module: module.training for module in self.modules()}
        if any(modes.values()):
            self.eval()
        try:
            return [_explain_clip(self, clip[None], wanted) for clip in pixel_values]
        finally:
            for module, training in modes.items():
                module.training = training


__all__ = ["AUEvidence", "ClipExplanation", "ExplainMixin", "Neighbour", "pixel_map"]
