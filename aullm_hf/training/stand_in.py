"""The clips of a data set that is not at hand, as far as the public tables tell: enough for a plan, for nothing else.

Counts of clips and subjects are those of the public releases; for CASME II and SAMM also the clips of every subject
and the positives of every AU. Who shows what is made up, and no frame exists.
"""

from collections.abc import Sequence
from math import gcd

from ..data.published.counts import PUBLISHED_COUNTS
from ..data.synthetic.domains import DOMAINS
from ..data.synthetic.plans import synthetic_plans
from .data import SYNTHETIC, synthetic_arguments
from .settings import DataSettings


def synthetic_table(settings: DataSettings, name: str) -> dict[str, list]:
    """The clips that the run will draw, without drawing them."""
    plans = synthetic_plans(**synthetic_arguments(settings, name))
    return {
        "clip_id": [plan.clip_id for plan in plans],
        "dataset": [plan.dataset for plan in plans],
        "subject": [plan.subject for plan in plans],
        "aus": [plan.aus for plan in plans],
        "frames": [plan.frames for plan in plans],
    }


def stand_in_table(name: str) -> dict[str, list] | None:
    """Rows with the public counts; None for a data set whose counts are not known here."""
    counts = PUBLISHED_COUNTS.get(name)
    if counts is None or counts.usual_frames is None:
        return None
    clips, subjects, frames = counts.rows, counts.subjects, counts.usual_frames
    domain = DOMAINS.get(name)
    if domain is not None:
        who = [subject for subject, count in domain.clips_per_subject.items() for _ in range(count)]
        shown = [combination for combination, count in domain.combinations.items() for _ in range(count)]
        step = next(step for step in range(97, 10_000) if gcd(step, clips) == 1)  # spreads them over the subjects
        aus = [[int(au) for au in shown[row * step % clips].split("+")] for row in range(clips)]
    else:
        who = [f"{row * subjects // clips + 1:02d}" for row in range(clips)]
        aus = [[] for _ in range(clips)]
    return {
        "clip_id": [f"{name}/{subject}/{row}" for row, subject in enumerate(who)],
        "dataset": [name] * clips,
        "subject": who,
        "aus": aus,
        "frames": [frames] * clips,
    }


def has_au_counts(name: str) -> bool:
    return name in SYNTHETIC or name in DOMAINS


def join(tables: Sequence[dict[str, list]]) -> dict[str, list]:
    return {key: [value for table in tables for value in table[key]] for key in tables[0]}
