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

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .schema import clip_features
from .synthetic_faces import CROP, MIDDLE, Face, Window, draw_face, smooth_noise
from .synthetic_motion import AMPLITUDE, FIELDS, FOLD_DEPTH, FOLDS, GAZE, au_field, field, fold, time_course
from .synthetic_plans import _CLIP, _NOISE, ClipPlan, synthetic_plans

POSE_SHIFT = 2.0  # of the face within its crop, clip by clip, in pixels at 128 x 128 (standard deviation)
POSTURE = 1.4  # of the resting face along an AU's field, clip by clip, in the same pixels
POSTURES = (1, 2, 4, 5, 7, 10, 12, 14, 15, 17, 20, 25)  # the directions in which faces rest differently
MOTTLE = 0.06  # uneven light, clip by clip
FOLD_REST = 0.13  # of the folds' resting depth, clip by clip
OVERSAMPLE = 2  # of the still face that the frames are sampled from
BLINK = 6.5  # how far the upper lid comes down


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
    """A `datasets.Dataset` of synthetic clips, a row a clip (see `schema`), fully determined by the arguments.

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


def draw_clips(
    plans: Sequence[ClipPlan],
    *,
    size: int | None = 64,
    amplitude: float = 1.0,
    window: Window | None = None,
    workers: int | None = None,
) -> Iterable[np.ndarray]:
    """The frames of each plan, (T, size, size) uint8; with a `window`, (T, height, width) in place of the crop."""
    stills: dict = {}
    for plan in plans:  # one still face a person, shared by the person's clips
        if plan.face not in stills:
            stills[plan.face] = draw_still(plan.face, plan.domain.blur, window or Window())
    workers = workers or min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1, 8)
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(
            lambda plan: draw_clip(plan, size=size, amplitude=amplitude, window=window, still=stills[plan.face]), plans
        )


_MARGIN = 16.0  # face units drawn around the window, for poses and postures to pull from


def draw_clip(
    plan: ClipPlan,
    *,
    size: int | None = 64,
    amplitude: float = 1.0,
    window: Window | None = None,
    still: np.ndarray | None = None,
) -> np.ndarray:
    """All frames of onset..offset, (T, H, W) uint8."""
    view = window or Window()
    setting, face, rng = plan.difficulty, plan.face, plan.rng(_CLIP)
    if still is None:
        still = draw_still(face, plan.domain.blur, view)
    x, y = view.grid()
    pose = _Pose(rng)
    at_x, at_y = pose.undo(x, y)  # (H, W) each: where on the resting face a pixel looks
    rest = _posture(rng, face, at_x, at_y)
    at_x, at_y = at_x - rest[0], at_y - rest[1]

    # What moves: one field and one course of time each. The fields are in the places where the features rest.
    t = np.linspace(0, 1, plan.frames, dtype=np.float32)
    moves: list[tuple[np.ndarray, np.ndarray]] = []
    folds: list[tuple[np.ndarray, np.ndarray]] = []
    hold, lasting = rng.uniform(0.1, 0.25), rng.uniform(0.0, 0.15)
    for action in plan.actions:
        course = time_course(plan.frames, plan.apex - plan.onset, hold=hold, rest=lasting)
        strength = AMPLITUDE[action.intensity] * amplitude
        moves.append((au_field(action.au, face, at_x, at_y, action.side) * strength, course))
        if action.au in FOLDS:
            folds.append((fold(action.au, face, at_x, at_y, action.side) * (strength * FOLD_DEPTH), course))
    if rng.random() < setting.blink:
        middle = rng.uniform(0.2, 0.8)
        course = np.exp(-0.5 * ((t - middle) / 0.07) ** 2) * (t > 0)
        moves.append((field(FIELDS[45], face, at_x, at_y) * BLINK, course))
    if setting.gaze:
        turn = setting.gaze * rng.standard_normal()
        moves.append((field(GAZE, face, at_x, at_y, left=1, right=-1) * turn, _wander(rng, t)))
    if setting.tremor:
        for au in rng.choice(POSTURES, size=4, replace=False):
            moves.append((au_field(int(au), face, at_x, at_y) * setting.tremor, _wander(rng, t)))

    shift = setting.drift * np.stack([_wander(rng, t), _wander(rng, t)])  # (2, T)
    roll = np.deg2rad(setting.turn) * _wander(rng, t)  # (T,)
    gain = 1 + setting.light * _wander(rng, t)
    slope = setting.light * _wander(rng, t)
    side_light = 1 + 0.06 * rng.standard_normal() * (x - MIDDLE) / 64 + 0.04 * rng.standard_normal() * (y - 64) / 64
    side_light = (side_light * (1 + 0.04 * rng.standard_normal())).astype(np.float32)

    side_light *= 1 + MOTTLE * smooth_noise(rng, x, y, 9, reach=512).astype(np.float32)
    for au in FOLDS:
        side_light *= 1 - FOLD_REST * np.float32(np.clip(rng.standard_normal(), -1.5, 1.5)) * fold(
            au, face, at_x, at_y
        )

    noise = plan.rng(_NOISE)
    side = plan.domain.noise * setting.noise
    factor = CROP // size if size and window is None else 1
    frames = np.empty((plan.frames, view.height // factor, view.width // factor), np.uint8)
    for index in range(plan.frames):
        look_x = at_x - (shift[0, index] - roll[index] * (y - 64))
        look_y = at_y - (shift[1, index] + roll[index] * (x - MIDDLE))
        for motion, course in moves:
            if course[index]:
                look_x -= motion[0] * course[index]
                look_y -= motion[1] * course[index]
        picture = _sample(still, view, look_x, look_y)
        for shade, course in folds:
            picture *= 1 - shade * course[index]
        picture *= side_light * np.float32(gain[index]) + np.float32(slope[index] / 64) * (x - MIDDLE)
        picture += np.float32(side) * noise.standard_normal(picture.shape, dtype=np.float32)
        frames[index] = np.clip(_area(picture, factor) + 0.5, 0, 255)
    return frames


def motion_map(plan: ClipPlan, au: int, *, size: int = 64, amplitude: float = 1.0) -> np.ndarray:
    """(size, size) float32: how far the AU moves each place at the apex, in pixels at 128 x 128; zero if not shown.

    The truth that a model's evidence map is judged by, in the coordinates of the clip's own frames.
    """
    x, y = Window().grid()
    rng = plan.rng(_CLIP)
    at_x, at_y = _Pose(rng).undo(x, y)
    rest = _posture(rng, plan.face, at_x, at_y)
    total = np.zeros((2, CROP, CROP), np.float32)
    for action in plan.actions:
        if action.au == au:
            strength = AMPLITUDE[action.intensity] * amplitude
            total += au_field(au, plan.face, at_x - rest[0], at_y - rest[1], action.side) * strength
    return _area(np.hypot(total[0], total[1]), CROP // size)


def draw_still(face: Face, blur: float, window: Window) -> np.ndarray:
    """The resting face as the domain's optics show it, finer than the frames and with a margin to pull from."""
    picture = draw_face(face, *window.grid(oversample=OVERSAMPLE, margin=_MARGIN))
    spread = blur * window.scale * OVERSAMPLE
    reach = np.arange(-int(3 * spread) - 1, int(3 * spread) + 2)
    kernel = np.exp(-0.5 * (reach / spread) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(picture, [(len(reach) // 2,) * 2 if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        length = picture.shape[axis]
        parts = (weight * padded.take(range(k, k + length), axis) for k, weight in enumerate(kernel))
        picture = sum(parts, np.zeros_like(picture))
    return picture


class _Pose:
    """Where the face stands in the crop of one clip: shift, roll and scale, as an imperfect cropping leaves them."""

    def __init__(self, rng: np.random.Generator):
        self.shift = np.clip(POSE_SHIFT * rng.standard_normal(2), -5, 5)
        self.roll = np.deg2rad(1.2) * rng.standard_normal()
        self.scale = 1 + 0.02 * rng.standard_normal()

    def undo(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = x - MIDDLE - self.shift[0], y - 64 - self.shift[1]
        cos, sin = np.cos(self.roll) / self.scale, np.sin(self.roll) / self.scale
        return (MIDDLE + cos * x + sin * y).astype(np.float32), (64 - sin * x + cos * y).astype(np.float32)


def _posture(rng: np.random.Generator, face, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(2, H, W): how the face rests in one clip, a random mixture of the AUs' own fields."""
    total = np.zeros((2, *x.shape), np.float32)
    for au in POSTURES:
        left, right = np.clip(POSTURE * (rng.standard_normal() + 0.3 * rng.standard_normal(2)), -2.5, 2.5)
        plain = FIELDS[au]
        total += field(plain, face, x, y, left=left, right=right)
    return total


def _wander(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """(T,) a slow course that starts at zero and stays around one in size."""
    waves = sum(rng.standard_normal() / k * np.sin(np.pi * k * t / 1.3 + 0) for k in (1, 2, 3))
    return (0.7 * waves).astype(np.float32)


def _sample(still: np.ndarray, view: Window, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values of the oversampled still face at face coordinates x, y."""
    density = np.float32(view.scale * OVERSAMPLE)
    extra = round(_MARGIN * view.scale * OVERSAMPLE)
    height, width = still.shape
    column = np.clip((x - np.float32(view.left)) * density + np.float32(extra - 0.5), 0, width - 1.001)
    row = np.clip((y - np.float32(view.top)) * density + np.float32(extra - 0.5), 0, height - 1.001)
    j, i = column.astype(np.int32), row.astype(np.int32)
    column -= j
    row -= i
    at = i * np.int32(width) + j
    flat = still.ravel()
    top = flat.take(at)
    top += column * (flat.take(at + 1) - top)
    low = flat.take(at + width)
    low += column * (flat.take(at + (width + 1)) - low)
    top += row * (low - top)
    return top


def _area(picture: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return picture
    height, width = picture.shape
    return picture.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3))
