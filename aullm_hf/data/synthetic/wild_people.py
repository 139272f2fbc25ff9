"""Who the people of the wild clips are: of any age, tone and build, bearded, freckled, with glasses or loose hair.

What belongs to the skin moves with it; what lies over it (glasses, hair) moves with the head alone.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np

from .faces import MIDDLE, Complexion, Person, draw_face, sample_person, smooth_noise
from .motion import PLANE

_COMPLEXION = Complexion(
    skin=(140, 45), hair=(55, 30), background=(115, 60), side_light=0.7, shadow=0.45, wrinkles=0.55
)
_POINTS = np.arange(*PLANE, dtype=np.float32)
_X, _Y = _POINTS[None, :], _POINTS[:, None]
_SKIN, _OVER = 11, 12  # random streams of a person's seed


def sample_wild_person(rng: np.random.Generator) -> Person:
    """A person of no domain: proportions, tones and features about twice as far apart as a domain's."""
    person = sample_person(rng, _COMPLEXION)

    def scaled(value: float, spread: float) -> float:
        return float(value * np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))

    return replace(
        person,
        eye_x=0.96 * person.eye_x,
        eye_width=scaled(person.eye_width, 0.08),
        eye_height=scaled(person.eye_height * 0.85, 0.18),
        brow_gap=scaled(person.brow_gap * 0.92, 0.12),
        brow_thickness=scaled(person.brow_thickness, 0.35),
        brow_arch=person.brow_arch + float(rng.normal(0, 1.0)),
        brow_tone=float(np.clip(rng.normal(0.5, 0.18), 0.2, 0.92)),
        nose_length=person.nose_length + float(rng.normal(0, 1.2)),
        nose_width=scaled(person.nose_width, 0.14),
        mouth_y=person.mouth_y + float(rng.uniform(0, 2.5)),
        mouth_width=scaled(0.95 * person.mouth_width, 0.07),
        lip_upper=scaled(person.lip_upper, 0.3),
        lip_lower=scaled(person.lip_lower, 0.25),
        lip_tone=float(np.clip(rng.normal(0.75, 0.12), 0.4, 1.05)),
        chin_y=person.chin_y + float(rng.normal(0, 3)),
        cheek_width=person.cheek_width + float(rng.normal(0, 4)),
        iris=float(rng.uniform(0.1, 0.5)),
        light_y=float(rng.normal(-0.25, 0.3)),
        texture=float(np.exp(rng.normal(0.1, 0.5))),
    )


@lru_cache(maxsize=64)
def skin_layer(person: Person) -> np.ndarray:
    """(160, 160) grey levels of the resting face on PLANE, with all that moves with the skin."""
    rng = np.random.default_rng([person.seed, _SKIN])
    face = draw_face(person, _X, _Y)
    side = np.abs(_X - MIDDLE)
    near = np.exp(-0.5 * ((side / 46) ** 4 + ((_Y - 64) / 62) ** 4))  # on the face, not behind it
    rough = np.zeros_like(face)
    for cell in (14, 6, 3, 1.6):
        strength = np.exp(rng.normal(-3.7, 0.7))
        rough += np.float32(strength) * smooth_noise(rng, _X, _Y, cell, reach=256)
    face *= 1 + rough * near
    for _ in range(rng.poisson(7)):  # moles, scars, spots of light
        x, y, size = rng.uniform(24, 104), rng.uniform(8, 118), np.exp(rng.normal(0.1, 0.4))
        depth = rng.choice([-1, 1], p=[0.75, 0.25]) * -np.exp(rng.normal(-1.6, 0.6))
        face *= 1 + np.float32(np.clip(depth, -0.6, 0.3)) * _spot(x, y, size, size * rng.uniform(0.6, 1.5))
    face *= 1 - _lines(rng, person, side)
    if rng.random() < 0.3:
        face = _bearded(rng, person, face, side)
    return np.clip(face, 2, 253).astype(np.float32)


def _lines(rng: np.random.Generator, person: Person, side: np.ndarray) -> np.ndarray:
    """Lines of age: on the forehead, between the brows, at the eyes' corners, beside the mouth."""
    age = rng.random() ** 2 * 0.35
    total = np.zeros(np.broadcast_shapes(_X.shape, _Y.shape), np.float32)
    for _ in range(rng.integers(1, 5)):
        level, bow = rng.uniform(0, person.brow_y - 8), rng.uniform(-0.006, 0.006)
        thin, reach = rng.uniform(0.6, 1.1), rng.uniform(12, 34)
        total += np.exp(-0.5 * ((_Y - level - bow * side**2) / thin) ** 2) * np.exp(-0.5 * (side / reach) ** 4)
    for _ in range(3):
        slant, level = rng.uniform(-0.5, 0.6), person.eye_y + rng.uniform(-2, 4)
        out = side - person.eye_x - person.eye_width
        total += np.exp(-0.5 * ((_Y - level - slant * out) / 0.7) ** 2) * np.exp(-0.5 * ((out - 4) / 3) ** 2)
    out = side - person.mouth_width - 4 - 0.2 * (_Y - person.mouth_y)
    total += np.exp(-0.5 * (out / 1.1) ** 2) * np.exp(-0.5 * ((_Y - person.mouth_y) / 11) ** 2)
    return np.float32(age) * np.minimum(total, 1.5)


def _bearded(rng: np.random.Generator, person: Person, face: np.ndarray, side: np.ndarray) -> np.ndarray:
    """A moustache, a beard, or stubble of both."""
    lips = ((side / (person.mouth_width * 0.95)) ** 2 + ((_Y - person.mouth_y - 0.5) / 6.0) ** 2) ** 2
    lower = 0.5 + 0.5 * np.tanh((_Y - person.nose_y - 4 - 0.012 * (side - 8).clip(0) ** 2) / 3)
    jaw = lower * np.exp(-0.5 * (side / 44) ** 8) * np.exp(-0.5 * ((_Y - person.mouth_y) / 36) ** 8)
    if (kind := rng.random()) < 0.25:
        jaw = jaw * np.exp(-0.5 * ((_Y - person.mouth_y + 6) / 5) ** 4) * np.exp(-0.5 * (side / 16) ** 4)
    elif kind < 0.5:
        jaw = jaw * np.exp(-0.5 * (side / 19) ** 6)
    hairs = 0.8 + 0.35 * smooth_noise(rng, _X, _Y * 0.6, 1.5, reach=256)
    cover = np.clip(jaw * (1 - np.exp(-lips)) * hairs * rng.uniform(0.15, 0.95), 0, 1)
    return face + (np.float32(person.hair * rng.uniform(0.8, 1.6)) - face) * cover


@lru_cache(maxsize=64)
def overlay(person: Person) -> tuple[np.ndarray, np.ndarray] | None:
    """(160, 160) tone and cover, 0..1, of what lies over the skin; None where nothing does."""
    rng = np.random.default_rng([person.seed, _OVER])
    shape = np.broadcast_shapes(_X.shape, _Y.shape)
    tone, cover = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if rng.random() < 0.22:
        _lay(tone, cover, *_glasses(rng, person))
    if rng.random() < 0.3:
        _lay(tone, cover, *_fringe(rng, person))
    return (tone, cover) if cover.any() else None


def _lay(tone: np.ndarray, cover: np.ndarray, colour: float, over: np.ndarray) -> None:
    over = np.clip(over, 0, 1).astype(np.float32)
    tone += (np.float32(colour) - tone) * over
    cover += (1 - cover) * over


def _glasses(rng: np.random.Generator, person: Person) -> tuple[float, np.ndarray]:
    side = np.abs(_X - MIDDLE)
    wide, high, power = rng.uniform(12.5, 16), rng.uniform(8, 13), rng.choice([2, 3, 4])
    drop, thick = rng.uniform(0, 3.5), rng.uniform(0.5, 1.6)
    from_x, from_y = (side - person.eye_x - 1) / wide, (_Y - person.eye_y - drop) / high
    away = (np.abs(from_x) ** power + np.abs(from_y) ** power) ** (1 / power) - 1
    frame = np.exp(-0.5 * (away * min(wide, high) / thick) ** 2)
    bridge = np.exp(-0.5 * ((_Y - person.eye_y - drop + 3) / thick) ** 2) * (side < person.eye_x + 1 - wide)
    arm = np.exp(-0.5 * ((_Y - person.eye_y - drop + 3) / thick) ** 2) * (side > person.eye_x + 1 + wide)
    glare = 0.0
    if rng.random() < 0.4:
        streak = np.exp(-0.5 * ((from_x + from_y + rng.uniform(-0.8, 0.8)) / 0.2) ** 2) * (away < 0)
        glare = rng.uniform(0.1, 0.45) * streak
    dark = rng.uniform(10, 120) if rng.random() < 0.8 else rng.uniform(120, 230)
    return (dark if np.isscalar(glare) else 0.5 * dark + 110), rng.uniform(0.6, 1.0) * (frame + bridge + arm) + glare


def _fringe(rng: np.random.Generator, person: Person) -> tuple[float, np.ndarray]:
    """Hair over the forehead, or along one side of the face."""
    strands = 0.75 + 0.4 * smooth_noise(rng, _X, _Y * 0.25, rng.uniform(1.5, 3), reach=256)
    if rng.random() < 0.6:
        low = rng.uniform(2, person.brow_y + 3) + rng.uniform(-0.15, 0.15) * (_X - MIDDLE)
        low = low + 2.5 * smooth_noise(rng, _X, 0 * _Y[:1], 5, reach=256)
        cover = 0.5 - 0.5 * np.tanh((_Y - low) / rng.uniform(1, 3))
    else:
        out = (_X - MIDDLE) * rng.choice([-1, 1]) - rng.uniform(26, 44) + 0.002 * (_Y - 60) ** 2
        cover = 0.5 + 0.5 * np.tanh(out / rng.uniform(1, 3))
    return person.hair, cover * strands


def _spot(x: float, y: float, wide: float, high: float) -> np.ndarray:
    across = np.exp(-0.5 * ((_X - np.float32(x)) / np.float32(wide)) ** 2)
    return across * np.exp(-0.5 * ((_Y - np.float32(y)) / np.float32(high)) ** 2)
