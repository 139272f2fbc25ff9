"""The synthetic benchmark: clips of parametric faces whose AUs move as muscles do. No licence, no download, one seed.

    clips = synthetic_clips(difficulty="easy", domain="casme2", subjects=6, clips_per_subject=20, seed=0)

- easy: every AU in a third of everybody's clips, independently of the others, so identity tells nothing; 1.1 to 1.4
  pixels at the apex, both sides alike; faint noise, hardly any drift.
- standard: AU counts and combinations as in the domain; people differ in which AUs they show and on which side; 0.5
  to 1.8 pixels, 30 % one-sided; 2 % of the clips mislabelled; head 0.4 pixels, light 2 %, 8 % blink, eyes wander.
- hard: as standard with weaker motion, 45 % one-sided, strong habits, 10 % mislabelled, head drift 1.2 pixels, light
  6 %, 25 % blink.

- wild: six frames of whatever a camera may see: any face, 0.2 to 6 pixels of a 64 x 64 crop, expressions that begin
  before the window, fade or return, heads that turn, light, glasses, hands, compression. `aus` names what rises by at
  least a quarter of such a pixel from a frame to a later one; a column `rises` says by how much each of WILD_AUS does.

Pixels are otherwise those of a 128 x 128 face crop; smaller frames are area averages of it. The first frame of a clip
is neutral, but in wild ones. A single frame tells next to nothing, by design: each clip has its own pose in the crop,
light, and resting posture along the very directions the AUs pull, larger than the motion. What tells is how the frames
differ.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ...arguments import check_choice
from ..schema import COLUMNS, clip_features
from .drawing import draw_clips, motion_map
from .faces import CROP
from .plans import DIFFICULTIES, ClipPlan, synthetic_plans
from .wild import draw_wild_clips
from .wild_plans import WILD_AUS, wild_plans


def synthetic_clips(
    *,
    difficulty: str = "easy",
    domain: str = "casme2",
    subjects: int = 6,
    clips_per_subject: int | Sequence[int] | str = 20,
    aus: Sequence[int] | None = None,
    seed: int = 0,
    size: int = 64,
    label_noise: float | None = None,
    amplitude: float = 1.0,
    fps: float | None = None,
    workers: int | None = None,
):
    """A `datasets.Dataset` of synthetic clips, one row per clip (see `schema`), fully determined by the arguments.

    difficulty: "easy", "standard", "hard" or "wild". domain: "casme2" or "samm". clips_per_subject: one number, one a
    subject, or "published". aus: the AUs that may occur; None takes the published list of the domain on easy, WILD_AUS
    on wild, all of the domain's otherwise. label_noise: share of the clips whose annotation is wrong; None takes the
    setting's. amplitude: multiplies the AUs' motion (4 is good to look at). fps: of the camera; None takes the
    domain's, and on wild one at random. workers: threads; the result does not depend on it.
    """
    check_choice("difficulty", difficulty, (*DIFFICULTIES, "wild"))
    if not isinstance(size, int) or size < 8 or CROP % size:
        raise ValueError(f"size={size!r} must divide {CROP}: 128, 64, 32, 16 or 8")
    about = f"Synthetic micro-expressions: {difficulty}, {domain} domain, {subjects} subjects, seed {seed}."
    if difficulty == "wild":
        if label_noise:
            raise ValueError(f"label_noise={label_noise!r} is not allowed for wild clips, whose labels are measured")
        plans = wild_plans(
            domain=domain,
            subjects=subjects,
            clips_per_subject=clips_per_subject,
            aus=aus,
            seed=seed,
            amplitude=amplitude,
            fps=fps,
        )
        frames = draw_wild_clips(plans, size=size, workers=workers)
        return _as_dataset(plans, frames, size, about, rises=[plan.rises for plan in plans])
    plans = synthetic_plans(
        difficulty=difficulty,
        domain=domain,
        subjects=subjects,
        clips_per_subject=clips_per_subject,
        aus=aus,
        seed=seed,
        label_noise=label_noise,
        fps=fps,
    )
    frames = draw_clips(plans, size=size, amplitude=amplitude, workers=workers)
    return _as_dataset(plans, frames, size, about)


def _as_dataset(plans: Sequence, frames: Iterable[np.ndarray], size: int, about: str, **more: list[list[float]]):
    """The plans and their frames as rows; `more`: columns of numbers that other clips do not have."""
    from datasets import Dataset, DatasetInfo, Features, List, Value

    rows = {name: list(frames) if name == "frames" else [getattr(plan, name) for plan in plans] for name in COLUMNS}
    features = Features({**clip_features(size), **{name: List(Value("float32")) for name in more}})
    info = DatasetInfo(features=features, description=about, license="Apache-2.0")
    return Dataset.from_dict(rows | more, features=features, info=info)


__all__ = [
    "WILD_AUS",
    "ClipPlan",
    "draw_clips",
    "draw_wild_clips",
    "motion_map",
    "synthetic_clips",
    "synthetic_plans",
    "wild_plans",
]
