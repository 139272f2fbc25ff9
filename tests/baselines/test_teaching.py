"""Students: their losses as their papers write them, and teachers that stay what they are."""

import numpy as np
import pytest
import torch

from aullm_hf.baselines.at import attention
from aullm_hf.baselines.dvasp import attended
from support.tiny_baselines import seen, targets, tiny_baseline

STUDENTS = ["fitnet", "sp", "at", "dvasp"]


def maps(seed, count=4, shapes=((4, 8, 8), (8, 4, 4), (8, 2, 2), (8, 1, 1))):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(count, *shape, generator=generator) for shape in shapes)


def rows_of_length_one(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def gram(features):
    flat = features.reshape(len(features), -1)
    return rows_of_length_one(flat @ flat.T)


def test_sp_keeps_similarities_as_its_paper_writes_them():
    own, taught = maps(0), maps(1)
    ours, theirs = (gram(one[-1].numpy()) for one in (own, taught))
    expected = np.linalg.norm(theirs - ours, "fro") ** 2 / len(ours) ** 2
    assert tiny_baseline("sp").model.imitation(own, [taught]).item() == pytest.approx(expected, rel=1e-5)


def test_at_compares_where_maps_are_strong():
    own, taught = maps(0), maps(1)
    expected = 0.0
    for mine, theirs, side in zip(own, taught, (56, 28, 14, 7), strict=True):
        q = [rows_of_length_one((one.numpy() ** 2).sum(axis=1).reshape(len(one), -1)) for one in (mine, theirs)]
        expected += ((q[0] - q[1]) ** 2).sum(axis=1).mean() / side**2
    assert tiny_baseline("at").model.imitation(own, [taught]).item() == pytest.approx(expected, rel=1e-5)


def test_fitnet_is_hinted_by_the_middle_through_its_regressor():
    own, taught = maps(0), maps(1)
    student = tiny_baseline("fitnet").model
    weight, bias = (one.detach().numpy() for one in (student.regressor.weight, student.regressor.bias))
    guessed = np.einsum("oi,bihw->bohw", weight[..., 0, 0], own[1].numpy()) + bias[:, None, None]
    expected = ((guessed - taught[1].numpy()) ** 2).mean() / 2
    assert student.imitation(own, [taught]).item() == pytest.approx(expected, rel=1e-5)


def test_dvasp_weighs_by_attention_and_follows_both_views():
    own, one, other = maps(0), maps(1), maps(2)

    def attentive(features):
        features = features.numpy()
        strength = (features**2).sum(axis=1)
        strength /= np.sqrt((strength**2).sum(axis=(1, 2), keepdims=True))
        return gram(features * strength[:, None])

    mine = attentive(own[-1])
    expected = np.mean([((mine - attentive(view[-1])) ** 2).mean() for view in (one, other)])
    assert tiny_baseline("dvasp").model.imitation(own, [one, other]).item() == pytest.approx(expected, rel=1e-5)
    assert attended(own[0]).shape == own[0].shape and attention(own[0]).norm(dim=1).allclose(torch.ones(4))


@pytest.mark.parametrize("name", [name for name in STUDENTS if name != "fitnet"])
def test_who_is_its_own_teacher_has_nothing_to_learn_from_it(name):
    student = tiny_baseline(name).model
    own = maps(3)
    assert student.imitation(own, [own, own]).item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("name", STUDENTS)
def test_teachers_stay_what_they_are_and_at_home(name, tmp_path):
    student = tiny_baseline(name)
    teachers = [tiny_baseline(teacher, seed=7 + place) for place, teacher in enumerate(student.teacher_names)]
    assert student.teacher_names == (("resnet18",) * 2 if name == "dvasp" else ("resnet34",))
    before = [{key: value.clone() for key, value in one.state_dict().items()} for one in teachers]
    student.learn_from(teachers)
    alone = student(seen(student), targets()).loss.item()
    student.train()
    output = student(seen(student), targets())
    output.loss.backward()
    assert output.loss_parts.keys() == {"asymmetric", "imitation"} and output.loss_parts["imitation"] > 0
    assert output.loss.item() == pytest.approx(sum(part.item() for part in output.loss_parts.values()), rel=1e-6)
    assert np.isfinite(alone) and all(one.grad is None for teacher in teachers for one in teacher.model.parameters())
    for teacher, known in zip(teachers, before, strict=True):  # no gradient step, no batch statistic
        assert all(torch.equal(value, known[key]) for key, value in teacher.state_dict().items())
    student.save_pretrained(tmp_path)
    again = type(student).from_pretrained(tmp_path)
    assert again.teachers == () and again.state_dict().keys() == tiny_baseline(name).state_dict().keys()
    assert torch.equal(again(seen(student)).logits, student.eval()(seen(student)).logits)


def test_the_weight_of_imitation_can_be_chosen():
    student = tiny_baseline("sp", distill_weight=0.0)
    student.learn_from([tiny_baseline("resnet34")])
    output = student(seen(student), targets())
    assert (
        output.loss.item() == output.loss_parts["asymmetric"].item() and tiny_baseline("sp").imitation_weight == 3000
    )
