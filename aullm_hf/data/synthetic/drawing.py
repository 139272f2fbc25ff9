"""From plans to pictures: a person's resting face, warped frame by frame as the plan says.

Everything is a backward warp: for each pixel, where on the still face to look. The AUs of a clip share one course of
time, so what they move adds up to one displacement field a clip.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...arguments import check_number
from ..threads import default_workers, map_in_threads
from .faces import CROP, MIDDLE, NOSE_Y, Person, Viewport, draw_face, smooth_noise
from .motion import (
    AMPLITUDE,
    FIELDS,
    FOLD_DEPTH,
    FOLDS,
    GAZE,
    PLANE,
    POSTURES,
    au_field,
    field,
    fold,
    resting,
    time_course,
)
from .plans import _CLIP, _NOISE, ClipPlan

# How a face stands in its crop, clip by clip (standard deviations), in pixels at 128 x 128, degrees and shares of the
# size. Two to four times what the finder scatters on one photograph seen again: less would let a single frame tell.
SHIFT, ROLL, SCALE = 1.2, 0.9, 0.015
NOSE_TURN = (1.5, 0.9)  # across and down: a turned head moves the nose over the face
POSTURE = 2.4  # of the resting face along an AU's field, clip by clip, in the same pixels
MOTTLE = 0.09  # uneven light, clip by clip
FOLD_REST = 0.35  # of the folds' resting depth, clip by clip
BLINK = 6.5  # how far the upper lid comes down
OVERSAMPLE = 2  # of the still face that the frames are sampled from
MARGIN = 16.0  # face units drawn around the window, for poses and postures to pull from


def draw_clips(
    plans: Sequence[ClipPlan],
    *,
    size: int = 64,
    amplitude: float = 1.0,
    only: Callable[[int], Sequence[int]] | None = None,
    workers: int | None = None,
) -> Iterator[np.ndarray]:
    """The frames of each plan, (T, size, size) uint8. `only`: from a clip's number of frames to the ones to draw."""
    check_number("amplitude", amplitude, -1000, 1000)
    stills: dict[Person, np.ndarray] = {}
    for plan in plans:  # one still face a person, shared by the person's clips
        if plan.person not in stills:
            stills[plan.person] = draw_still(plan.person, plan.domain.blur, Viewport())

    def draw(plan: ClipPlan) -> np.ndarray:
        return draw_clip(plan, size=size, amplitude=amplitude, only=only, still=stills[plan.person])

    yield from map_in_threads(draw, plans, workers or default_workers())


def draw_clip(
    plan: ClipPlan,
    *,
    size: int | None = 64,
    amplitude: float = 1.0,
    only: Callable[[int], Sequence[int]] | None = None,
    viewport: Viewport | None = None,
    still: np.ndarray | None = None,
) -> np.ndarray:
    """All frames of onset..offset, (T, size, size) uint8; with a `viewport`, (T, height, width) of that part."""
    whole_crop = viewport is None
    viewport = viewport or Viewport()
    setting, person, rng = plan.difficulty, plan.person, plan.rng(_CLIP)
    if still is None:
        still = draw_still(person, plan.domain.blur, viewport)
    x, y = viewport.grid()
    at_x, at_y, light = _rest(rng, person, x, y)

    t = np.linspace(0, 1, plan.frames, dtype=np.float32)
    hold, lasting = rng.uniform(0.1, 0.25), rng.uniform(0.0, 0.15)
    course = time_course(plan.frames, plan.apex - plan.onset, hold=hold, rest=lasting)
    action, shade = _act(plan, at_x, at_y, amplitude)
    moves = [(action, course)] if plan.actions else []  # (2, H, W) and (T,) each
    if rng.random() < setting.blink:
        blink = np.exp(-0.5 * ((t - rng.uniform(0.2, 0.8)) / 0.07) ** 2) * (t > 0)
        moves.append((field(FIELDS[45], person, at_x, at_y) * BLINK, blink))
    if setting.gaze:
        turn = setting.gaze * rng.standard_normal()
        moves.append((field(GAZE, person, at_x, at_y, left=1, right=-1) * np.float32(turn), _wander(rng, t)))
    if setting.tremor:
        for au in rng.choice(POSTURES, size=4, replace=False):
            moves.append((au_field(int(au), person, at_x, at_y) * np.float32(setting.tremor), _wander(rng, t)))
    shift = np.float32(setting.drift) * np.stack([_wander(rng, t), _wander(rng, t)])  # (2, T)
    roll = np.float32(np.deg2rad(setting.turn)) * _wander(rng, t)  # (T,)
    gain = 1 + np.float32(setting.light) * _wander(rng, t)
    slope = np.float32(setting.light / 64) * _wander(rng, t)

    grain = np.float32(plan.domain.noise * setting.noise)
    factor = CROP // size if size and whole_crop else 1
    drawn = range(plan.frames) if only is None else only(plan.frames)
    frames = np.empty((len(drawn), viewport.height // factor, viewport.width // factor), np.uint8)
    for place, index in enumerate(drawn):
        look_x = at_x - (shift[0, index] - roll[index] * (y - 64))
        look_y = at_y - (shift[1, index] + roll[index] * (x - MIDDLE))
        for motion, when in moves:
            if when[index]:
                look_x -= motion[0] * when[index]
                look_y -= motion[1] * when[index]
        picture = _look(still, viewport, look_x, look_y)
        picture *= light * (gain[index] + slope[index] * (x - MIDDLE))
        if course[index]:
            picture *= 1 - course[index] * shade
        picture += grain * plan.rng(_NOISE, int(index)).standard_normal(picture.shape, dtype=np.float32)
        frames[place] = np.clip(_area(picture, factor) + 0.5, 0, 255)
    return frames


def motion_map(plan: ClipPlan, au: int, *, size: int = 64, amplitude: float = 1.0) -> np.ndarray:
    """(size, size) float32: how far the AU moves each place at the apex, in pixels at 128 x 128; zero if not shown.

    The truth that a model's evidence map is judged by, in the coordinates of the clip's own frames.
    """
    at_x, at_y, _ = _rest(plan.rng(_CLIP), plan.person, *Viewport().grid())
    motion, _ = _act(plan, at_x, at_y, amplitude, only=au)
    return _area(np.hypot(motion[0], motion[1]), CROP // size)


def draw_still(person: Person, blur: float, viewport: Viewport) -> np.ndarray:
    """The resting face as the domain's optics show it, finer than the frames and with a margin to pull from."""
    picture = draw_face(person, *viewport.grid(oversample=OVERSAMPLE, margin=MARGIN))
    spread = blur * viewport.scale * OVERSAMPLE
    reach = np.arange(-int(3 * spread) - 1, int(3 * spread) + 2)
    kernel = np.exp(-0.5 * (reach / spread) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(picture, [(len(reach) // 2,) * 2 if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        length = picture.shape[axis]
        parts = (weight * padded.take(range(k, k + length), axis) for k, weight in enumerate(kernel))
        picture = sum(parts, np.zeros_like(picture))
    return picture


def _rest(rng: np.random.Generator, person: Person, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where a clip's pixels look on the still face while nothing moves, x and y, and how they are lit: (H, W) each.

    All of it is of one clip only: pose, posture, light and depth of the folds. That is what keeps a single frame from
    telling what moves.
    """
    # What the alignment leaves: a shift, a roll and a scale, and a nose that a turn of the head moves across the face.
    shift = SHIFT * rng.standard_normal(2)
    roll, scale = np.deg2rad(ROLL) * rng.standard_normal(), 1 + SCALE * rng.standard_normal()
    cos, sin = float(np.cos(roll) / scale), float(np.sin(roll) / scale)
    from_x, from_y = x - float(MIDDLE + shift[0]), y - float(64 + shift[1])
    at_x = MIDDLE + cos * from_x + sin * from_y  # (H, W)
    at_y = 64 - sin * from_x + cos * from_y
    turn = np.clip(rng.standard_normal(2), -2.5, 2.5) * NOSE_TURN
    near = np.exp(-0.5 * ((at_x - MIDDLE) / 11) ** 2) * np.exp(-0.5 * ((at_y - NOSE_Y) / 15) ** 2)
    at_x, at_y = at_x - float(turn[0]) * near, at_y - float(turn[1]) * near

    # A face rests in a mixture of the very motions that AUs are made of.
    fields, folds = resting(person)
    gains = [np.clip(POSTURE * (rng.standard_normal() + 0.3 * rng.standard_normal(2)), -2.5, 2.5) for _ in POSTURES]
    posture = np.einsum("k,kcyx->cyx", np.concatenate(gains).astype(np.float32), fields)  # (2, 160, 160)
    at_x, at_y = at_x - _on_plane(posture[0], at_x, at_y), at_y - _on_plane(posture[1], at_x, at_y)

    across, along, level = (rng.standard_normal(3) * (0.06, 0.04, 0.04)).tolist()
    light = (1 + across * (x - MIDDLE) / 64 + along * (y - 64) / 64) * (1 + level)
    light = light * (1 + MOTTLE * smooth_noise(rng, x, y, cell=9, reach=512))
    depths = FOLD_REST * np.clip(rng.standard_normal(len(FOLDS)), -1.5, 1.5)
    light = light * (1 - _on_plane(np.einsum("k,kyx->yx", depths.astype(np.float32), folds), at_x, at_y))
    return at_x, at_y, light.astype(np.float32)


def _act(plan: ClipPlan, at_x, at_y, amplitude: float, only: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """What the clip's AUs do at the apex: displacement (2, H, W) and share of the light lost in folds (H, W)."""
    motion, shade = np.zeros((2, *at_x.shape), np.float32), np.zeros(at_x.shape, np.float32)
    for action in plan.actions:
        if only in (None, action.au):
            strength = np.float32(AMPLITUDE[action.intensity] * amplitude)
            motion += strength * au_field(action.au, plan.person, at_x, at_y, action.side)
            if action.au in FOLDS:
                shade += strength * np.float32(FOLD_DEPTH) * fold(action.au, plan.person, at_x, at_y, action.side)
    return motion, np.minimum(shade, 0.8)


def _wander(rng: np.random.Generator, t: np.ndarray) -> np.ndarray:
    """(T,) a slow course that starts at zero and stays around one in size."""
    waves = sum(rng.standard_normal() / k * np.sin(np.pi * k * t / 1.3) for k in (1, 2, 3))
    return (0.7 * waves).astype(np.float32)


def _look(still: np.ndarray, viewport: Viewport, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grey levels of the still face at face coordinates x, y."""
    density = np.float32(viewport.scale * OVERSAMPLE)
    extra = np.float32(round(MARGIN * viewport.scale * OVERSAMPLE) - 0.5)
    return _bilinear(
        still, (x - np.float32(viewport.left)) * density + extra, (y - np.float32(viewport.top)) * density + extra
    )


def _on_plane(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values known on the points of PLANE, at x and y."""
    return _bilinear(values, x - PLANE[0], y - PLANE[0])


def _bilinear(image: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    height, width = image.shape
    column, row = np.clip(column, 0, width - 1.001), np.clip(row, 0, height - 1.001)
    j, i = column.astype(np.int32), row.astype(np.int32)
    column -= j
    row -= i
    at = i * np.int32(width) + j
    flat = image.ravel()
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
