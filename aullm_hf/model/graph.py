"""R-AUGNN: a node for each AU, edges where FACS says that two AUs go together or exclude each other.

x_att -> a node per AU -> rounds of attention along the edges -> structural pooling -> the instruction token. That is
what AULLM++'s authors draw, with two kinds of edges and an attention that feeds back into the edges' strengths. Sizes
and equations are ours, as are the two ways to make the nodes: `chunk`, a learned projection of the whole map for each
AU, as drawn, and `cells`, an attention of each AU over the cells, which says where it looked.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional, init

from .configuration_aullm import AULLMConfig
from .counterfactual import Flips
from .dropout import PairedDropout
from .relation_prior import EDGE_KINDS

RELATIONS = ("self", *EDGE_KINDS)  # the last axis of the prior
PATTERNS = 4  # of an AU over the cells, each with a projection of the channels: the rank of `chunk`


def prior_mask(edges: Sequence[Sequence], aus: Sequence[int]) -> torch.Tensor:
    """Edges as a mask (n_AU, n_AU, relations): symmetric, with every AU's loop to itself."""
    place = {au: index for index, au in enumerate(aus)}
    mask = torch.zeros(len(aus), len(aus), len(RELATIONS), dtype=torch.bool)
    mask[range(len(aus)), range(len(aus)), 0] = True
    for first, second, kind in edges:
        i, j = place[first], place[second]
        mask[i, j, RELATIONS.index(kind)] = mask[j, i, RELATIONS.index(kind)] = True
    return mask


class RelationLayer(nn.Module):
    """Attention of each node over its edges, (neighbour, relation), then a feed-forward network.

    Its scores are added to those of the round before, so that what was attended to strengthens its edge.
    """

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)  # it would cancel in the softmax
        self.value = nn.Linear(width, len(RELATIONS) * width)  # a neighbour's message depends on the relation
        self.relation = nn.Parameter(torch.zeros(len(RELATIONS), width))  # added to the key
        self.out = nn.Linear(width, width)
        self.feed_norm = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop = PairedDropout(dropout)

    def reset_parameters(self) -> None:
        init.normal_(self.relation, std=0.02)

    def forward(
        self, nodes: torch.Tensor, prior: torch.Tensor, before: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Nodes (B, n, w), prior (n, n, R) or (B, n, n, R) and the scores so far (n, n, R) or (B, heads, n, n, R) ->
        nodes, scores, strengths (B, n, n, R): each row sums to 1.
        """
        batch, n, width = nodes.shape
        heads, size = self.heads, width // self.heads
        normed = self.norm(nodes)
        query = self.query(normed).view(batch, n, heads, size)
        key = self.key(normed).view(batch, n, heads, size)
        value = self.value(normed).view(batch, n, len(RELATIONS), heads, size)
        scores = torch.einsum("bihe,bjhe->bhij", query, key)[..., None]
        scores = scores + torch.einsum("bihe,rhe->bhir", query, self.relation.view(-1, heads, size))[:, :, :, None]
        scores = before + scores / math.sqrt(size)  # (B, heads, n, n, R)
        masked = scores.masked_fill(~prior.unsqueeze(-4), -torch.inf)
        strengths = masked.flatten(3).softmax(dim=-1).view_as(scores)
        message = torch.einsum("bhijr,bjrhe->bihe", strengths, value).reshape(batch, n, width)
        nodes = nodes + self.drop(self.out(message))
        return nodes + self.drop(self.feed(self.feed_norm(nodes))), scores, strengths.mean(dim=1)


class CellNodes(nn.Module):
    """Each AU looks for its own evidence in F_mid's cells.

    Each AU has a pattern for each cell. The score of a cell says how much of the pattern is there; the softmax of the
    scores is the AU's attention, and their log-sum-exp, whose gradient is that same softmax, the amount of evidence.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        width, nodes = config.graph_width, config.num_labels
        channels, *cells = config.mid_shape
        self.content = nn.Linear(channels, width, bias=False)
        self.wanted = nn.Parameter(torch.zeros(nodes, math.prod(cells), width))
        self.found = nn.Parameter(torch.zeros(nodes, width))  # the direction in which finding something moves a node
        self.scale = nn.Parameter(torch.zeros(nodes))  # from the amount found to its own logit
        self.shift = nn.Parameter(torch.zeros(nodes))

    def reset_parameters(self) -> None:
        init.normal_(self.wanted, std=0.05)
        init.normal_(self.found)
        init.ones_(self.scale)
        init.constant_(self.shift, -1.0)  # an AU is more often absent

    def forward(self, x_att: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x_att (B, C, T, H, W) -> nodes (B, n, w), their own logits (B, n), where from (B, n, T', H', W')."""
        cells = functional.max_pool3d(x_att, 2)
        with torch.autocast(x_att.device.type, enabled=False):  # the amount is a small difference of large numbers
            contents = self.content(cells.to(self.wanted.dtype).flatten(2).transpose(1, 2))  # (B, N, w)
            scores = torch.einsum("bcw,ncw->bnc", contents, self.wanted)
            attention = scores.softmax(dim=-1)  # (B, n, N)
            amount = scores.logsumexp(dim=-1) - math.log(scores.shape[-1])  # (B, n)
        nodes = attention @ contents + amount[..., None] * self.found
        return nodes, amount * self.scale + self.shift, attention.unflatten(2, cells.shape[2:])


class ChunkNodes(nn.Module):
    """Each AU's chunk of x_att: a linear map of all its values, of rank `PATTERNS` in channels and cells.

    A chunk's own logit is a sum over the cells, so what each of them contributed is known.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        width, nodes = config.graph_width, config.num_labels
        self.pattern = nn.Parameter(torch.zeros(nodes, PATTERNS, *config.attended_shape[1:]))
        self.project = nn.Parameter(torch.zeros(PATTERNS, config.attended_shape[0], width))
        self.direction = nn.Parameter(torch.zeros(nodes, width))  # from a chunk to its own logit
        self.shift = nn.Parameter(torch.zeros(nodes))

    def reset_parameters(self) -> None:
        init.normal_(self.pattern, std=self.pattern[0, 0].numel() ** -0.5)
        init.normal_(self.project, std=self.project[..., 0].numel() ** -0.5)
        init.normal_(self.direction, std=self.direction.shape[1] ** -0.5)
        init.constant_(self.shift, -1.0)  # an AU is more often absent

    def forward(self, x_att: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x_att (B, C, T, H, W) -> nodes (B, n, w), their own logits (B, n), where from (B, n, T', H', W')."""
        chunks = torch.einsum("bcthw,npthw->bnpc", x_att.to(self.pattern.dtype), self.pattern)
        nodes = torch.einsum("bnpc,pcw->bnw", chunks, self.project)
        with torch.no_grad():
            values = torch.einsum("pcw,nw->npc", self.project, self.direction)
            added = torch.einsum("npthw,npc,bcthw->bnthw", self.pattern, values, x_att.to(self.pattern.dtype))
            where = functional.avg_pool3d(added.relu(), 2)
            where = where / where.sum(dim=(2, 3, 4), keepdim=True).clamp(min=1e-12)
        return nodes, (nodes * self.direction).sum(dim=-1) + self.shift, where


NODES = {"cells": CellNodes, "chunk": ChunkNodes}


@dataclass
class RelationGraphOutput:
    """Nodes, pooled and one by one; flipped clips (n) follow the factual ones (B) in `token` and `logits`."""

    token: torch.Tensor  # (B + n, d), the instruction token
    logits: torch.Tensor  # (B + n, n_AU), each node's belief: of each after it has attended to the others
    evidence_logits: torch.Tensor  # (B, n_AU), of each AU's own evidence alone
    attention: torch.Tensor  # (B, n_AU, T', H', W'), where each AU's node has its evidence from; sums to 1
    strengths: torch.Tensor  # (B + n, n_AU, n_AU, relations), of the row's node to the column's; rows sum to 1


class RelationGraph(nn.Module):
    """x_att -> a node per AU -> rounds of attention -> the instruction token and auxiliary logits.

    Each node's own evidence alone must tell its AU too (`evidence_logits`), or a node would learn everything from its
    neighbours and look nowhere.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        width, nodes = config.graph_width, config.num_labels
        self.register_buffer("prior", prior_mask(config.prior_edges, config.aus))
        self.drop = nn.Dropout3d(config.vision_dropout)
        self.nodes = NODES[config.nodes](config)
        self.embedding = nn.Parameter(torch.zeros(nodes, width))
        self.strength = nn.Parameter(torch.zeros(nodes, nodes, len(RELATIONS)))  # of each edge, before all attention
        self.layers = nn.ModuleList(
            RelationLayer(width, config.graph_heads, config.graph_dropout) for _ in range(config.graph_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Parameter(torch.zeros(nodes, width + 1))  # one row per AU: weights and bias of its own logit
        self.believed = nn.Parameter(torch.zeros(nodes, width))  # what an AU that is believed in adds to the token
        self.share = nn.Parameter(torch.zeros(width + 2))  # a node's weight in the token: of itself, degree and belief
        self.readout = nn.Sequential(
            nn.Linear(2 * width, 4 * width),
            nn.GELU(),
            PairedDropout(config.graph_dropout),
            nn.Linear(4 * width, config.text_config.hidden_size),
        )

    def reset_parameters(self) -> None:
        init.normal_(self.embedding, std=0.3)
        init.zeros_(self.strength)
        init.zeros_(self.share)
        init.normal_(self.believed)
        init.normal_(self.head, std=self.head.shape[1] ** -0.5)

    def forward(
        self, x_att: torch.Tensor, prior: torch.Tensor | None = None, flips: Flips | None = None
    ) -> RelationGraphOutput:
        """x_att (B, C, T, H, W). `prior` (B, n, n, R) stands in for the graph's own; `flips` adds flipped clips."""
        prior = self.prior if prior is None else prior
        nodes, evidence_logits, attention = self.nodes(self.drop(x_att))
        nodes = nodes + self.embedding  # (B, n, w)
        if flips is not None:
            flipped = nodes[flips.owner].clone()
            flipped[torch.arange(len(flipped), device=nodes.device), flips.au] = nodes[flips.donor, flips.au]
            nodes = torch.cat([nodes, flipped])
        scores, strengths = self.strength, []
        for layer in self.layers:
            nodes, scores, attended = layer(nodes, prior, scores)
            strengths.append(attended)
        nodes = self.norm(nodes)
        logits = (nodes * self.head[:, :-1]).sum(dim=-1) + self.head[:, -1]  # (B, n)
        return RelationGraphOutput(
            token=self.readout(self._pool(nodes, logits, prior)),
            logits=logits,
            evidence_logits=evidence_logits,
            attention=attention,
            strengths=torch.stack(strengths).mean(dim=0),
        )

    def _pool(self, nodes: torch.Tensor, logits: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
        """All nodes as one (B, 2 w): what they are, and which AUs they believe in."""
        belief = logits.sigmoid()[..., None]  # (B, n, 1)
        degree = prior[..., 1:].sum(dim=(-2, -1)).to(nodes.dtype).log1p()[..., None].expand_as(belief)
        scores = (torch.cat([nodes, degree, belief], dim=-1) * self.share).sum(dim=-1, keepdim=True)  # (B, n, 1)
        return (scores.softmax(dim=1) * torch.cat([nodes, belief * self.believed], dim=-1)).sum(dim=1)

    def joined(self) -> torch.Tensor:
        """Whether a path of at most `graph_layers` edges leads from one AU to the other, (n, n)."""
        edges = self.prior.any(dim=-1).float()
        return torch.linalg.matrix_power(edges, len(self.layers)) > 0

    def prior_without(self, node: int, neighbour: int) -> torch.Tensor:
        """The prior (n, n, R) without the edges from `neighbour` to `node`."""
        prior = self.prior.clone()
        prior[node, neighbour] = False
        return prior


__all__ = [
    "RELATIONS",
    "CellNodes",
    "ChunkNodes",
    "RelationGraph",
    "RelationGraphOutput",
    "RelationLayer",
    "prior_mask",
]
