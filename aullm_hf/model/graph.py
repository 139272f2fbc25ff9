"""R-AUGNN: a node for each AU, edges where FACS says that two AUs go together or exclude each other.

Every node gathers its AU's evidence from F_mid's cells and attends to its neighbours; all nodes together make the
instruction token. The prior says which nodes may attend to which and in which relation; how much is learned.

AULLM++ is known by its abstract: the design below is ours under its names.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import init

from .configuration_aullm import AULLMConfig
from .dropout import PairedDropout
from .relation_prior import EDGE_KINDS

RELATIONS = ("self", *EDGE_KINDS)  # the last axis of the prior


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
    """Attention of each node over its edges, (neighbour, relation), then a feed-forward network."""

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

    def forward(self, nodes: torch.Tensor, prior: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Nodes (B, n, w) and prior (n, n, R) or (B, n, n, R) -> nodes, strengths (B, n, n, R): each row sums to 1."""
        batch, n, width = nodes.shape
        heads, size = self.heads, width // self.heads
        normed = self.norm(nodes)
        query = self.query(normed).view(batch, n, heads, size)
        key = self.key(normed).view(batch, n, heads, size)
        value = self.value(normed).view(batch, n, len(RELATIONS), heads, size)
        scores = torch.einsum("bihe,bjhe->bhij", query, key)[..., None]
        scores = scores + torch.einsum("bihe,rhe->bhir", query, self.relation.view(-1, heads, size))[:, :, :, None]
        scores = (scores / math.sqrt(size)).masked_fill(~prior.unsqueeze(-4), -torch.inf)  # (B, heads, n, n, R)
        strengths = scores.flatten(3).softmax(dim=-1).view_as(scores)
        message = torch.einsum("bhijr,bjrhe->bihe", strengths, value).reshape(batch, n, width)
        nodes = nodes + self.drop(self.out(message))
        return nodes + self.drop(self.feed(self.feed_norm(nodes))), strengths.mean(dim=1)


@dataclass
class RelationGraphOutput:
    """Nodes, pooled and one by one."""

    token: torch.Tensor  # (B, d), the instruction token
    logits: torch.Tensor  # (B, n_AU), of each node after it has attended to the others
    evidence_logits: torch.Tensor  # (B, n_AU), of each AU's own evidence alone
    attention: torch.Tensor  # (B, n_AU, T', H', W'), of each AU to the cells; sums to 1
    strengths: torch.Tensor  # (B, n_AU, n_AU, relations), attention of the row's node to the column's; rows sum to 1


class RelationGraph(nn.Module):
    """F_mid -> a node per AU -> rounds of attention -> the instruction token and auxiliary logits.

    Each AU has a pattern for each cell. The score of a cell says how much of the pattern is there; the softmax of the
    scores is the AU's attention, and their log-sum-exp, whose gradient is that same softmax, the amount of evidence.
    That amount alone must tell the AU (`evidence_logits`), or the nodes, which are told F_high as well, would learn
    everything from there and look nowhere.
    """

    def __init__(self, config: AULLMConfig):
        super().__init__()
        width, nodes = config.graph_width, config.num_labels
        channels, *cells = config.mid_shape
        self.register_buffer("prior", prior_mask(config.prior_edges, config.aus))
        self.content = nn.Linear(channels, width, bias=False)  # without a bias a closed cell is zero
        self.wanted = nn.Parameter(torch.zeros(nodes, math.prod(cells), width))
        self.embedding = nn.Parameter(torch.zeros(nodes, width))
        self.found = nn.Parameter(torch.zeros(nodes, width))  # the direction in which finding something moves a node
        self.scale = nn.Parameter(torch.zeros(nodes))  # from the amount found to its own logit
        self.shift = nn.Parameter(torch.zeros(nodes))
        self.high = self.mix = None
        if config.uses_high:
            self.high = nn.Linear(config.high_dim, width)
            self.mix = nn.Parameter(torch.zeros(nodes, width))  # which part of F_high concerns which AU
        self.layers = nn.ModuleList(
            RelationLayer(width, config.graph_heads, config.graph_dropout) for _ in range(config.graph_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Parameter(torch.zeros(nodes, width + 1))  # one row per AU: weights and bias of its own logit
        self.readout = nn.Sequential(
            nn.Linear(2 * width, 4 * width),
            nn.GELU(),
            PairedDropout(config.graph_dropout),
            nn.Linear(4 * width, config.text_config.hidden_size),
        )

    def reset_parameters(self) -> None:
        init.normal_(self.wanted, std=0.05)
        init.normal_(self.embedding, std=0.3)
        init.normal_(self.found)
        init.ones_(self.scale)
        init.constant_(self.shift, -1.0)  # an AU is more often absent
        if self.mix is not None:
            init.normal_(self.mix)
        init.normal_(self.head, std=self.head.shape[1] ** -0.5)

    def forward(
        self, f_mid: torch.Tensor, f_high: torch.Tensor | None = None, prior: torch.Tensor | None = None
    ) -> RelationGraphOutput:
        """F_mid (B, C, T', H', W') as the gate left it, F_high (B, 256) where the model has it.

        `prior` (B, n, n, R) stands in for the graph's own.
        """
        with torch.autocast(f_mid.device.type, enabled=False):  # the amount is a small difference of large numbers
            contents = self.content(f_mid.to(self.wanted.dtype).flatten(2).transpose(1, 2))  # (B, N, w)
            scores = torch.einsum("bcw,ncw->bnc", contents, self.wanted)
            attention = scores.softmax(dim=-1)  # (B, n, N)
            amount = scores.logsumexp(dim=-1, keepdim=True) - math.log(scores.shape[-1])  # (B, n, 1)
        nodes = self.embedding + attention @ contents + amount * self.found  # (B, n, w)
        if self.high is not None:
            nodes = nodes + self.high(f_high)[:, None] * self.mix
        strengths = []
        for layer in self.layers:
            nodes, attended = layer(nodes, self.prior if prior is None else prior)
            strengths.append(attended)
        nodes = self.norm(nodes)
        logits = (nodes * self.head[:, :-1]).sum(dim=-1) + self.head[:, -1]  # (B, n)
        # The token must tell which AUs were found: each AU's direction, as strongly as its node believes in it.
        believed = logits.sigmoid()[..., None] * self.found
        token = self.readout(torch.cat([nodes, believed], dim=-1).mean(dim=1))
        return RelationGraphOutput(
            token=token,
            logits=logits,
            evidence_logits=amount.squeeze(-1) * self.scale + self.shift,
            attention=attention.unflatten(2, f_mid.shape[2:]),
            strengths=torch.stack(strengths).mean(dim=0),
        )

    def prior_without(self, node: int, neighbour: int) -> torch.Tensor:
        """The prior (n, n, R) without the edges from `neighbour` to `node`."""
        prior = self.prior.clone()
        prior[node, neighbour] = False
        return prior


__all__ = [
    "RELATIONS",
    "RelationGraph",
    "RelationGraphOutput",
    "RelationLayer",
    "prior_mask",
]
