"""CCR: AUs are flipped in the graph, and the instruction token alone changes. Training only.

As AULLM++'s authors draw it: T_v and the prompt stay, the same LLM reads the token of the flipped graph. What flips
and what consistency means is ours. In some clips of a batch one AU's node becomes that of another clip, which shows
the AU the other way. Its logit must move towards the flipped label by a margin; AUs that no path of the prior joins to
it must keep their probability; joined ones are free.

The margin is between both logits, and both get its gradient: what moves them alike cancels. A flip that the graph does
not show yet would otherwise teach the shared weights the flipped label, which is wrong for the clip.
"""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional


@dataclass
class Flips:
    """Which nodes are replaced: in the clip `owner` that of `au`, by the one of the clip `donor`; each (n).

    `counts` (n) is False for a flip without a donor that shows the AU the other way: it has no part in the losses.
    """

    owner: torch.Tensor
    au: torch.Tensor
    donor: torch.Tensor
    counts: torch.Tensor

    def rows(self, batch: int) -> torch.Tensor:
        """For each row of factual and flipped clips (B + n) the clip that it stems from."""
        return torch.cat([torch.arange(batch, device=self.owner.device), self.owner])


def draw_flips(labels: torch.Tensor, fraction: float) -> Flips:
    """One AU in each of ceil(fraction B) clips, at random among those that the batch (B, n_AU) shows both ways.

    Their number does not depend on the labels: nothing is asked of an accelerator.
    """
    active, device = labels > 0.5, labels.device
    both_ways = active.any(dim=0) & ~active.all(dim=0)  # (n_AU)
    count = math.ceil(fraction * len(labels) - 1e-9)  # not one more for a rounding error
    owner = torch.randperm(len(labels), device=device)[:count]
    au = _one_of(both_ways.expand(count, -1))
    donor = _one_of(active[:, au].T != active[owner, au][:, None])
    return Flips(owner, au, donor, both_ways[au])


def _one_of(allowed: torch.Tensor) -> torch.Tensor:
    """In each row of (n, m) the place of a True, drawn at random; any place where there is none."""
    return (torch.rand(allowed.shape, device=allowed.device) + allowed).argmax(dim=1)


def flip_loss(
    factual: torch.Tensor, flipped: torch.Tensor, labels: torch.Tensor, flips: Flips, margin: float
) -> torch.Tensor:
    """Mean over flips of max(0, margin - shift): how far the flipped AU's logit falls short of its shift."""
    before = factual.float()[flips.owner, flips.au]
    shift = flipped.float().gather(1, flips.au[:, None]).squeeze(1) - before
    towards = 1 - 2 * labels[flips.owner, flips.au].float()  # up where the AU is absent
    return _mean(functional.relu(margin - towards * shift), flips)


def consistency_loss(factual: torch.Tensor, flipped: torch.Tensor, flips: Flips, joined: torch.Tensor) -> torch.Tensor:
    """Symmetric Kullback-Leibler divergence of the AUs' Bernoullis, summed over the AUs that the flipped one is not
    `joined` (n_AU, n_AU) to, mean over flips.
    """
    before, after = factual.float().detach()[flips.owner], flipped.float()
    gap = (before.sigmoid() - after.sigmoid()) * (before - after)  # both directions at once
    return _mean((gap * ~joined[flips.au]).sum(dim=1), flips)


def _mean(losses: torch.Tensor, flips: Flips) -> torch.Tensor:
    return (losses * flips.counts).sum() / flips.counts.sum().clamp(min=1)


__all__ = ["Flips", "consistency_loss", "draw_flips", "flip_loss"]
