"""The AU graph: a prior with sources, messages along its edges and no others, the same for every order of AUs."""

import copy
import itertools
import math
import re
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.data.facs import AUS
from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.counterfactual import Flips
from aullm_hf.model.graph import NODES, PATTERNS, RELATIONS, RelationLayer, prior_mask
from aullm_hf.model.relation_prior import FACS_PRIOR, edges_from_labels, facs_edges
from support.tiny import clips, tiny_config, tiny_model

FACE = [au for au, info in AUS.items() if info.muscle]


# -------------------------------------------------------------------- the prior as data


def test_every_edge_joins_two_known_aus_and_says_where_it_comes_from():
    for edge in FACS_PRIOR:
        assert edge.first < edge.second and {edge.first, edge.second} <= set(AUS)
        assert edge.kind in RELATIONS[1:] and len(edge.source) > 5
    pairs = [(edge.first, edge.second, edge.kind) for edge in FACS_PRIOR]
    assert len(set(pairs)) == len(pairs)


def test_every_prototype_shows_the_pairs_that_it_is_cited_for():
    for edge in FACS_PRIOR:
        shown = [set(map(int, words.split("+"))) for words in re.findall(r"\d+(?:\+\d+)+", edge.source)]
        if shown:
            assert any({edge.first, edge.second} <= one for one in shown), edge


def test_edges_of_ones_own_are_called_given():
    assert tiny_config(graph=True).prior == "facs"
    assert tiny_config(graph=True, prior_edges=[[1, 12, "opposing"]]).prior == "given"
    with pytest.raises(ValueError, match=r"prior_edges is \[True, 4"):
        tiny_config(graph=True, prior_edges=[[True, 4, "opposing"]])


def test_the_prior_has_the_edges_that_the_literature_names_and_is_sparse():
    kinds = {}
    for edge in FACS_PRIOR:
        kinds.setdefault((edge.first, edge.second), set()).add(edge.kind)
    for pair in [(1, 2), (4, 7), (6, 12), (12, 25), (15, 17)]:
        assert kinds[pair] == {"co-occurring"}
    for pair in [(12, 15), (12, 17)]:
        assert kinds[pair] == {"opposing"}
    for pair in [(1, 4), (2, 4)]:  # together in fear and sadness, mostly apart in micro-expressions
        assert kinds[pair] == {"co-occurring", "opposing"}
    assert len(kinds) < 0.2 * len(FACE) * (len(FACE) - 1) / 2
    lonely = [au for au in FACE if not any(au in pair for pair in kinds)]
    assert len(lonely) <= 4, lonely


@given(st.lists(st.sampled_from(sorted(AUS)), min_size=1, max_size=12, unique=True))
def test_a_run_takes_the_part_between_its_own_aus(aus):
    config = tiny_config(aus=aus, graph=True)
    assert config.prior_edges == facs_edges(aus)
    mask = prior_mask(config.prior_edges, aus)
    assert torch.equal(mask, mask.transpose(0, 1)) and torch.equal(mask[..., 0], torch.eye(len(aus), dtype=torch.bool))
    assert mask[..., 1:].sum() == 2 * len(config.prior_edges)


def test_a_prior_estimated_from_labels_finds_what_was_put_in():
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.4
    together = np.where(rng.random(400) < 0.9, first, rng.random(400) < 0.4)
    against = ~first & (rng.random(400) < 0.6)
    alone = rng.random(400) < 0.4
    labels = np.stack([first, together, against, alone], axis=1).astype(np.float32)
    edges = edges_from_labels(labels, [4, 7, 12, 17], z=3.0)
    assert edges == [[4, 7, "co-occurring"], [4, 12, "opposing"], [7, 12, "opposing"]]
    # z is a normal quantile: of unrelated pairs, 1.645 lets one in twenty through on either side.
    noise = rng.random((200, 300, 2)) < 0.4
    found = np.mean([len(edges_from_labels(sample, [1, 2])) for sample in noise])
    expected = 2 * (1 - NormalDist().cdf(1.645))
    assert abs(found - expected) < 0.06
    assert edges_from_labels(np.zeros((20, 3)), [1, 2, 4]) == [], "nothing is claimed of AUs that never show"


# -------------------------------------------------------------------- messages


def _layer(seed: int = 0) -> RelationLayer:
    torch.manual_seed(seed)
    layer = RelationLayer(8, 2, 0.0).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.eval()


edge_lists = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(RELATIONS[1:])).filter(lambda e: e[0] != e[1]),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(edge_lists, st.integers(0, 1000))
def test_one_layer_hears_along_edges_only_in_value_and_in_gradient(edges, seed):
    mask = prior_mask(edges, range(5))
    torch.manual_seed(seed)
    nodes = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    out, _, strengths = _layer()(nodes, mask, torch.zeros(5, 5, 3))
    heard = mask.any(dim=-1)
    for i in range(5):
        (slope,) = torch.autograd.grad(out[:, i].sum(), nodes, retain_graph=True)
        assert torch.equal(slope.abs().sum(dim=(0, 2)) > 0, heard[i])
    assert torch.equal((strengths > 0).any(dim=0), mask)
    torch.testing.assert_close(strengths.sum(dim=(2, 3)), torch.ones(2, 5, dtype=torch.float64))


def test_a_layer_is_what_its_formula_says():
    """Edge by edge, against a plain loop."""
    layer, mask = _layer(), prior_mask([(0, 1, "co-occurring"), (0, 1, "opposing"), (1, 2, "opposing")], range(4))
    nodes, before = torch.randn(1, 4, 8, dtype=torch.float64), torch.randn(1, 2, 4, 4, 3, dtype=torch.float64)
    heard = layer.norm(nodes)[0]
    q, k = layer.query(heard).view(4, 2, 4), layer.key(heard).view(4, 2, 4)
    v, r = layer.value(heard).view(4, 3, 2, 4), layer.relation.view(3, 2, 4)
    message = torch.zeros(4, 2, 4, dtype=torch.float64)
    for i in range(4):
        for head in range(2):
            edges = [(j, kind) for j in range(4) for kind in range(3) if mask[i, j, kind]]
            scores = torch.stack(
                [before[0, head, i, j, kind] + q[i, head] @ (k[j, head] + r[kind, head]) / 2 for j, kind in edges]
            )
            for share, (j, kind) in zip(scores.softmax(0), edges, strict=True):
                message[i, head] += share * v[j, kind, head]
    expected = nodes[0] + layer.out(message.view(4, 8))
    expected = expected + layer.feed(layer.feed_norm(expected))
    out, after, _ = layer(nodes, mask, before)
    torch.testing.assert_close(out[0], expected)
    again = layer(nodes, mask, torch.zeros_like(before))[1]
    torch.testing.assert_close(after, before + again, msg="scores add up from round to round")


@pytest.mark.parametrize("nodes", ["cells", "chunk"])
def test_nodes_are_what_their_formula_says(nodes):
    """AU by AU and cell by cell in NumPy; where a node has its evidence from is a share of the cells."""
    config = tiny_config(nodes=nodes, graph=True, image_size=37)
    torch.manual_seed(0)
    part = NODES[nodes](config).double()
    for parameter in part.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    x = torch.randn(2, *config.attended_shape, dtype=torch.float64)
    made, own, where = (tensor.detach().numpy() for tensor in part(x))
    value = {name: parameter.detach().numpy() for name, parameter in part.named_parameters()}
    cut = x.numpy()[..., :8, :8].reshape(2, 8, 2, 2, 4, 2, 4, 2)  # 9 x 9 by twos: the last row and column fall off
    for b, k in itertools.product(range(2), range(3)):
        if nodes == "cells":
            cells = cut[b].max(axis=(2, 4, 6)).reshape(8, -1).T @ value["content.weight"].T  # (N, w)
            scores = (cells * value["wanted"][k]).sum(axis=1)
            share = np.exp(scores) / np.exp(scores).sum()
            amount = np.log(np.exp(scores).mean())
            node = share @ cells + amount * value["found"][k]
            logit = amount * value["scale"][k] + value["shift"][k]
        else:
            node, added = np.zeros(16), np.zeros(config.attended_shape[1:])
            for p in range(PATTERNS):
                weighted = value["pattern"][k, p] * x[b].numpy()  # (C, T, H, W)
                node += weighted.sum(axis=(1, 2, 3)) @ value["project"][p]
                added += np.tensordot(value["project"][p] @ value["direction"][k], weighted, 1)
            logit = node @ value["direction"][k] + value["shift"][k]
            assert added.sum() == pytest.approx(logit - value["shift"][k]), "cells add up to the logit"
            share = np.maximum(added, 0)[:, :8, :8].reshape(2, 2, 4, 2, 4, 2).mean(axis=(1, 3, 5)).ravel()
            share = share / share.sum()
        np.testing.assert_allclose(made[b, k], node, atol=1e-10)
        np.testing.assert_allclose(own[b, k], logit, atol=1e-10)
        np.testing.assert_allclose(where[b, k].ravel(), share, atol=1e-10)


def test_pooling_is_what_its_formula_says_and_knows_degree_and_belief():
    graph = tiny_model(graph=True, aus=[1, 2, 4, 12]).double().model.graph
    nodes, logits = torch.randn(2, 4, 16, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    degree = {0: 3, 1: 3, 2: 4, 3: 0}  # 1-2 together; 1-4 and 2-4 together and against; 12 has nobody
    weight = torch.nn.init.normal_(graph.share).detach()
    for b in range(2):
        rows, scores = [], []
        for k in range(4):
            belief = 1 / (1 + math.exp(-logits[b, k]))
            about = torch.cat([nodes[b, k], torch.tensor([math.log(1 + degree[k]), belief], dtype=torch.float64)])
            scores.append(math.exp((weight @ about).item()))
            rows.append(torch.cat([nodes[b, k], belief * graph.believed[k]]))
        expected = sum(row * score for row, score in zip(rows, scores, strict=True)) / sum(scores)
        torch.testing.assert_close(graph._pool(nodes, logits, graph.prior)[b], expected)


@settings(max_examples=15, deadline=None)
@given(edge_lists, st.integers(1, 3), st.integers(0, 4), st.integers(0, 1000))
def test_a_flip_reaches_nodes_on_paths_of_so_many_edges_and_no_others(edges, rounds, au, seed):
    """Beliefs of nodes that no path of at most `graph_layers` edges joins to the flipped one keep every bit."""
    aus = [1, 2, 4, 7, 12]
    model = _graph_model(rounds)
    given_edges = [[aus[i], aus[j], kind] for i, j, kind in edges]
    model.set_prior(given_edges)
    graph = model.model.graph
    torch.manual_seed(seed)
    x = torch.rand(3, *model.config.attended_shape)
    near = {au}
    for _ in range(rounds):
        near |= {j for i, j, _ in edges if i in near} | {i for i, j, _ in edges if j in near}
    assert set(graph.joined()[au].nonzero().flatten().tolist()) == near
    same, other = (Flips(*torch.tensor([[0], [au], [donor], [1]])) for donor in (0, 1))
    with torch.no_grad():
        kept, flipped = graph(x, flips=same), graph(x, flips=other)
    moved = (kept.logits[3] != flipped.logits[3]).nonzero().flatten().tolist()
    assert set(moved) == near
    assert torch.equal(kept.logits[:3], flipped.logits[:3]) and torch.equal(kept.token[:3], flipped.token[:3])
    torch.testing.assert_close(kept.token[3], kept.token[0], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(flipped.token[3], flipped.token[0], atol=1e-6)


@cache
def _graph_model(rounds: int):
    return tiny_model(graph=True, aus=[1, 2, 4, 7, 12], graph_layers=rounds)


def test_without_an_edge_nothing_of_the_neighbour_arrives_where_no_other_path_remains():
    model = tiny_model(graph=True, aus=[1, 2, 12], prior_edges=[[1, 2, "co-occurring"]], prior="given").double()
    graph = model.model.graph
    x_att = torch.rand(2, *model.config.attended_shape, dtype=torch.float64)

    def logit_of_1_by_node(prior):
        (slope,) = torch.autograd.grad(graph(x_att, prior).logits[:, 0].sum(), graph.embedding)
        return slope.abs().sum(dim=1) > 0

    assert logit_of_1_by_node(None).tolist() == [True, True, False]
    cut = graph.prior_without(0, 1)[None].expand(2, -1, -1, -1)
    assert logit_of_1_by_node(cut).tolist() == [True, False, False]
    assert graph.prior[0, 1].any(), "the graph's own prior stays"


@pytest.mark.parametrize("nodes", ["cells", "chunk"])
def test_permuting_aus_permutes_the_logits(nodes):
    aus, order = [1, 2, 4, 12, 17], [3, 0, 4, 2, 1]
    model = tiny_model(graph=True, mge=True, nodes=nodes, aus=aus)
    torch.nn.init.normal_(model.model.graph.strength)
    state = copy.deepcopy(model.state_dict())
    shared = ("content", "project", "layers", "norm", "share", "readout", "strength", "prior")
    for name in state:  # one row per AU
        part = name.removeprefix("model.graph.").removeprefix("nodes.").split(".")[0]
        if name.startswith("classifier.") or (name.startswith("model.graph.") and part not in shared):
            state[name] = state[name][order]
    for name in ("model.graph.prior", "model.graph.strength"):
        state[name] = state[name][order][:, order]
    x = clips(3)
    with torch.no_grad():
        before = model(x, output_evidence=True)
        model.load_state_dict(state)
        after = model(x, output_evidence=True)
    torch.testing.assert_close(after.logits, before.logits[:, order], atol=1e-5, rtol=0)
    for name in ("aux_logits", "evidence_logits"):
        torch.testing.assert_close(after.evidence[name], before.evidence[name][:, order], atol=1e-5, rtol=0)
    assert not torch.allclose(before.logits[:, order], before.logits, atol=1e-3)


# -------------------------------------------------------------------- replaceable, and kept


def test_the_prior_can_be_replaced_and_stays_with_the_checkpoint(tmp_path):
    model = tiny_model(graph=True, aus=[1, 2, 4])
    x = clips(3)
    before = model(x).logits
    model.model.set_prior([[1, 4, "opposing"]])
    after = model(x).logits
    assert not torch.allclose(before, after, atol=1e-5)
    model.save_pretrained(tmp_path)
    loaded = AULLMForAUDetection.from_pretrained(tmp_path)
    assert loaded.config.prior_edges == [[1, 4, "opposing"]]
    assert torch.equal(loaded.model.graph.prior, prior_mask([[1, 4, "opposing"]], [1, 2, 4]))
    torch.testing.assert_close(loaded(x).logits, after)
    with pytest.raises(ValueError, match=r"prior_edges.*\[1, 5, 'opposing'\].*two of the AUs \[1, 2, 4\]"):
        model.set_prior([[1, 5, "opposing"]])
    assert model.config.prior_edges == [[1, 4, "opposing"]], "what was refused leaves no trace"
    assert model.config.prior == loaded.config.prior == "given"
    with pytest.raises(ValueError, match="no relation graph"):
        tiny_model().model.set_prior([])


@pytest.mark.parametrize("alone", [False, True], ids=["on its base", "self-contained"])
def test_a_checkpoint_refuses_another_prior_at_loading(alone, tmp_path):
    tiny_model(graph=True, aus=[1, 2, 4], save_base_weights=alone).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"prior_edges.*set_prior"):
        AULLMForAUDetection.from_pretrained(tmp_path, prior_edges=[[1, 4, "opposing"]])
