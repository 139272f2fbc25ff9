"""Explanations: each number is what the model says when it is asked the other way."""

import numpy as np
import pytest
import torch

from aullm_hf.model.evidence import BRANCHES
from aullm_hf.model.explaining import REMOVED
from aullm_hf.model.graph import RELATIONS
from support.tiny import SUBSETS, clips, tiny_model

KINDS = {
    "AU-LLM": ({}, "grad-cam"),
    "mid only": ({"projector": "mid"}, "grad-cam"),
    "prompt learning": ({"projector": "prompt"}, "grad-cam"),
    "mge": (SUBSETS["mge"], "grad-cam"),
    "graph": (SUBSETS["graph"], "attention"),
    "chunk": ({"graph": True, "nodes": "chunk"}, "contribution"),
    "all": (SUBSETS["mge+graph+ccr"], "attention"),
}
AUS = [1, 2, 4, 12]


@pytest.fixture(params=KINDS, scope="module")
def kind(request):
    fields, method = KINDS[request.param]
    return tiny_model(aus=AUS, **fields), method


def test_an_explanation_says_what_the_model_says(kind):
    model, method = kind
    x = clips(3)
    with torch.no_grad():
        out = model(x, output_evidence=True)
        p = model.probabilities(out.logits)
    explained = model.explain(x, "all")
    assert len(explained) == 3 and not model.training
    for row, clip in enumerate(explained):
        assert clip.labels == ["AU1", "AU2", "AU4", "AU12"] == [one.au for one in clip.evidence]
        torch.testing.assert_close(torch.tensor(list(clip.probabilities.values())), p[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(clip.channel_attention, out.evidence.channel_attention[row], atol=1e-5, rtol=1e-5)
        for one in clip.evidence:
            assert one.method == method and one.cells.shape == model.config.mid_shape[1:]
            assert one.cells.min() >= 0 and one.cells.sum() == pytest.approx(1, abs=1e-4)
            assert one.active == (one.probability >= one.threshold) and one.probability == clip.probabilities[one.au]
        assert list(clip.granularity) == list(BRANCHES) * model.config.mge
        for at, (weight, share) in enumerate(clip.granularity.values()):
            assert weight == pytest.approx(out.evidence.branch_weights[row, at].item(), abs=1e-5)
            torch.testing.assert_close(share, out.evidence.branch_shares[row, at], atol=1e-5, rtol=1e-5)
        assert (clip.strengths is None) == (not model.config.graph)


def test_the_counterfactual_is_the_answer_to_a_clip_that_holds_there_what_it_holds_elsewhere(kind):
    model, _ = kind
    x = clips(1)
    body = model.model
    with torch.no_grad():
        x_att = body.encode_frames(x)[0]
        elsewhere = x_att.flatten(3).median(dim=3).values
        for index, one in enumerate(model.explain(x, "all")[0].evidence):
            count = round(REMOVED * one.cells.numel())
            order = one.cells.flatten().argsort(descending=True, stable=True)
            if one.cells.flatten()[order[count - 1]] == one.cells.flatten()[order[count]]:
                continue  # a tie: either cell would do
            changed = x_att.clone()
            for at in order[:count].tolist():
                time, row, column = np.unravel_index(at, one.cells.shape)
                for step in (2 * time, 2 * time + 1):
                    block = changed[:, :, step, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
                    block.copy_(elsewhere[:, :, step, None, None].expand_as(block))
            without = model.probabilities(model.classify(body.run_llm(changed).last_hidden_state))[0, index]
            assert one.counterfactual == pytest.approx(one.probability - without.item(), abs=1e-5)


def test_a_neighbours_effect_is_what_cutting_its_edge_does():
    model = tiny_model(aus=AUS, graph=True)
    x = clips(1)
    explained = model.explain(x, "all")[0]
    assert explained.relations == [(f"AU{a}", f"AU{b}", kind) for a, b, kind in model.config.prior_edges]
    torch.testing.assert_close(explained.strengths.sum(dim=1), torch.ones(4))
    graph, seen = model.model.graph, 0
    whole = graph.prior.clone()
    for i, one in enumerate(explained.evidence):
        assert {n.au for n in one.neighbours} == {
            explained.labels[j] for j in range(4) if j != i and whole[i, j].any()
        }
        assert [n.strength for n in one.neighbours] == sorted((n.strength for n in one.neighbours), reverse=True)
        for neighbour in one.neighbours:
            j = explained.labels.index(neighbour.au)
            assert neighbour.relation == " and ".join(kind for r, kind in enumerate(RELATIONS) if r and whole[i, j, r])
            graph.prior[i, j] = False
            with torch.no_grad():
                cut = model.probabilities(model(x).logits)[0, i].item()
            graph.prior.copy_(whole)
            assert neighbour.effect == pytest.approx(one.probability - cut, abs=1e-5)
            seen += 1
    assert seen == 6, "1-2, 1-4 and 2-4, in both directions; 12 has nobody"


def test_which_aus_are_explained():
    model = tiny_model(aus=AUS)
    x = clips(2)
    assert [one.au for one in model.explain(x, ["AU12", "AU2"])[0].evidence] == ["AU2", "AU12"]
    model.config.thresholds = dict.fromkeys(model.config.labels, 0.0)
    assert all(one.active for one in model.explain(x)[1].evidence) and len(model.explain(x)[1].evidence) == 4
    model.config.thresholds = dict.fromkeys(model.config.labels, 1.0)
    (only,) = model.explain(x)[0].evidence
    probabilities = model.explain(x)[0].probabilities
    assert not only.active and only.probability == max(probabilities.values())
    with pytest.raises(ValueError, match="aus holds 'AU5'; allowed: 'active', 'all', or a list of AU1"):
        model.explain(x, "AU5")


def test_explaining_asks_for_what_it_needs_and_works_without_gradients():
    model = tiny_model(aus=AUS)
    with pytest.raises(ValueError, match="aus is empty"):
        model.explain(clips(1), [])
    with pytest.raises(ValueError, match=r"pixel_values is \(6, 1, 32, 32\)"):
        model.explain(clips(1)[0])
    with torch.inference_mode():
        assert model.explain(clips(1), "all")[0].evidence[0].method == "grad-cam"


def test_explaining_leaves_the_model_as_it_was():
    model = tiny_model(mge=True, graph=True, ccr_weight=1.0).train()
    model.model.backbone.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.explain(clips(2), "all")
    assert model.training and not model.model.backbone.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
