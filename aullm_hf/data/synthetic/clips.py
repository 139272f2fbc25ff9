"""The synthetic benchmark: clips of parametric faces whose AUs move as muscles do. No licence, no download, one seed.

    clips = synthetic_clips(difficulty="easy", domain="casme2", subjects=6, clips_per_subject=20, seed=0)

- easy: every AU in a third of everybody's clips, independently of the others, so identity tells nothing; 1.1 to 1.4
  pixels at the apex, both sides alike; faint noise, hardly any drift.
- standard: AU counts and combinations as in the domain; people differ in which AUs they show and on which side; 0.5
  to 1.8 pixels, 30 % one-sided; 2 % of the clips mislabelled; head 0.4 pixels, light 2 %, 8 % blink, eyes wander.
- hard: as standard with weaker motion, 45 % one-sided, strong habits, 10 % mislabelled, head drift 1.2 pixels, light
  6 %, 25 % blink.

Pixels are those of a 128 x 128 face crop; smaller frames are area averages of it. The first frame of a clip is
neutral. A single frame tells next to nothing, by design: each clip has its own pose in the crop, light, and resting
posture along the very directions the AUs pull, larger than the motion. What tells is how the frames differ.
"""

from collections.abc import Sequence

from ..schema import clip_features
from .drawing import draw_clips, motion_map
from .faces import CROP
from .plans import ClipPlan, synthetic_plans


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

    difficulty: "easy", "standard" or "hard". domain: "casme2" or "samm". clips_per_subject: one number, one a subject,
    or "published". aus: the AUs that may occur; None takes the published list of the domain on easy, all of its AUs
    otherwise. label_noise: share of the clips whose annotation is wrong; None takes the setting's. amplitude:
    multiplies the AUs' motion (4 is good to look at). fps: None takes the domain's. workers: threads; the result does
    not depend on it.
    """
    import datasets

    if not isinstance(size, int) or size < 8 or CROP % size:
        raise ValueError(f"size={size!r} must divide {CROP}: 128, 64, 32, 16 or 8")
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
    rows = {
        "clip_id": [plan.clip_id for plan in plans],
        "dataset": [plan.dataset for plan in plans],
        "subject": [plan.subject for plan in plans],
        "clip": [plan.clip for plan in plans],
        "frames": list(frames),
        "onset": [plan.onset for plan in plans],
        "apex": [plan.apex for plan in plans],
        "offset": [plan.offset for plan in plans],
        "fps": [plan.fps for plan in plans],
        "aus": [plan.aus for plan in plans],
        "au_text": [plan.au_text for plan in plans],
        "emotion": [plan.emotion for plan in plans],
    }
    features = clip_features(size)
    info = datasets.DatasetInfo(
        features=features,
        description=f"Synthetic micro-expressions: {difficulty}, {domain} domain, {subjects} subjects, seed {seed}.",
        license="Apache-2.0",
    )
    return datasets.Dataset.from_dict(rows, features=features, info=info)


__all__ = ["ClipPlan", "draw_clips", "motion_map", "synthetic_clips", "synthetic_plans"]
