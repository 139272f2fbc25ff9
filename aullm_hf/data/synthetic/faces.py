"""A parametric face: who a synthetic person is (geometry, skin, hair, light) and what that person looks like at rest.

Face units are pixels of a 128 x 128 face crop, x to the right and y downwards. Everything is drawn by formulas of
(x, y), so a face can be drawn into any window at any resolution. The person's left is on the image's right, as a
camera sees it.
"""

from dataclasses import dataclass

import numpy as np

from ..template import TEMPLATE

CROP = 128  # face units a face crop is wide and high
MIDDLE = 64.0  # x of the face's symmetry axis
# The mean person's landmarks, as distances from the middle and heights. They stand where the alignment of real clips
# would put such a face: the finder takes a drawn mouth to lie two of 64 pixels higher, so this one is drawn lower.
EYE_X, EYE_Y = (TEMPLATE[1] * CROP - (MIDDLE, 0) + (0.5, -0.7)).tolist()
NOSE_Y = float(TEMPLATE[2, 1] * CROP + 1.6)  # of the tip
MOUTH_X, MOUTH_Y = (TEMPLATE[4] * CROP - (MIDDLE, 0) + (-0.9, 4.2)).tolist()
NOSE_TIP = 6.0  # the nose's tip lies so far above its base
FOREHEAD = -6.0  # the top of the head's oval


@dataclass(frozen=True)
class Viewport:
    """The part of the face plane an image shows: left and top edge in face units, pixels, pixels per face unit."""

    left: float = 0.0
    top: float = 0.0
    width: int = CROP
    height: int = CROP
    scale: float = 1.0

    def grid(self, *, oversample: int = 1, margin: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """(1, W) and (H, 1) coordinates of the pixel centres in face units."""
        step = 1 / (self.scale * oversample)
        extra = round(margin / step)
        columns = np.arange(-extra, self.width * oversample + extra, dtype=np.float32)
        rows = np.arange(-extra, self.height * oversample + extra, dtype=np.float32)
        return (self.left + (columns + 0.5) * step)[None, :], (self.top + (rows + 0.5) * step)[:, None]


@dataclass(frozen=True)
class Complexion:
    """What the people and the studio of a domain are drawn from: (mean, standard deviation) in grey levels or 0..1."""

    skin: tuple[float, float]
    hair: tuple[float, float]
    background: tuple[float, float]
    side_light: float  # how far the key light may stand to one side; 0 is from the camera
    shadow: float  # how dark the side away from the light gets, 0..1
    wrinkles: float  # depth of folds and lines, 0..1


@dataclass(frozen=True)
class Person:
    """One person. Lengths in face units, tones in grey levels."""

    eye_x: float  # from the middle to an eye's centre
    eye_y: float
    eye_width: float  # half of it
    eye_height: float
    brow_gap: float  # from the eye's centre up to the brow
    brow_thickness: float
    brow_arch: float
    brow_tilt: float
    nose_length: float
    nose_width: float
    mouth_y: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    chin_y: float
    cheek_width: float
    skin: float
    hair: float
    brow_tone: float
    lip_tone: float
    iris: float
    background: float
    light_x: float
    light_y: float
    shadow: float
    wrinkles: float
    texture: float
    seed: int

    @property
    def brow_y(self) -> float:
        return self.eye_y - self.brow_gap

    @property
    def nose_y(self) -> float:
        return self.eye_y + self.nose_length

    def five_points(self) -> np.ndarray:
        """(5, 2): the image's left eye, its right eye, nose tip, left and right mouth corner."""
        x = np.array([-self.eye_x, self.eye_x, 0, -self.mouth_width, self.mouth_width]) + MIDDLE
        y = np.array([self.eye_y, self.eye_y, self.nose_y - NOSE_TIP, self.mouth_y, self.mouth_y])
        return np.stack([x, y], axis=1)


def sample_person(rng: np.random.Generator, complexion: Complexion) -> Person:
    """A random person of a domain."""

    def about(mean: float, spread: float) -> float:
        return float(mean + spread * np.clip(rng.standard_normal(), -2, 2))

    skin = float(np.clip(about(*complexion.skin), 70, 205))
    return Person(
        eye_x=about(EYE_X, 0.5),
        eye_y=about(EYE_Y, 0.35),
        eye_width=about(9.5, 0.6),
        eye_height=about(4.3, 0.45),
        brow_gap=about(11.5, 1.0),
        brow_thickness=about(2.1, 0.3),
        brow_arch=about(2.0, 0.8),
        brow_tilt=about(0.0, 0.06),
        nose_length=about(NOSE_Y - EYE_Y + NOSE_TIP, 1.2),
        nose_width=about(7.2, 0.8),
        mouth_y=about(MOUTH_Y, 0.75),
        mouth_width=about(MOUTH_X, 0.75),
        lip_upper=about(3.8, 0.5),
        lip_lower=about(5.2, 0.6),
        chin_y=about(124, 1.5),
        cheek_width=about(48, 2.2),
        skin=skin,
        hair=float(np.clip(about(*complexion.hair), 12, 120)),
        brow_tone=about(0.42, 0.07),
        lip_tone=about(0.66, 0.05),
        iris=about(0.22, 0.06),
        background=float(np.clip(about(*complexion.background), 15, 235)),
        light_x=about(0.0, complexion.side_light / 2),
        light_y=about(-0.25, 0.12),
        shadow=complexion.shadow * float(rng.uniform(0.7, 1.3)),
        wrinkles=complexion.wrinkles * float(rng.uniform(0.6, 1.4)),
        texture=float(rng.uniform(0.75, 1.25)),
        seed=int(rng.integers(2**31)),
    )


def _soft(distance: np.ndarray, width: float) -> np.ndarray:
    """1 where the distance is well below 0, 0 where it is well above, over about `width`."""
    return 0.5 - 0.5 * np.tanh(distance / width)


def _spot(x, y, x0: float, y0: float, sx: float, sy: float) -> np.ndarray:
    return np.exp(-0.5 * (((x - x0) / sx) ** 2 + ((y - y0) / sy) ** 2))


def _grain(x: np.ndarray, y: np.ndarray, cell: float, seed: int) -> np.ndarray:
    """Skin, hair, cloth: noise that belongs to a person, the same at every resolution and in every window."""
    return smooth_noise(np.random.default_rng([seed, round(cell * 8)]), x, y, cell, reach=512)


def smooth_noise(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, cell: float, reach: float) -> np.ndarray:
    """(H, W) of about unit variance with structures of size `cell`, anywhere within `reach` of zero."""
    lattice = rng.standard_normal((int(2 * reach / cell) + 4,) * 2).astype(np.float32)
    (columns, across), (rows, along) = _spline(x, cell, reach), _spline(y, cell, reach)
    # Sums of four terms, in this order: a product of matrices has another last bit on another number of threads.
    bands = sum(along[k][:, None] * lattice[rows + k] for k in range(4))  # (H, lattice)
    noise = sum(across[k] * bands[:, columns + k] for k in range(4))  # (H, W)
    return noise / np.float32(0.48)  # the spline averages, so it shrinks the variance


def _spline(position: np.ndarray, cell: float, reach: float) -> tuple[np.ndarray, list[np.ndarray]]:
    """(n,) first lattice points and their and the next three's cubic B-spline weights, for positions on one axis."""
    at = (position.ravel() + reach) / cell
    base = np.floor(at).astype(np.int32)
    f = (at - base).astype(np.float32)
    g = 1 - f
    weights = [g * g * g, 3 * f * f * f - 6 * f * f + 4, 3 * f * f * g + 3 * f + 1, f * f * f]
    return base, [weight / np.float32(6) for weight in weights]


def draw_face(person: Person, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(H, W) float32 grey levels of the face at rest, at coordinates x (1, W) and y (H, 1)."""
    side = np.abs(x - MIDDLE)  # the face's halves mirror each other; light and grain do not
    middle_y = (person.chin_y + FOREHEAD) / 2
    half_height = person.chin_y - middle_y

    # The head: an oval, narrower towards the chin.
    taper = 1 - 0.1 * np.clip((y - middle_y) / half_height, 0, 1) ** 2
    oval = np.sqrt((side / (person.cheek_width * taper)) ** 2 + (np.abs(y - middle_y) / half_height) ** 2)
    head = _soft((oval - 1) * 45, 1.5)

    # Shape from shading, coarse: a bulging head, nose, cheeks and brow ridge, lit by one lamp.
    tall = 40 * np.sqrt(np.clip(1.15 - oval**2, 0.02, None))
    tall += (
        13
        * np.exp(-0.5 * (side / (0.42 * person.nose_width + 0.03 * (y - person.eye_y))) ** 2)
        * _soft(person.eye_y - 2 - y, 5)
        * _soft(y - person.nose_y, 2.5)
    )
    tall += 3.0 * _spot(side, y, person.eye_x + 6, person.nose_y - 5, 11, 9)
    tall += 1.6 * _spot(side, y, person.eye_x - 6, person.brow_y + 1, 15, 5)
    tall -= 2.8 * _spot(side, y, person.eye_x - 1, person.eye_y, 11, 6)
    tall += 2.2 * _spot(side, y, 0, person.chin_y - 9, 9, 6)
    tall += 1.5 * _spot(side, y, 0, person.mouth_y, person.mouth_width * 0.8, 7)
    step_x, step_y = float(x[0, 1] - x[0, 0]), float(y[1, 0] - y[0, 0])
    slope_y, slope_x = np.gradient(tall, step_y, step_x)
    lit = (1 - person.light_x * slope_x - person.light_y * slope_y) / np.sqrt(1 + slope_x**2 + slope_y**2)
    shade = 1 - person.shadow + person.shadow * np.clip(lit, 0.1, 1.6)

    # Skin: mottled at three scales, so that motion is visible everywhere.
    grain = 0.022 * _grain(x, y, 9, person.seed) + 0.022 * _grain(x, y, 4, person.seed + 1)
    grain = grain + 0.016 * _grain(x, y, 2, person.seed + 2)
    skin = person.skin * shade * (1 + person.texture * grain)

    # Folds: beside nose and mouth, under the eyes, above the chin, on the forehead.
    t = np.clip((y - person.nose_y + 6) / (person.mouth_y + 2 - person.nose_y + 6), 0, 1)
    fold = np.exp(-0.5 * ((side - (person.nose_width + 3 + (person.mouth_width - 5) * t * np.sqrt(t))) / 2.2) ** 2)
    fold *= _soft(person.nose_y - 5 - y, 2) * _soft(y - person.mouth_y - 2, 2.5)
    bag = np.exp(-0.5 * ((y - person.eye_y - 8.5 + 0.03 * (side - person.eye_x) ** 2) / 1.3) ** 2) * _spot(
        side, 0, person.eye_x, 0, 7, 1
    )
    crease = np.exp(-0.5 * ((y - person.chin_y + 15 + 0.02 * side**2) / 1.5) ** 2) * _spot(side, 0, 0, 0, 8, 1)
    forehead = sum(np.exp(-0.5 * ((y - level + 0.004 * side**2) / 1.1) ** 2) for level in (5, 12, 19))
    forehead = forehead * _spot(side, 0, 0, 0, 24, 1) * 0.5
    frown = np.exp(-0.5 * ((side - 4.5) / 1.0) ** 2) * _spot(0, y, 0, person.brow_y + 1, 1, 5) * 0.7
    skin = skin * (
        1 - 0.42 * person.wrinkles * np.clip(1.0 * fold + 0.7 * bag + 0.8 * crease + forehead + frown, 0, 1.4)
    )

    # Nose: wings, nostrils, the shadow under the tip.
    wing = np.exp(-0.5 * ((np.hypot(side - person.nose_width * 0.72, (y - person.nose_y + 2) * 1.1) - 3.6) / 0.9) ** 2)
    wing *= _soft(person.nose_width * 0.72 - side, 1.5)
    skin = skin * (1 - 0.3 * wing)
    skin = skin * (1 - 0.62 * _spot(side, y, person.nose_width * 0.48, person.nose_y + 0.8, 2.0, 1.1))
    skin = skin * (1 - 0.22 * _spot(side, y, 0, person.nose_y + 2.5, person.nose_width * 0.8, 1.6))
    skin = skin * (1 + 0.10 * _spot(side, y, 0, person.nose_y - 4, 2.2, 3.0))

    # Brows: an arched stroke of hairs.
    along = (side - person.eye_x + 1) / 12.5  # -1 at the inner end, +1 at the outer
    bow = person.brow_y - person.brow_arch * (1 - np.clip(along, -1.2, 1.2) ** 2) + person.brow_tilt * 12 * along
    thick = person.brow_thickness * np.clip(1.05 - 0.45 * along, 0.3, 1.5)
    across_brow = np.abs((y - bow) / thick)
    brow = np.exp(-0.5 * across_brow**2 * np.sqrt(across_brow)) * _soft(np.abs(along) - 0.98, 0.12)
    hairs = 1 + 0.12 * _grain(x, y, 1.5, person.seed + 3)
    skin = skin * (1 - (1 - person.brow_tone) * np.clip(brow * hairs, 0, 1))

    # Eyes: almond, white, iris, pupil, lash line, crease of the lid, a small light.
    across = np.clip((side - person.eye_x) / person.eye_width, -1.4, 1.4)
    lid_up = person.eye_y - person.eye_height * (1 - across**2) * 1.05 + 0.6
    lid_low = person.eye_y + person.eye_height * (1 - across**2) * 0.75 + 0.6
    inside = _soft(lid_up - y, 0.7) * _soft(y - lid_low, 0.7) * _soft((np.abs(across) - 1) * person.eye_width, 0.7)
    radius = np.hypot(side - person.eye_x, y - person.eye_y + 0.4)
    white = min(person.skin * 1.25 + 12, 225) * (0.9 + 0.1 * shade) * np.ones_like(radius)
    ball = white + (person.iris * 200 - white) * _soft(radius - person.eye_height * 0.95, 0.6)
    ball = ball + (16 - ball) * _soft(radius - person.eye_height * 0.42, 0.5)
    ball = ball + (235 - ball) * _spot(side, y, person.eye_x - 1.2, person.eye_y - 1.8, 0.7, 0.7)
    skin = skin + (ball - skin) * inside
    near = _soft((np.abs(across) - 1.08) * person.eye_width, 0.8)
    skin = skin * (1 - 0.68 * np.exp(-0.5 * ((y - lid_up) / 0.85) ** 2) * near)
    skin = skin * (1 - 0.30 * np.exp(-0.5 * ((y - lid_low) / 0.7) ** 2) * near)
    skin = skin * (1 - 0.26 * np.exp(-0.5 * ((y - lid_up + 3.0) / 0.8) ** 2) * near)

    # Mouth: two lips and the dark line between them.
    width = np.clip(side / person.mouth_width, 0, 1.3)
    bend = person.mouth_y + 0.8 * width**2
    cupid = 0.75 + 0.25 * np.cos(np.clip(width * 9, 0, 2 * np.pi) + np.pi)
    top = bend - person.lip_upper * (1 - width**2) * (0.8 + 0.4 * cupid)
    bottom = bend + person.lip_lower * np.sqrt(np.clip(1 - width**2, 0, 1))
    lips = _soft(top - y, 0.8) * _soft(y - bottom, 0.9) * _soft((width - 1) * person.mouth_width, 0.9)
    skin = skin * (1 - (1 - person.lip_tone) * lips)
    skin = skin * (1 + 0.10 * _spot(side, y, 0, person.mouth_y + person.lip_lower * 0.55, 6, 1.1))
    gap = np.exp(-0.5 * ((y - bend) / 0.8) ** 2) * _soft((width - 1.03) * person.mouth_width, 0.9)
    skin = skin * (1 - 0.66 * gap)
    skin = skin * (1 - 0.40 * _spot(side, y, person.mouth_width + 0.5, person.mouth_y + 1.0, 1.7, 1.5))
    skin = skin * (1 - 0.45 * _spot(side, y, 0, person.mouth_y + person.lip_lower + 3.0, 9, 2.3))

    # Hair, neck, background.
    hairline = 2 + 0.006 * side**2 - 3 * np.exp(-0.5 * (side / 10) ** 2)
    scalp = np.sqrt((side / (person.cheek_width + 6)) ** 2 + ((y - middle_y + 8) / (half_height + 12)) ** 2)
    locks = person.hair * (1 + 0.16 * _grain(x, y * 0.3, 1.6, person.seed + 4)) * (0.85 + 0.15 * shade)
    cover = np.maximum(_soft(y - hairline, 1.6), _soft(0.97 - oval, 0.012) * _soft(y - person.eye_y - 6, 4))
    back = person.background * (1 + 0.03 * _grain(x, y, 40, person.seed + 5)) * (1 + 0.0006 * (x - MIDDLE))
    neck = _soft(side - 30 - 0.02 * np.clip(y - person.chin_y, 0, None) ** 2, 2) * _soft(person.chin_y - 12 - y, 3)
    clothes = _soft(person.chin_y + 26 + 0.006 * side**2 - y, 2) * _soft(side - 95, 6)
    image = back + (person.skin * 0.48 * (0.8 + 0.2 * shade) - back) * neck
    image = image + (np.float32(0.45 * person.background + 20) - image) * clothes
    image = image + (locks - image) * _soft((scalp - 1) * 50, 1.5) * _soft(y - person.eye_y - 22, 6)
    image = image + (skin + (locks - skin) * cover - image) * head
    return np.clip(image, 0, 255).astype(np.float32)
