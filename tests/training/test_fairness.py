"""Errors by group of the wild clips' people: looks are those that are drawn, figures those of a count."""

import fairness
import numpy as np
import pandas as pd
import pytest

import support.tiny_run  # noqa: F401  finds the scripts of training/
from aullm_hf.data.synthetic import wild_people
from aullm_hf.data.synthetic.wild_plans import wild_plans


@pytest.fixture(scope="module")
def people():
    return [plan.person for plan in wild_plans(subjects=24, clips_per_subject=1)]


def test_a_look_is_what_is_drawn(people):
    looks = [fairness.look_of(person) for person in people]
    for look, person in zip(looks, people, strict=True):
        covered = wild_people.overlay(person) is not None
        assert covered == (look["glasses"] or look["fringe"]) and look["skin"] == person.skin
    for trait in ("glasses", "beard", "fringe"):
        assert 0 < sum(look[trait] for look in looks) < len(people), trait
    assert 0 <= min(look["age"] for look in looks) < 0.05 < 0.2 < max(look["age"] for look in looks) <= 0.35


def test_groups_are_parts_of_everybody_and_figures_are_shares():
    rng = np.random.default_rng(0)
    count = 300
    table = pd.DataFrame({"dataset": "a", "subject": rng.integers(0, 40, count).astype(str)})
    person = table["subject"].astype(int)
    table = table.assign(skin=60.0 + 4 * person, age=person / 120, glasses=person < 9, beard=person < 20,
                         fringe=person < 30, light=rng.uniform(50, 200, count))  # fmt: skip
    for au in ("AU1", "AU12"):
        table[f"y_{au}"] = (rng.random(count) < 0.3).astype(int)
        table[f"p_{au}"] = rng.random(count) / 2 + 0.4 * table[f"y_{au}"]
    everybody, *groups = fairness.group_rows(table, {"AU1": 0.4, "AU12": 0.3})
    for column in fairness.GROUPS:
        assert sum(row["clips"] for row in groups if row[""] == column) == count
    y, p = table[["y_AU1", "y_AU12"]].to_numpy() == 1, table[["p_AU1", "p_AU12"]].to_numpy()
    active, idle = p >= [0.4, 0.3], ~y.any(axis=1)
    assert everybody["found"].startswith(f"{active[y].mean():.2f} [")
    assert everybody["false alarms"].startswith(f"{active[idle].any(axis=1).mean():.2f} [")
    aucs = [np.mean(p[y[:, k], k][:, None] > p[~y[:, k], k]) for k in range(2)]
    assert everybody["AUC"].startswith(f"{np.mean(aucs):.2f} [") and everybody["people"] == 40
