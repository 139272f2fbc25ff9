"""CCR: what must change, and what must not, when parts of a clip's evidence are replaced. Training only.

Two interventions on F_mid's finest cells, ranked by the evidence gate:

- background: the cells with the lowest gates come from another clip; the prediction must not change.
- evidence: the cells with the highest gates become what other clips hold there on average; the AUs must fade.

Everything after F_mid is computed anew for the intervened clips, in the same pass as for the factual ones, with the
same noise of dropout. The gate is too where the evidence goes, since its pattern alone would tell what was there; with
another background it stays, since the question is what its closed cells let through.
"""

import math

import torch
from torch.nn import functional


def intervene(
    f_mid: torch.Tensor, gate: torch.Tensor, fraction: float, share: float, running_mean: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, C, T', H', W') and gates (B, T', H', W') -> F_mid of B + 2n clips, and which clip each stems from (B + 2n).

    n = ceil(fraction B) clips, drawn at random, are intervened on: rows B .. B + n - 1 have another background, the
    last n have lost their evidence. `share` of the cells is replaced each time. `running_mean` (C, T', H', W') stands
    for the others where a batch holds one clip.
    """
    batch = len(f_mid)
    count = math.ceil(fraction * batch - 1e-9)  # not one more for a rounding error
    chosen = torch.randperm(batch, device=f_mid.device)[:count]
    content = f_mid.detach()
    if batch == 1:
        another = average = running_mean[None].to(f_mid.dtype)
    else:
        step = torch.randint(1, batch, (count,), device=f_mid.device)
        another = content[(chosen + step) % batch]
        average = (content.sum(dim=0) - content[chosen]) / (batch - 1)
    own, weights = f_mid[chosen], gate.detach()[chosen].flatten(1)  # (n, C, T', H', W'), (n, cells)
    cells = max(round(share * weights.shape[1]), 1)
    changed = []
    for largest, replacement in ((False, another), (True, average)):
        ranked = weights.topk(cells, dim=1, largest=largest).indices
        mask = torch.zeros_like(weights, dtype=torch.bool).scatter_(1, ranked, True)
        changed.append(torch.where(mask.view(count, 1, *f_mid.shape[2:]), replacement, own))
    owner = torch.cat([torch.arange(batch, device=f_mid.device), chosen, chosen])
    return torch.cat([f_mid, *changed]), owner


def invariance_loss(factual: torch.Tensor, counterfactual: torch.Tensor) -> torch.Tensor:
    """Symmetric Kullback-Leibler divergence of the AUs' Bernoullis, from logits (n, n_AU): summed over AUs, mean over
    clips.
    """
    factual, counterfactual = factual.float(), counterfactual.float()
    gap = factual.sigmoid() - counterfactual.sigmoid()
    return (gap * (factual - counterfactual)).sum(dim=-1).mean()  # both directions at once


def evidence_loss(
    factual: torch.Tensor, counterfactual: torch.Tensor, labels: torch.Tensor, margin: float
) -> torch.Tensor:
    """Mean over active AUs of max(0, m p - (p - p_cf)): without its evidence an AU keeps at most (1 - m) of p."""
    p = factual.float().sigmoid().detach()
    shortfall = functional.relu(margin * p - (p - counterfactual.float().sigmoid()))
    return (shortfall * labels).sum() / labels.sum().clamp(min=1)


__all__ = ["evidence_loss", "intervene", "invariance_loss"]
