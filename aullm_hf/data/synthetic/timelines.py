"""What happens in a synthetic recording, decided before a pixel is drawn: when a face acts, blinks, talks and turns.

All times are seconds, so that the same recording can be drawn at any frame rate. Nothing that a coder could not tell
apart happens at once: a person's expressions keep a distance from each other, from cuts and from stretches without a
face, and the mouth does not express while it talks.
"""

from dataclasses import dataclass

import numpy as np

from .domains import Domain
from .motion import AMPLITUDE, UNSIDED
from .plans import DIFFICULTIES, Action, Difficulty

MICRO = 0.5  # seconds; what lasts longer is no micro-expression
APART = 0.5  # seconds between two expressions, and between an expression and what hides the face
UPPER_FACE = frozenset({1, 2, 4, 5, 6, 7, 9})  # what may move while the mouth talks
NO_EXPRESSION = frozenset({38, 43, 45})  # closed eyes are blinks here, and a nostril alone is nothing to spot
SPOKEN = (25, 26, 18, 22, 20)  # the AUs of talking
REASONS = {"empty": "no face", "cut": "cut"}


@dataclass(frozen=True)
class Setting:
    """How often things happen, per minute, and how large they are, in pixels at 128 x 128."""

    micro: float
    longer: float
    blinks: float
    talks: float
    turns: float
    lamps: float  # changes of the light within a fifth of a second
    cuts: float
    empty: float  # stretches without a face
    stronger: tuple[float, float]  # what multiplies the motion of longer expressions
    turn: float  # standard deviation of where a turned head comes to rest
    nose: float  # how far the nose moves over the face with it
    lamp: float  # share of the light
    talk: float  # largest motion of a syllable


SETTINGS = {
    "standard": Setting(
        micro=6, longer=3, blinks=15, talks=3, turns=4, lamps=1, cuts=0.5, empty=0.5,
        stronger=(1.2, 2.5), turn=2.0, nose=1.0, lamp=0.06, talk=2.0,
    ),
    "hard": Setting(
        micro=6, longer=3, blinks=25, talks=6, turns=10, lamps=4, cuts=1, empty=1,
        stronger=(1.0, 2.0), turn=3.5, nose=2.0, lamp=0.15, talk=2.5,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """One expression: seconds, and what the face does. `top` to `fall` it is held."""

    onset: float
    top: float
    fall: float
    offset: float
    actions: tuple[Action, ...]
    gain: float  # multiplies the motion

    @property
    def apex(self) -> float:
        return (self.top + self.fall) / 2

    def course(self, time):
        """0..1 at a time, or at many: zero outside onset..offset, one from `top` to `fall`."""
        rise = np.clip((time - self.onset) / (self.top - self.onset), 0, 1)
        fall = np.clip((self.offset - time) / (self.offset - self.fall), 0, 1)
        return 0.25 * (1 - np.cos(np.pi * rise)) * (1 - np.cos(np.pi * fall))

    def strength(self, action: Action) -> float:
        return AMPLITUDE[action.intensity] * self.gain


@dataclass(frozen=True)
class Timeline:
    """Everything that one person does."""

    expressions: tuple[Expression, ...]
    blinks: tuple[tuple[float, float], ...]  # middle, width
    syllables: tuple[tuple[float, float, int, float], ...]  # middle, width, AU, pixels; in order
    poses: tuple[tuple[float, float, tuple[float, ...]], ...]  # start, seconds; (x, y, roll, nose x, nose y) after it
    gazes: tuple[tuple[float, float, tuple[float]], ...]  # start, seconds, where the eyes look after it
    waves: np.ndarray  # (courses, 2, terms): frequency and phase of slow wandering
    empty: tuple[tuple[float, float], ...]  # start, end


WAVES = 12  # courses of slow wandering a person has


def wander(waves: np.ndarray, time: float) -> np.ndarray:
    """(courses,) around zero, of about unit size, at a time."""
    frequency, phase = waves[:, 0], waves[:, 1]
    return (np.sin(2 * np.pi * frequency * time + phase)).sum(axis=1) * (2 / waves.shape[2]) ** 0.5


def stepped(steps, time: float, still):
    """Where something is that rests, and moves smoothly to another place at times."""
    before = still
    for start, seconds, after in steps:
        if time < start:
            break
        share = min((time - start) / seconds, 1.0)
        share = 0.5 - 0.5 * np.cos(np.pi * share)
        before = tuple(a + share * (b - a) for a, b in zip(before, after, strict=True))
    return before


def lid_course(blinks, time: float) -> float:
    """How far the eyes are closed, 0..1; a lid opens more slowly than it closes."""
    return sum(
        float(np.exp(-0.5 * ((time - middle) / (width if time > middle else width / 2)) ** 2))
        for middle, width in blinks
        if abs(time - middle) < 4 * width
    )


def spoken(syllables, time: float) -> dict[int, float]:
    """Pixels of each AU of talking."""
    sizes: dict[int, float] = {}
    for middle, width, au, size in syllables:
        if abs(time - middle) < 4 * width:
            sizes[au] = sizes.get(au, 0.0) + size * float(np.exp(-0.5 * ((time - middle) / width) ** 2))
    return sizes


def plan_cuts(rng: np.random.Generator, setting: Setting, seconds: float) -> list[float]:
    return sorted(_scatter(rng, setting.cuts * seconds / 60, 3.0, seconds - 3.0, 6.0))


def plan_timeline(
    rng: np.random.Generator, setting: Setting, difficulty: str, domain: Domain, seconds: float, cuts: list[float],
    *, expressions: bool = True,
) -> Timeline:  # fmt: skip
    """What a person does; without `expressions`, the same but for those."""
    face = DIFFICULTIES[difficulty]
    minutes = seconds / 60
    empty = _spans(rng, setting.empty * minutes, (1.0, 3.0), seconds, [(cut - 2, cut + 2) for cut in cuts], 2.0)
    hidden = [(cut, cut) for cut in cuts] + empty
    talks = _spans(rng, setting.talks * minutes, (1.5, 4.0), seconds, hidden, 0.5)
    syllables = []
    for start, end in talks:
        time = start
        while time < end:
            width = rng.uniform(0.05, 0.1)
            for au in rng.choice(SPOKEN, size=2, replace=False, p=(0.35, 0.3, 0.1, 0.1, 0.15)):
                syllables.append((time, width, int(au), float(setting.talk * rng.uniform(0.2, 1.0))))
            time += rng.uniform(0.14, 0.35)
    counts = [("micro", setting.micro), ("longer", setting.longer)]
    planned: list[Expression] = []
    for kind, rate in counts:
        for _ in range(int(np.floor(rate * minutes + rng.random()))):
            planned += _place(rng, kind, setting, face, domain, seconds, hidden, talks, planned)
    poses = []
    for start, end in _spans(rng, setting.turns * minutes, (0.4, 1.2), seconds, [], 0.2):
        place = rng.standard_normal(3) * (setting.turn, setting.turn * 0.7, setting.turn * 0.35)
        nose = np.clip(rng.standard_normal(2), -2, 2) * (setting.nose, setting.nose * 0.6)
        poses.append((start, end - start, (*map(float, place), *map(float, nose))))
    gazes, time = [], 0.0
    while time < seconds:
        gazes.append((time, 0.04, (float(face.gaze * 2 * rng.standard_normal()),)))
        time += rng.uniform(0.4, 3.0)
    blinks = [
        (time, float(rng.uniform(0.04, 0.08))) for time in _scatter(rng, setting.blinks * minutes, 0.3, seconds, 0.5)
    ]
    waves = np.stack(
        [np.exp(rng.uniform(np.log(0.04), np.log(0.7), (WAVES, 6))), rng.uniform(0, 6.3, (WAVES, 6))], axis=1
    )
    return Timeline(
        expressions=tuple(sorted(planned, key=lambda one: one.onset)) if expressions else (),
        blinks=tuple(sorted(blinks)),
        syllables=tuple(sorted(syllables)),
        poses=tuple(sorted(poses)),
        gazes=tuple(gazes),
        waves=waves,
        empty=tuple(sorted(empty)),
    )


def _place(rng, kind, setting: Setting, face: Difficulty, domain: Domain, seconds, hidden, talks, planned):
    """One expression more, where there is room for it: a list of one or none."""
    combinations = {
        aus: count
        for name, count in domain.combinations.items()
        if not (set(aus := tuple(map(int, name.split("+")))) & NO_EXPRESSION)
    }
    names, shares = list(face.intensities), np.array(list(face.intensities.values()))
    gain = 1.0 if kind == "micro" else float(rng.uniform(*setting.stronger))
    for _ in range(200):
        weights = np.array(list(combinations.values()), float)
        aus = list(combinations)[rng.choice(len(weights), p=weights / weights.sum())]
        if kind == "micro":
            length = float(np.clip(domain.seconds[1] * np.exp(0.35 * rng.standard_normal()), 0.15, MICRO))
            hold = rng.uniform(0.1, 0.25) * length
        else:
            length = float(np.exp(rng.uniform(np.log(MICRO * 1.2), np.log(3.0))))
            hold = rng.uniform(0.1, 0.5) * length
        onset = float(rng.uniform(0.5, max(seconds - length - 0.5, 0.6)))
        offset = onset + length
        near = [(one.onset, one.offset) for one in planned] + hidden
        busy = offset > seconds or any(onset < end + APART and offset > start - APART for start, end in near)
        if not set(aus) <= UPPER_FACE:
            busy |= any(onset < end + 0.3 and offset > start - 0.3 for start, end in talks)
        if busy:
            continue
        rise = (length - hold) * rng.uniform(0.35, 0.6)
        actions = []
        for au in aus:
            side = str(rng.choice(["L", "R"])) if au not in UNSIDED and rng.random() < face.one_sided else ""
            actions.append(Action(au, side, names[rng.choice(len(names), p=shares / shares.sum())]))
        return [Expression(onset, onset + rise, onset + rise + hold, offset, tuple(actions), gain)]
    return []


def _spans(rng, count: float, length: tuple[float, float], seconds: float, taken, apart: float):
    """About `count` spans that keep apart from each other and from those taken."""
    spans: list[tuple[float, float]] = []
    for _ in range(int(np.floor(count + rng.random()))):
        for _ in range(50):
            start, long = float(rng.uniform(1.0, max(seconds - 1.0, 1.1))), float(rng.uniform(*length))
            others = [*spans, *taken]
            if start + long < seconds - 1 and all(start > e + apart or start + long < s - apart for s, e in others):
                spans.append((start, start + long))
                break
    return spans


def _scatter(rng, count: float, first: float, last: float, apart: float) -> list[float]:
    """About `count` times from first to last that keep apart."""
    times: list[float] = []
    for _ in range(int(np.floor(count + rng.random())) if last > first else 0):
        time = float(rng.uniform(first, last))
        if all(abs(time - other) > apart for other in times):
            times.append(time)
    return times


__all__ = [
    "SETTINGS", "Expression", "Timeline", "lid_course", "plan_cuts", "plan_timeline", "spoken", "stepped", "wander",
]  # fmt: skip
