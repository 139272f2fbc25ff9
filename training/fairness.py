r"""For whom a model trained on wild clips errs more: the tested people by skin, age, glasses, beard and light.

    aullm train wild
    python training/fairness.py runs/wild

SYNTHETIC people: this tells which drawn faces are harder, not how real people fare. AUC is the mean over AUs; an idle
clip is one without any AU, a false alarm an idle clip with an active one; found is the share of AUs that are there and
active. Intervals hold the middle 95 % over resamples of the people.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from benchmarks.groups import group_figures
from benchmarks.tables import markdown_table

from aullm_hf.data import load_clips
from aullm_hf.data.synthetic import wild_people
from aullm_hf.data.synthetic.faces import Person
from aullm_hf.data.synthetic.wild_plans import WildPlan, wild_plans
from aullm_hf.evaluation import read_run
from aullm_hf.training.data import SYNTHETIC, synthetic_arguments
from aullm_hf.training.parsing import load_run_config

RESAMPLES = 500
GROUPS = {  # column -> (name of a group, its rows)
    "skin": (("dark", lambda tone: tone < 110), ("medium", lambda tone: tone.between(110, 165)),
             ("light", lambda tone: tone > 165)),
    "age": (("few lines", lambda depth: depth < 0.03), ("some", lambda depth: depth.between(0.03, 0.12)),
            ("deep lines", lambda depth: depth > 0.12)),
    "glasses": (("without", lambda there: ~there), ("with", lambda there: there)),
    "beard": (("without", lambda there: ~there), ("with", lambda there: there)),
    "fringe": (("without", lambda there: ~there), ("with", lambda there: there)),
    "light": (("dim", lambda grey: grey < 90), ("medium", lambda grey: grey.between(90, 160)),
              ("bright", lambda grey: grey > 160)),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run on wild clips")
    args = parser.parse_args(argv)
    run = read_run(args.run)
    thresholds = run.folds[0]["thresholds"]
    traits = traits_of_clips(args.run, set(run.predictions["clip_id"]))
    print(markdown_table(group_rows(run.predictions.merge(traits, on="clip_id"), thresholds)))
    return 0


def traits_of_clips(folder: Path, wanted: set[str]) -> pd.DataFrame:
    """A row per tested clip: what its person looks like, and how bright its first frame is, in grey levels."""
    settings = load_run_config(folder / "config.yaml").data
    rows = []
    for name in (name for name in settings.datasets if name in SYNTHETIC):
        asked = synthetic_arguments(settings, name)
        plans = wild_plans(**{key: value for key, value in asked.items() if key != "difficulty"})
        clips = load_clips("synthetic", **asked)
        places = [place for place, plan in enumerate(plans) if plan.clip_id in wanted]
        frames = clips.select(places).with_format("numpy")["frames"]
        known: dict[int, dict] = {}
        for place, clip in zip(places, frames, strict=True):
            plan: WildPlan = plans[place]
            look = known.get(plan.person.seed) or known.setdefault(plan.person.seed, look_of(plan.person))
            rows.append({"clip_id": plan.clip_id, **look, "light": float(np.mean(clip[0]))})
    return pd.DataFrame(rows)


def look_of(person: Person) -> dict[str, float | bool]:
    """What is drawn of a person; the drawing decides it on the way, so it is watched."""
    lines, draw_lines = [], wild_people._lines
    with ExitStack() as stack:
        called = {
            trait: stack.enter_context(patch.object(wild_people, name, wraps=getattr(wild_people, name)))
            for trait, name in {"glasses": "_glasses", "beard": "_bearded", "fringe": "_fringe"}.items()
        }
        keep_lines = lambda *given: lines.append(draw_lines(*given)) or lines[-1]  # noqa: E731
        stack.enter_context(patch.object(wild_people, "_lines", keep_lines))
        wild_people.skin_layer.__wrapped__(person)
        wild_people.overlay.__wrapped__(person)
    there = {trait: watched.called for trait, watched in called.items()}
    return {"skin": person.skin, "age": float(lines[0].max()) / 1.5, **there}


def group_rows(table: pd.DataFrame, thresholds: dict[str, float]) -> list[dict]:
    rows = [_row("everybody", "", table, thresholds)]
    for column, groups in GROUPS.items():
        for name, chosen in groups:
            rows.append(_row(column, name, table[chosen(table[column])], thresholds))
    return rows


def _row(column: str, name: str, part: pd.DataFrame, thresholds: dict[str, float]) -> dict:
    people = part["dataset"] + ":" + part["subject"]
    y = part[[f"y_{au}" for au in thresholds]].to_numpy(dtype=bool)
    p = part[[f"p_{au}" for au in thresholds]].to_numpy()
    figures = group_figures(people, p, y, p >= np.array(list(thresholds.values())), RESAMPLES)
    return {"": column, " ": name, "people": people.nunique(), "clips": len(part), **figures}


if __name__ == "__main__":
    raise SystemExit(main())
