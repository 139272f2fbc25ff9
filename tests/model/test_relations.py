"""The AU graph: a prior with sources, messages along its edges and no others, the same for every order of AUs."""

import copy
import re
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aullm_hf.data.facs import AUS
from aullm_hf.model import AULLMForAUDetection
from aullm_hf.model.graph import RELATIONS, RelationLayer, prior_mask
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
    out, strengths = _layer()(nodes, mask)
    heard = mask.any(dim=-1)
    for i in range(5):
        (slope,) = torch.autograd.grad(out[:, i].sum(), nodes, retain_graph=True)
        assert torch.equal(slope.abs().sum(dim=(0, 2)) > 0, heard[i])
    assert torch.equal((strengths > 0).any(dim=0), mask)
    torch.testing.assert_close(strengths.sum(dim=(2, 3)), torch.ones(2, 5, dtype=torch.float64))


def test_a_layer_is_what_its_formula_says():
    """Edge by edge, against a plain loop."""
    layer, mask = _layer(), prior_mask([(0, 1, "co-occurring"), (0, 1, "opposing"), (1, 2, "opposing")], range(4))
    nodes = torch.randn(1, 4, 8, dtype=torch.float64)
    heard = layer.norm(nodes)[0]
    q, k = layer.query(heard).view(4, 2, 4), layer.key(heard).view(4, 2, 4)
    v, r = layer.value(heard).view(4, 3, 2, 4), layer.relation.view(3, 2, 4)
    message = torch.zeros(4, 2, 4, dtype=torch.float64)
    for i in range(4):
        for head in range(2):
            edges = [(j, kind) for j in range(4) for kind in range(3) if mask[i, j, kind]]
            scores = torch.stack([q[i, head] @ (k[j, head] + r[kind, head]) / 2 for j, kind in edges])
            for share, (j, kind) in zip(scores.softmax(0), edges, strict=True):
                message[i, head] += share * v[j, kind, head]
    expected = nodes[0] + layer.out(message.view(4, 8))
    expected = expected + layer.feed(layer.feed_norm(expected))
    torch.testing.assert_close(layer(nodes, mask)[0][0], expected)


def test_without_an_edge_nothing_of_the_neighbour_arrives_where_no_other_path_remains():
    model = tiny_model(graph=True, aus=[1, 2, 12], prior_edges=[[1, 2, "co-occurring"]], prior="given").double()
    graph = model.model.graph
    f_mid = torch.rand(2, *model.config.mid_shape, dtype=torch.float64)
    f_high = torch.rand(2, model.config.high_dim, dtype=torch.float64)

    def logit_of_1_by_node(prior):
        (slope,) = torch.autograd.grad(graph(f_mid, f_high, prior).logits[:, 0].sum(), graph.embedding)
        return slope.abs().sum(dim=1) > 0

    assert logit_of_1_by_node(None).tolist() == [True, True, False]
    cut = graph.prior_without(0, 1)[None].expand(2, -1, -1, -1)
    assert logit_of_1_by_node(cut).tolist() == [True, False, False]
    assert graph.prior[0, 1].any(), "the graph's own prior stays"


def test_permuting_aus_permutes_the_logits():
    aus, order = [1, 2, 4, 12, 17], [3, 0, 4, 2, 1]
    model = tiny_model(graph=True, projector="mge", aus=aus)
    state = copy.deepcopy(model.state_dict())
    own = ("embedding", "wanted", "found", "scale", "shift", "mix", "head")  # the graph's rows, one an AU
    for name in [*(f"model.graph.{name}" for name in own), "classifier.weight", "classifier.bias"]:
        state[name] = state[name][order]
    state["model.graph.prior"] = state["model.graph.prior"][order][:, order]
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
