"""Wild clips: pictures of a plan's face as any camera might show it.

What moves without being an AU is drawn independently of the labels: the head in three dimensions, the eyes, light,
hands. So is what a camera does: contrast, blur, compression, noise, the edge of its picture.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..template import TEMPLATE, similarity
from ..threads import default_workers, map_in_threads
from .faces import CROP, MIDDLE, Person, smooth_noise
from .motion import FOLD_DEPTH, FOLDS, PLANE, Bump, fold
from .plans import _CLIP, _NOISE
from .warping import LID_OPENING, SKIN, Places, edges_of, on_plane, places_of, skin_fields, skin_motion, widened
from .wild_degrading import degrade
from .wild_people import overlay, skin_layer
from .wild_plans import WildPlan

STEP = 2  # face units between the points that motion is known on
TURN = (9.0, 6.0)  # degrees that heads stand turned, sideways and up or down (standard deviations, at most 2.5)
SHIFT, ROLL, SCALE = 2.0, 1.8, 0.03  # how a face stands in its crop: the finder's scatter, and then some
SPEEDS = {"shift": (0.1, 18.0), "roll": (0.05, 10.0), "zoom": (0.001, 0.12), "yaw": (0.1, 18.0), "pitch": (0.1, 14.0)}
DEEPEST = 0.3  # share of the light that a fold loses at most


def draw_wild_clips(plans: Sequence[WildPlan], *, size: int = 64, workers: int | None = None) -> Iterator[np.ndarray]:
    """The frames of each plan, (FRAMES, size, size) uint8."""
    yield from map_in_threads(lambda plan: draw_wild_clip(plan, size=size), plans, workers or default_workers())


def draw_wild_clip(
    plan: WildPlan, *, size: int = 64, only: Callable[[int], Sequence[int]] | None = None
) -> np.ndarray:
    """(FRAMES, size, size) uint8, or the frames that `only` chooses of them."""
    person, levels, frames, moving = plan.person, plan.levels, plan.frames, plan.kind != "still"
    # Streams of their own, so that what the face does changes nothing else.
    muscles, head, looks, camera = (plan.rng(_CLIP, purpose) for purpose in (10, 11, 12, 13))
    pixels = max(size, 64)
    centres = (np.arange(pixels, dtype=np.float32) + 0.5) * np.float32(CROP / pixels)
    at_x, at_y = _on_head(head, plan, centres[None, :], centres[:, None], moving)
    varied = {
        au: _varied(muscles, bumps, float(levels[au].max()) if au in levels else 0) for au, bumps in SKIN.items()
    }
    fields = {au: skin_fields(bumps, person, STEP) for au, bumps in varied.items() if au in levels}
    motion = skin_motion(levels, fields, frames)
    places = places_of(person, at_x, at_y, motion, edges_of(levels, person, frames))

    picture = on_plane(skin_layer(person), places.x, places.y)
    picture *= 1 - np.minimum(on_plane(_shade(muscles, plan), at_x, at_y), DEEPEST)
    gaze = _gaze(looks, plan.times) if moving else np.zeros(frames)
    picture += (_eyeball(person, places, gaze, looks.normal(0, 0.8, 2)) - picture) * places.eye
    picture += (_inside_mouth(looks, person, places) - picture) * places.mouth
    if (over := overlay(person)) is not None:
        picture = picture * (1 - on_plane(over[1], at_x, at_y)) + on_plane(over[0], at_x, at_y)
    if looks.random() < 0.08:
        _hand(looks, person, picture, plan.times, centres, moving)
    picture = degrade(camera, plan.rng(_NOISE, 10), picture, plan.times, plan.camera, moving)
    if size < 64:
        picture = picture.reshape(frames, size, 64 // size, size, 64 // size).mean(axis=(2, 4))
    drawn = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return drawn if only is None else drawn[list(only(frames))]


# -------------------------------------------------------------------- where the head is


def _on_head(rng: np.random.Generator, plan: WildPlan, x, y, moving: bool) -> tuple[np.ndarray, np.ndarray]:
    """Face coordinates (T, H, W) that the crop's pixels x, y show: the head's pose, aligned by its first frame."""
    person = plan.person
    paths = _paths(rng, plan.times) if moving else {name: np.zeros(plan.frames) for name in (*SPEEDS, "across")}
    yaw, pitch = np.deg2rad(np.clip(rng.standard_normal(2), -2.5, 2.5) * TURN)
    yaw, pitch = yaw + np.deg2rad(paths["yaw"]), pitch + np.deg2rad(paths["pitch"])  # (T,) each

    points = _alignment_points(person)
    height = on_plane(_depth(person), *points.T.astype(np.float32)[:, None, None, :])[0, 0]
    turned = _turned(points - (MIDDLE, 64), height, yaw[0], pitch[0])
    aligned = similarity(turned, TEMPLATE * CROP)  # (2, 3): head -> crop
    scatter = _about_middle(np.deg2rad(ROLL) * rng.standard_normal(), 1 + SCALE * rng.standard_normal(),
                            SHIFT * rng.standard_normal(2))  # fmt: skip

    at_x = np.empty((plan.frames, y.shape[0], x.shape[1]), np.float32)
    at_y = np.empty_like(at_x)
    for frame in range(plan.frames):
        shift = paths["shift"][frame] * np.array([np.cos(paths["across"][frame]), np.sin(paths["across"][frame])])
        moved = _about_middle(np.deg2rad(paths["roll"][frame]), 1 + paths["zoom"][frame], shift)
        whole = np.linalg.inv(moved @ scatter @ np.vstack([aligned, [0, 0, 1]])).astype(np.float32)
        at_x[frame] = whole[0, 0] * x + whole[0, 1] * y + whole[0, 2]
        at_y[frame] = whole[1, 0] * x + whole[1, 1] * y + whole[1, 2]
    sine, cosine = ([np.float32(f(a))[:, None, None] for a in (yaw, pitch)] for f in (np.sin, np.cos))
    depth, flat_x, flat_y = _depth(person), at_x, at_y
    at_x, at_y = flat_x / cosine[0] + np.float32(MIDDLE), flat_y / cosine[1] + np.float32(64)
    for _ in range(2):
        height = on_plane(depth, at_x, at_y)
        at_x = (flat_x - sine[0] * height) / cosine[0] + np.float32(MIDDLE)
        at_y = (flat_y - sine[1] * height) / cosine[1] + np.float32(64)
    return at_x, at_y


def _alignment_points(person: Person) -> np.ndarray:
    """(5, 2): where the finder takes a drawn face's points to be; a drawn mouth seems higher to it than it is."""
    points = person.five_points()
    points += np.array([0.8, 0.8, 0.5, -5.5, -5.5])[:, None] * (0, 1)
    return points


def _turned(points: np.ndarray, height: np.ndarray, yaw: float, pitch: float) -> np.ndarray:
    """(n, 2) of a head at x, y from its middle, and `height` towards the camera, that is turned."""
    x = points[:, 0] * np.cos(yaw) + height * np.sin(yaw)
    return np.stack([x, points[:, 1] * np.cos(pitch) + height * np.sin(pitch)], axis=1)


def _about_middle(roll: float, scale: float, shift: np.ndarray) -> np.ndarray:
    """(3, 3): a turn and a growth about the crop's middle, then a shift."""
    cos, sin, middle = scale * np.cos(roll), scale * np.sin(roll), CROP / 2
    matrix = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    matrix[:2, 2] = middle + shift - matrix[:2, :2] @ (middle, middle)
    return matrix


def _depth(person: Person) -> np.ndarray:
    """(n, n) face units towards the camera, on PLANE: an ellipsoid and a nose, lower at the rim."""
    points = np.arange(*PLANE, STEP, dtype=np.float32)
    x, y = points[None, :], points[:, None]
    skull = np.sqrt(np.maximum(1 - ((x - MIDDLE) / 62) ** 2 - ((y - 60) / 84) ** 2, 0.05))
    nose = np.exp(-0.5 * ((x - MIDDLE) / 6) ** 2) * np.exp(-0.5 * ((y - person.nose_y + 4) / 9) ** 2)
    return (44 * skull - 30 + 10 * nose).astype(np.float32)


def _paths(rng: np.random.Generator, times: np.ndarray) -> dict[str, np.ndarray]:
    """(T,) of each motion of the head from the first frame on, most of them small; some heads keep still in some."""
    paths = {name: np.zeros(len(times)) for name in SPEEDS}
    most = rng.random()  # of a head that moves much, everything does
    for name, (least, largest) in SPEEDS.items():
        share = np.clip(most + rng.normal(0, 0.25), 0, 1)
        if rng.random() < 0.75:
            paths[name] = least * (largest / least) ** share * _wander(rng, times, 1.5)
    paths["across"] = rng.uniform(0, 2 * np.pi) + rng.uniform(-1, 1) * times
    return paths


def _gaze(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """(T,) how far the eyes look aside, in face units; half of them keep still."""
    path = _wander(rng, times, 2.0) * np.exp(rng.uniform(np.log(0.1), np.log(5)))
    return path * (rng.random() < 0.5)


def _wander(rng: np.random.Generator, times: np.ndarray, rate: float) -> np.ndarray:
    """(T,) a smooth course that starts at zero and is at most one in size: a drift, a nod, or back and forth."""
    waves = [np.sin(2 * np.pi * rng.uniform(0.1, rate) * times + phase) - np.sin(phase)
             for phase in rng.uniform(0, 2 * np.pi, 2)]  # fmt: skip
    course = waves[0] + 0.5 * waves[1]
    return rng.uniform(0.3, 1.0) * course / max(np.abs(course).max(), 1e-6)


# -------------------------------------------------------------------- what it shows


def _varied(rng: np.random.Generator, bumps: tuple[Bump, ...], level: float) -> tuple[Bump, ...]:
    """The muscle of one person on one day: its place, reach and pull differ from the next one's."""
    changed = []
    for bump in bumps:
        out, down = rng.normal(0, 1.2, 2) * (bump.out != 0 or bump.pull_out != 0, 1)  # what is in the middle stays
        turn, gain, reach = np.deg2rad(rng.normal(0, 9)), np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0.12, 0.18))
        sideways = np.sin(turn) * bump.pull_down * (bump.pull_out != 0)
        changed.append(
            bump._replace(
                out=bump.out + float(out),
                down=bump.down + float(down),
                wide=float(bump.wide * reach),
                high=float(bump.high * reach),
                pull_out=float(gain * (np.cos(turn) * bump.pull_out - sideways)),
                pull_down=float(gain * (np.cos(turn) * bump.pull_down + np.sin(turn) * bump.pull_out)),
            )
        )
    return widened(tuple(changed), level)


def _shade(rng: np.random.Generator, plan: WildPlan) -> np.ndarray:
    """(T, n, n) share of the light that folds lose as AUs pull, on PLANE."""
    points = np.arange(*PLANE, STEP, dtype=np.float32)
    total = np.zeros((plan.frames, len(points), len(points)), np.float32)
    deep = rng.uniform(0, 1.5) * FOLD_DEPTH
    for au in FOLDS:
        if au in plan.levels:
            course = np.float32(deep) * plan.levels[au].mean(axis=1)
            total += course[:, None, None] * fold(au, plan.person, points[None, :], points[:, None])
    return total


def _eyeball(person: Person, places: Places, gaze: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Grey levels of both eyes without lids, as they look `gaze` (T,) units aside from where they rest."""
    side = np.where(places.unmoved_x > MIDDLE, np.float32(person.eye_x), np.float32(-person.eye_x))
    from_x = places.unmoved_x - np.float32(MIDDLE) - side - (gaze + rest[0]).astype(np.float32)[:, None, None]
    from_y = (
        places.unmoved_y
        - np.float32(person.eye_y - 0.4 + 0.6 * rest[1])
        - 0.25 * gaze.astype(np.float32)[:, None, None]
    )
    radius = np.hypot(from_x, from_y)
    opening = LID_OPENING / 2 * person.eye_height
    ball = np.full_like(radius, min(person.skin * 1.2 + 14, 225) * 0.88)
    ball -= 25 * np.clip(-from_y / opening, 0, 1)  # the upper lid's shadow
    ball += (np.float32(person.iris * 200) - ball) * np.clip(4.1 - radius, 0, 1)
    ball += (14 - ball) * np.clip(1.9 - radius, 0, 1)
    glint = np.exp(-0.5 * (((from_x + 1.2) / 0.8) ** 2 + ((from_y + 1.5) / 0.8) ** 2))
    return ball + (230 - ball) * glint


def _inside_mouth(rng: np.random.Generator, person: Person, places: Places) -> np.ndarray:
    """Grey levels behind the lips: the dark, the upper teeth, the tongue."""
    down = places.unmoved_y - np.float32(person.mouth_y)
    across = places.unmoved_x - np.float32(MIDDLE)
    dark = np.full_like(down, rng.uniform(12, 50))
    edge, tone = rng.uniform(-2, 4), rng.uniform(0.7, 1.15) * min(person.skin, 190)
    teeth = np.clip(edge - down + 0.5, 0, 1) * (0.85 + 0.15 * np.cos(across * np.float32(rng.uniform(1.2, 1.8))))
    dark += (np.float32(tone) - dark) * teeth * np.float32(rng.uniform(0.3, 1.0))
    tongue = np.clip((down - np.float32(rng.uniform(4, 9))) / 2, 0, 1)
    return dark + (np.float32(0.6 * person.skin) - dark) * tongue * np.float32(rng.random())


def _hand(rng: np.random.Generator, person: Person, picture: np.ndarray, times, centres, moving: bool) -> None:
    """A finger or a forearm in front of the face, from the picture's edge; it moves as it likes."""
    angle, reach, wide = rng.uniform(0, 2 * np.pi), rng.uniform(26, 60), rng.uniform(5, 16)
    path = _wander(rng, times, 1.5) * rng.uniform(0, 14) * (moving and rng.random() < 0.7)
    tone = person.skin * rng.uniform(0.6, 1.15)
    grain = 1 + 0.05 * smooth_noise(rng, centres[None, :], centres[:, None], 4, reach=256)
    from_x, from_y = centres[None, :] - 64, centres[:, None] - 64
    along, across = (np.float32(part) for part in (np.cos(angle), np.sin(angle)))
    for frame, shift in enumerate(path.astype(np.float32)):
        forward = along * from_x + across * from_y - np.float32(reach) - shift
        aside = along * from_y - across * from_x
        away = np.hypot(np.minimum(forward, 0), aside) - np.float32(wide)
        picture[frame] += (np.float32(tone) * grain - picture[frame]) * np.clip(0.5 - away / 2, 0, 1)


__all__ = ["draw_wild_clip", "draw_wild_clips"]
