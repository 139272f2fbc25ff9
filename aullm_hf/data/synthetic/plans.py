"""What happens in every synthetic clip, decided before a pixel is drawn: the person, the AUs, the times, the labels.

Every decision has a random stream of its own (seed, domain, person, clip, purpose), so more people, another size or
another amplitude leave the rest as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...arguments import check_choice, check_number, check_whole, shown
from ..facs import LEVELS
from ..labels import PUBLISHED_AUS, aus_of
from ..schema import clip_id
from .domains import DOMAINS, Domain
from .faces import Person, sample_person
from .motion import FIELDS, UNSIDED

_DOMAIN_STREAM = {"casme2": 1, "samm": 2}
_FACE, _LABELS, _CLIP, _NOISE, _ANNOTATION = range(5)


@dataclass(frozen=True)
class Difficulty:
    """How far a setting is from laboratory ideal. Lengths are pixels at 128 x 128."""

    intensities: dict[str, float]  # how often each intensity occurs
    one_sided: float  # share of the sided AUs that show on one side only
    drift: float  # how far the head moves during a clip
    turn: float  # how far it rolls, in degrees
    light: float  # how much the light changes during a clip
    noise: float  # of the camera, standard deviation in grey levels
    blink: float  # share of clips with a blink that is not annotated
    gaze: float  # how far the eyes wander
    habit: float  # how strongly people differ in which AUs they show, and how lopsidedly; 0: all alike
    tremor: float  # AU motions of the face that no coder would score, in pixels
    balanced: float | None  # share of positives per AU; None: frequencies and co-occurrences of the domain
    label_noise: float  # share of clips whose annotation is wrong in one AU


DIFFICULTIES = {
    "easy": Difficulty(
        intensities={"C": 0.5, "D": 0.5},
        one_sided=0.0,
        drift=0.05,
        turn=0.0,
        light=0.004,
        noise=1.0,
        blink=0.0,
        gaze=0.0,
        habit=0.0,
        tremor=0.0,
        balanced=1 / 3,
        label_noise=0.0,
    ),
    "standard": Difficulty(
        intensities={"A": 0.1, "B": 0.35, "C": 0.35, "D": 0.15, "E": 0.05},
        one_sided=0.3,
        drift=0.4,
        turn=0.15,
        light=0.02,
        noise=2.0,
        blink=0.08,
        gaze=0.3,
        habit=0.5,
        tremor=0.08,
        balanced=None,
        label_noise=0.02,
    ),
    "hard": Difficulty(
        intensities={"A": 0.35, "B": 0.4, "C": 0.2, "D": 0.05},
        one_sided=0.45,
        drift=1.2,
        turn=0.5,
        light=0.06,
        noise=3.5,
        blink=0.25,
        gaze=0.8,
        habit=1.0,
        tremor=0.2,
        balanced=None,
        label_noise=0.1,
    ),
}


@dataclass(frozen=True)
class Action:
    """One AU of a clip. `side`: "" for both, or the person's own "L" or "R"."""

    au: int
    side: str
    intensity: str


@dataclass(frozen=True)
class ClipPlan:
    """A clip, decided. `actions`: what the face does; `annotated`: what the coder wrote, noise included."""

    domain: Domain
    difficulty: Difficulty
    person: Person
    subject: str
    clip: str
    actions: tuple[Action, ...]
    annotated: tuple[Action, ...]
    frames: int
    onset: int  # number of the first frame
    apex: int
    fps: float
    streams: tuple[int, ...] = field(repr=False)

    @property
    def dataset(self) -> str:
        return f"synthetic-{self.domain.name}"

    @property
    def offset(self) -> int:
        return self.onset + self.frames - 1

    @property
    def clip_id(self) -> str:
        return clip_id(self.dataset, self.subject, self.clip, self.onset)

    @property
    def aus(self) -> list[int]:
        return sorted({action.au for action in self.annotated})

    @property
    def intensities(self) -> list[float | None]:
        """As the domain's coders mark them: 1 to 5 for A to E, or None."""
        levels = {action.au: LEVELS[action.intensity] for action in self.annotated}
        return [levels[au] if self.domain.intensity_marked else None for au in self.aus]

    @property
    def au_text(self) -> str:
        """As the domain's coders write it: `L1+4`, or with intensities `L1B+4C`; `0` where no AU was seen."""
        marked = self.domain.intensity_marked
        tokens = [f"{a.side}{a.au}{a.intensity if marked else ''}" for a in sorted(self.annotated, key=lambda a: a.au)]
        return "+".join(tokens) or "0"

    @property
    def emotion(self) -> str:
        active = set(self.aus)
        for emotion, sign in _EMOTIONS:
            if active & sign:
                return emotion
        return "others"

    def rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.streams, *purpose])


_EMOTIONS = (
    ("happiness", {12, 6}),
    ("surprise", {1, 2, 5, 26}),
    ("disgust", {9, 10}),
    ("sadness", {15}),
    ("repression", {14, 17, 24}),
)


def synthetic_plans(
    *,
    difficulty: str = "easy",
    domain: str = "casme2",
    subjects: int = 6,
    clips_per_subject: int | Sequence[int] | str = 20,
    aus: Sequence[int] | None = None,
    seed: int = 0,
    label_noise: float | None = None,
    fps: float | None = None,
) -> list[ClipPlan]:
    """The plans of the clips that `synthetic_clips` draws for the same arguments, in the same order."""
    check_choice("difficulty", difficulty, DIFFICULTIES)
    check_choice("domain", domain, DOMAINS)
    setting, place = DIFFICULTIES[difficulty], DOMAINS[domain]
    noise = setting.label_noise if label_noise is None else label_noise
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise <= 1:
        raise ValueError(f"label_noise={shown(label_noise)} is a share of the clips; it lies between 0 and 1")
    if fps is not None:
        check_number("fps", fps, 0, 100_000)
    check_whole("subjects", subjects, 1, 100_000)
    check_whole("seed", seed, 0)
    counts = _clip_counts(clips_per_subject, subjects, place)
    wanted = _wanted(aus, setting, place)

    plans: list[ClipPlan] = []
    for index, count in enumerate(counts):
        streams = (seed, _DOMAIN_STREAM[domain], index)
        person = sample_person(np.random.default_rng([*streams, _FACE]), place.people)
        rng = np.random.default_rng([*streams, _LABELS])
        if setting.balanced is not None:
            sets = _balanced(rng, wanted, count, setting.balanced)
        else:
            sets = _as_published(rng, wanted, count, place, setting.habit)
        lean = setting.habit * rng.standard_normal()  # a person's stronger side
        for number, acting in enumerate(sets):
            plans.append(
                _plan(
                    place,
                    setting,
                    person,
                    place.subject_name(index),
                    number,
                    acting,
                    lean,
                    noise,
                    wanted,
                    fps,
                    streams,
                )
            )
    return plans


def _clip_counts(clips_per_subject: int | Sequence[int] | str, subjects: int, domain: Domain) -> list[int]:
    if isinstance(clips_per_subject, str):
        check_choice("clips_per_subject", clips_per_subject, ["published"])
        counts = list(domain.clips_per_subject.values())
        if subjects > len(counts):
            raise ValueError(
                f"subjects={subjects}, but {domain.name} has published clip counts of {len(counts)} people"
            )
        return counts[:subjects]
    if not isinstance(clips_per_subject, int | list | tuple):
        raise ValueError(f"clips_per_subject={shown(clips_per_subject)} must be whole numbers, or 'published'")
    counts = [clips_per_subject] * subjects if isinstance(clips_per_subject, int) else list(clips_per_subject)
    if len(counts) != subjects:
        raise ValueError(f"clips_per_subject names {len(counts)} counts, but there are subjects={subjects}")
    if any(not isinstance(count, int) or isinstance(count, bool) or not 1 <= count < 100_000 for count in counts):
        raise ValueError(f"clips_per_subject={clips_per_subject!r} must be whole numbers of at least 1")
    return counts


def _wanted(aus: Sequence[int] | None, setting: Difficulty, domain: Domain) -> tuple[int, ...]:
    published = {int(au) for combination in domain.combinations for au in combination.split("+")}
    if aus is None:
        return PUBLISHED_AUS[domain.name] if setting.balanced is not None else tuple(sorted(published))
    wanted = tuple(sorted(aus_of(aus)))
    known = set(FIELDS) if setting.balanced is not None else published
    if unknown := set(wanted) - known:
        raise ValueError(
            f"aus={aus!r}: AU {sorted(unknown)} cannot be shown here; choose from "
            + ", ".join(map(str, sorted(known)))
        )
    return wanted


def _balanced(rng: np.random.Generator, aus: Sequence[int], count: int, share: float) -> list[tuple[int, ...]]:
    """Every AU in the same share of every person's clips, independently of the others: identity tells nothing."""
    active = np.zeros((count, len(aus)), bool)
    for column in range(len(aus)):
        positives = int(np.floor(share * count + rng.random()))  # rounded up or down at random
        active[rng.permutation(count)[:positives], column] = True
    return [tuple(au for au, on in zip(aus, row, strict=True) if on) for row in active]


def _as_published(
    rng: np.random.Generator, aus: Sequence[int], count: int, domain: Domain, habit: float
) -> list[tuple[int, ...]]:
    """Combinations as often as in the domain, with preferences that differ between people."""
    combinations = [tuple(int(au) for au in name.split("+")) for name in domain.combinations]
    taste = {au: habit * rng.standard_normal() for au in sorted({au for c in combinations for au in c})}
    weights = np.array(list(domain.combinations.values()), float)
    weights *= np.exp([np.mean([taste[au] for au in combination]) for combination in combinations])
    chosen = rng.choice(len(combinations), size=count, p=weights / weights.sum())
    return [tuple(au for au in combinations[index] if au in aus) for index in chosen]


def _plan(domain, setting, person, subject, number, acting, lean, noise, wanted, fps, streams) -> ClipPlan:
    rng = np.random.default_rng([*streams, number, _CLIP])
    names, shares = list(setting.intensities), np.array(list(setting.intensities.values()))
    actions = []
    for au in acting:
        intensity = names[rng.choice(len(names), p=shares / shares.sum())]
        one_sided, leftish = rng.random() < setting.one_sided, rng.standard_normal() + lean > 0
        side = "" if au in UNSIDED or not one_sided else "L" if leftish else "R"
        actions.append(Action(au, side, intensity))
    # Log-normal around the median, within the published extremes.
    shortest, median, longest = domain.seconds
    seconds = float(np.clip(median * np.exp(0.35 * rng.standard_normal()), shortest, longest))
    rate = domain.fps if fps is None else float(fps)
    frames = max(round(seconds * rate), 3)
    onset = int(rng.integers(2, 120)) if domain.name == "casme2" else int(rng.integers(120, 9000))
    apex = onset + min(max(round((frames - 1) * rng.uniform(0.4, 0.6)), 1), frames - 2)
    return ClipPlan(
        domain=domain,
        difficulty=setting,
        person=person,
        subject=subject,
        clip=_clip_name(domain, subject, number),
        actions=tuple(actions),
        annotated=_annotate(np.random.default_rng([*streams, number, _ANNOTATION]), tuple(actions), noise, wanted),
        frames=frames,
        onset=onset,
        apex=apex,
        fps=rate,
        streams=(*streams, number),
    )


def _clip_name(domain: Domain, subject: str, number: int) -> str:
    film, index = divmod(number, 8)
    return f"EP{film + 1:02d}_{index + 1:02d}" if domain.name == "casme2" else f"{subject}_{film + 1}_{index + 1}"


def _annotate(rng, actions: tuple[Action, ...], noise: float, wanted: Sequence[int]) -> tuple[Action, ...]:
    """What the coder writes: in a share of the clips one AU is missed, taken for another, or added."""
    error, which, pick = rng.random(), rng.random(), rng.random()
    others = [au for au in wanted if au not in {action.au for action in actions}]
    extra = Action(others[int(pick * len(others))], "", "B") if others else None
    if error >= noise:
        return actions
    if not actions:
        return (extra,) if extra else ()
    at = int(pick * len(actions))
    left = actions[:at] + actions[at + 1 :]
    if which < 0.4 or extra is None:
        return left
    return (*left, extra) if which < 0.8 else (*actions, extra)
