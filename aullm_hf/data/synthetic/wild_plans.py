"""What happens in every wild clip, decided before a pixel is drawn: the frames' times, and each AU's course over them.

A level is how far an AU has moved its strongest point, in face units: two of them are one pixel of a 64 x 64 crop. An
AU is labelled by its rise, the largest from a frame to a later one, on the side that rises more: an expression that is
already there, or that only fades, is none; one that lets go and comes again is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...arguments import check_choice, check_number, check_whole
from ..labels import aus_of
from ..schema import clip_id
from .domains import DOMAINS
from .faces import Person
from .motion import UNSIDED
from .plans import _CLIP, _DOMAIN_STREAM, _FACE, _LABELS, _clip_counts
from .wild_people import sample_wild_person

WILD_AUS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 24, 25, 26, 45)
THRESHOLD = 0.25  # pixels of 64: the rise from which on an AU is labelled
FRAMES = 6  # drawn of every clip, evenly spaced over its window
WINDOW = (0.2, 1.5)  # seconds that a clip lasts
RATES = (24, 25, 30, 50, 60, 100, 120, 200)  # of the camera, frames per second
WEAKEST = 0.4  # face units: a fifth of a pixel of 64
STRONGEST = {1: 7, 2: 7, 4: 5, 5: 3, 6: 5, 7: 3, 9: 5, 10: 6, 12: 12, 14: 6, 15: 6, 17: 6, 20: 8, 23: 3.5, 24: 3.5,
             25: 12, 26: 12, 11: 4, 13: 4, 16: 5, 18: 6, 22: 5, 28: 5, 38: 3}  # fmt: skip
UNLABELLED = (11, 13, 16, 18, 22, 28, 38)  # move now and then and are no label
LETS_GO = 0.3  # share of the AUs that are there already
# Shortest and longest, as logarithms of seconds: to let go, be low and come again; to rise, hold and fall.
_LETTING_GO = np.log([[0.06, 0.4], [0.02, 0.3], [0.06, 0.4]]).tolist()
_COMING = np.log([[0.06, 0.7], [0.04, 1.5], [0.1, 1.2]]).tolist()
STILL, UNMOVED = 0.2, 0.2  # shares of clips: nothing moves; only head, light and eyes do
TOGETHER = (
    (1, 2), (1, 2, 5), (1, 4), (4, 7), (4, 9), (4, 5, 7), (6, 12), (6, 12, 25), (12, 25), (12, 14), (9, 10), (10, 25),
    (15, 17), (4, 15), (14, 17), (17, 24), (23, 24), (20, 25), (20, 25, 26), (25, 26), (1, 2, 5, 25, 26), (1, 2, 25),
    (6, 7, 12), (4, 6, 7), (12, 15), (1, 4, 15), (4, 24), (10, 12), (6, 9), (7, 45),
)  # fmt: skip


@dataclass(frozen=True)
class WildPlan:
    """A wild clip, decided. `levels`: AU -> (FRAMES, 2) levels of the person's left and right half, in face units."""

    dataset: str
    person: Person
    subject: str
    clip: str
    times: np.ndarray = field(repr=False)  # (FRAMES,) seconds
    camera: float  # frames per second that it recorded, of which FRAMES are kept
    kind: str  # "still", "unmoved" or "acting"
    levels: Mapping[int, np.ndarray] = field(repr=False)
    streams: tuple[int, ...] = field(repr=False)
    onset: int = 1

    @property
    def frames(self) -> int:
        return len(self.times)

    @property
    def offset(self) -> int:
        return self.onset + self.frames - 1

    @property
    def fps(self) -> float:
        """Of the frames that are kept."""
        return (self.frames - 1) / float(self.times[-1] - self.times[0])

    @property
    def rises(self) -> list[float]:
        """Of every AU of WILD_AUS, in pixels of 64."""
        return [rise_of(self.levels[au]) if au in self.levels else 0.0 for au in WILD_AUS]

    @property
    def aus(self) -> list[int]:
        return [au for au, rise in zip(WILD_AUS, self.rises, strict=True) if rise >= THRESHOLD]

    @property
    def intensities(self) -> list[None]:
        """Nobody has marked any."""
        return [None] * len(self.aus)

    @property
    def apex(self) -> int:
        """The frame where what is labelled is highest, taken together; the middle one where nothing is."""
        total = sum((self.levels[au].sum(axis=1) for au in self.aus), np.zeros(self.frames))
        return self.onset + (int(total.argmax()) if self.aus else (self.frames - 1) // 2)

    @property
    def clip_id(self) -> str:
        return clip_id(self.dataset, self.subject, self.clip, self.onset)

    @property
    def au_text(self) -> str:
        return "+".join(map(str, self.aus)) or "0"

    @property
    def emotion(self) -> None:
        """Nobody felt anything."""

    def rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.streams, *purpose])


def rise_of(levels: np.ndarray) -> float:
    """(FRAMES, 2) levels in face units -> pixels of 64 that the AU rises from a frame to a later one, at most."""
    return round(float((levels - np.minimum.accumulate(levels, axis=0)).max()) / 2, 4)


def wild_plans(
    *,
    domain: str = "casme2",
    subjects: int = 6,
    clips_per_subject: int | Sequence[int] | str = 20,
    aus: Sequence[int] | None = None,
    seed: int = 0,
    amplitude: float = 1.0,
    fps: float | None = None,
) -> list[WildPlan]:
    """The plans of the clips that `synthetic_clips(difficulty="wild")` draws for the same arguments, in order.

    domain: the data set's name and its streams of random numbers; wild people are of no domain. aus: the AUs that may
    move, of WILD_AUS. fps: the camera's; None draws one for each clip.
    """
    check_choice("domain", domain, DOMAINS)
    check_whole("subjects", subjects, 1, 100_000)
    check_whole("seed", seed, 0)
    check_number("amplitude", amplitude, -1000, 1000)
    if fps is not None:
        check_number("fps", fps, 0, 100_000)
    allowed = WILD_AUS if aus is None else tuple(sorted(aus_of(aus)))
    if unknown := sorted(set(allowed) - set(WILD_AUS)):
        raise ValueError(f"aus={aus!r}: AU {unknown} is not shown in wild clips; choose from {WILD_AUS}")
    plans = []
    for index, count in enumerate(_clip_counts(clips_per_subject, subjects, DOMAINS[domain])):
        streams = (seed, _DOMAIN_STREAM[domain], index)
        person = sample_wild_person(np.random.default_rng([*streams, _FACE, 9]))
        for number in range(count):
            own = (*streams, number)
            rng = np.random.default_rng([*own, _CLIP, 9])
            camera = float(rng.choice(RATES)) if fps is None else float(fps)
            times = _frame_times(rng, camera)
            kind = "still" if (draw := rng.random()) < STILL else "unmoved" if draw < STILL + UNMOVED else "acting"
            levels = _levels(np.random.default_rng([*own, _LABELS, 9]), times, kind, allowed, person)
            plans.append(
                WildPlan(
                    dataset=f"synthetic-{domain}",
                    person=person,
                    subject=f"w{index + 1:04d}",
                    clip=f"wild_{number + 1:03d}",
                    times=times,
                    camera=camera,
                    kind=kind,
                    levels={au: amplitude * level for au, level in levels.items()},
                    streams=own,
                )
            )
    return plans


def _frame_times(rng: np.random.Generator, camera: float) -> np.ndarray:
    """(FRAMES,) seconds: a window's frames, evenly spaced, each the camera's nearest one."""
    seconds = np.exp(rng.uniform(*np.log(WINDOW)))
    recorded = max(round(float(seconds) * camera), FRAMES - 1)
    return np.rint(np.linspace(0, recorded, FRAMES)) / camera


def _levels(
    rng: np.random.Generator, times: np.ndarray, kind: str, allowed: Sequence[int], person: Person
) -> dict[int, np.ndarray]:
    """AU -> (FRAMES, 2): how the face rests in this clip, and what it does."""
    strongest = STRONGEST | {45: 1.8 * person.eye_height}
    levels = defaultdict(lambda: np.zeros((len(times), 2)))
    for au in rng.choice(WILD_AUS, size=5, replace=False).tolist():  # nobody rests quite neutral
        levels[au] += np.minimum(np.abs(rng.normal(0, 0.8, 2) + rng.normal(0, 0.8)), 0.35 * strongest[au])
    for au, sides, course in _events(rng, times, allowed, strongest):
        levels[au] += course[:, None] * sides
    if rng.random() < 0.12:
        _speak(rng, times, allowed, levels)
    _part_lips(rng, allowed, levels)
    if kind != "acting":  # the face that another clip begins with, and it stays: a first frame tells nothing
        levels = {au: level[:1].repeat(len(times), axis=0) for au, level in levels.items()}
    ceilings = {au: 1.15 * strongest[au] for au in levels}
    return {au: np.minimum(level, ceilings[au]).astype(np.float32) for au, level in levels.items() if level.any()}


def _events(rng: np.random.Generator, times: np.ndarray, allowed: Sequence[int], strongest: Mapping[int, float]):
    """(AU, (left, right), course over the frames) of everything that a face does in one window."""
    for _ in range(1 + (rng.random() < 0.45) + (rng.random() < 0.25)):
        if rng.random() < 0.45:
            group = TOGETHER[rng.integers(len(TOGETHER))]
        else:
            group = tuple(rng.choice(WILD_AUS, size=rng.integers(1, 4), replace=False).tolist())
        if rng.random() < 0.15:
            group = (*group, int(rng.choice(UNLABELLED)))
        strength, begun, alone = rng.random(), _beginning(rng, times), rng.random() < 0.3
        for au in group:
            if au in WILD_AUS and au not in allowed:
                continue
            share = np.clip(strength + rng.normal(0, 0.15), 0, 1)
            size = WEAKEST * (strongest[au] / WEAKEST) ** share  # log-uniform
            course = _blink(rng, times) if au == 45 else _course(rng, times, begun + rng.normal(0, 0.06))
            sides = np.exp(rng.normal(0, 0.12, 2))
            if au not in UNSIDED and rng.random() < 0.25:
                sides[rng.integers(2)] = rng.uniform(0, 0.3)
            yield au, size * sides / sides.max(), course
            if alone:  # the next one comes at a time of its own
                begun = _beginning(rng, times)
    if rng.random() < 0.15 and 45 in allowed:
        yield 45, np.full(2, strongest[45] * rng.uniform(0.6, 1.05)), _blink(rng, times)


def _beginning(rng: np.random.Generator, times: np.ndarray) -> float:
    """Mostly within the window; now and then before it."""
    if rng.random() < 0.22:
        return float(rng.uniform(-1.2, 0))
    return float(rng.uniform(-0.05, 0.75) * times[-1])


def _course(rng: np.random.Generator, times: np.ndarray, begun: float) -> np.ndarray:
    """(FRAMES,) of 0..1: a rise, a hold, and a fall to what stays; the window may begin and end anywhere in it.

    Or it is there from the beginning, lets go within the window, and mostly comes again.
    """
    if rng.random() < LETS_GO:
        down, low, up = np.exp([rng.uniform(*bounds) for bounds in _LETTING_GO])
        stays = 1.0 if rng.random() < 0.4 else rng.uniform(0, 0.5)
        return 1 - rng.uniform(0.3, 1.0) * pulse(times - rng.uniform(-0.2, 0.6) * times[-1], down, low, up, stays)
    rise, hold, fall = np.exp([rng.uniform(*bounds) for bounds in _COMING])
    stays = 1.0 if rng.random() < 0.2 else rng.uniform(0, 0.35)
    course = pulse(times - begun, rise, hold, fall, stays)
    if rng.random() < 0.12:  # and returns
        again = pulse(times - begun - rise - hold - fall - rng.uniform(0, 0.4), rise, hold, fall, stays)
        course = np.maximum(course, again * rng.uniform(0.4, 1.0))
    return course


def _blink(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    begun = rng.uniform(-0.15, max(times[-1] - 0.05, 0.05))
    return pulse(times - begun, rng.uniform(0.05, 0.12), rng.uniform(0.0, 0.12), rng.uniform(0.1, 0.25), 0.0)


def pulse(time: np.ndarray, rise: float, hold: float, fall: float, stays: float) -> np.ndarray:
    """A course of 0..1 that begins at time 0: a rise, a hold, and a fall to what stays."""
    up, down = _eased(time / rise), _eased((time - rise - hold) / fall)
    return up * (1 - (1 - stays) * down)


def _eased(progress: np.ndarray) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(np.pi * progress.clip(0, 1))


def _speak(rng: np.random.Generator, times: np.ndarray, allowed: Sequence[int], levels: dict[int, np.ndarray]) -> None:
    """Jaw and lips as in speech: a few syllables a second, never in step."""
    loud = np.exp(rng.uniform(np.log(1.0), np.log(8.0)))
    for au, share in ((26, 1.0), (25, 0.8), (18, 0.5), (22, 0.4), (20, 0.4), (24, 0.3), (10, 0.25), (17, 0.3)):
        if au in allowed or au in UNLABELLED:
            rate, phase = rng.uniform(2, 5), rng.uniform(0, 2 * np.pi)
            wave = 0.5 + 0.5 * np.sin(2 * np.pi * rate * times + phase)
            wave *= 0.6 + 0.4 * np.sin(rng.uniform(3, 8) * times + rng.uniform(0, 2 * np.pi))
            levels[au] += (loud * share * rng.uniform(0.3, 1.0) * wave)[:, None]


def _part_lips(rng: np.random.Generator, allowed: Sequence[int], levels: dict[int, np.ndarray]) -> None:
    """A jaw that drops mostly parts the lips: what they part by counts as AU25 as well."""
    share = rng.uniform(0.35, 0.9) if rng.random() < 0.8 and 25 in allowed else 0.0
    levels[25] += share * levels[26]


__all__ = ["FRAMES", "THRESHOLD", "WILD_AUS", "WildPlan", "rise_of", "wild_plans"]
