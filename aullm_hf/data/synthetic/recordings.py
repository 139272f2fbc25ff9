"""Long synthetic recordings with known truth: minutes of a face that acts, blinks, talks, turns and goes away.

    recording = synthetic_recording(difficulty="standard", seconds=60, fps=50, seed=0)
    for frame in recording: ...     # (128, 128) uint8
    recording.table()               # one row per expression: onset, apex, offset, micro or longer, AUs

Faces, AUs and cameras are those of the benchmark of clips; `timelines.py` says what else happens. Frames are drawn
when they are asked for, so that a recording takes no memory. Controls: `control="neutral"` has no expression,
"backwards" is the recording from its end to its beginning, "still" its first picture again and again, with the
camera's noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...arguments import check_choice, check_number, check_whole
from .domains import DOMAINS
from .drawing import _look, _rest, draw_still
from .faces import MIDDLE, NOSE_Y, Person, Viewport, sample_person
from .motion import FIELDS, FOLD_DEPTH, FOLDS, GAZE, POSTURES, au_field, field, fold
from .plans import _CLIP, _FACE, _NOISE, DIFFICULTIES
from .timelines import (
    MICRO,
    REASONS,
    SETTINGS,
    Timeline,
    lid_course,
    plan_cuts,
    plan_timeline,
    spoken,
    stepped,
    wander,
)

CONTROLS = (None, "neutral", "backwards", "still")
PICTURE = Viewport(left=-48.0, top=-48.0, width=224, height=224)  # of a person in a whole picture
_RECORDING, _CUTS, _TIMELINE = 77, 10, 11
BLINK = 6.5  # pixels the upper lid comes down


@dataclass(frozen=True)
class Truth:
    """One expression, in frames from 1, as a video's are counted; or what hides a face, with a reason."""

    person: int
    onset: int
    offset: int
    apex: int | None = None
    kind: str = ""  # micro or longer
    aus: tuple[int, ...] = ()
    reason: str = ""


class SyntheticRecording:
    """Frames by index, drawn when they are asked for, and what is true of them."""

    def __init__(self, *, difficulty, domain, seconds, fps, seed, people, picture, control):
        self.fps, self.seconds, self.difficulty, self.control = float(fps), float(seconds), difficulty, control
        self.face, self.setting, self.domain = DIFFICULTIES[difficulty], SETTINGS[difficulty], DOMAINS[domain]
        self.viewport = PICTURE if picture else Viewport()
        self.streams = (_RECORDING, seed, int(difficulty == "hard"), int(domain == "samm"))
        self.cuts = plan_cuts(self._rng(_CUTS), self.setting, self.seconds)
        self.lamps = self._lamp_steps()
        self.people: list[Person] = []
        self.timelines: list[Timeline] = []
        for number in range(people):
            self.people.append(sample_person(self._rng(number, _FACE), self.domain.people))
            self.timelines.append(
                plan_timeline(
                    self._rng(number, _TIMELINE),
                    self.setting,
                    difficulty,
                    self.domain,
                    self.seconds,
                    self.cuts,
                    expressions=control != "neutral",
                )
            )
        self._action = lru_cache(maxsize=8)(self._action)
        self._syllable = lru_cache(maxsize=8 * people)(self._syllable)
        self._scene = lru_cache(maxsize=people)(self._scene)
        self._stills = [draw_still(person, self.domain.blur, self.viewport) for person in self.people]

    def _rng(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([*self.streams, *purpose])

    # ---------------------------------------------------------------- frames

    def __len__(self) -> int:
        return round(self.seconds * self.fps)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> np.ndarray:
        """(H, W) uint8; several people stand side by side."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        shown = {"backwards": len(self) - 1 - index, "still": 0}.get(self.control, index)
        grain = index if self.control == "still" else shown
        faces = [self._draw(number, shown, grain) for number in range(len(self.people))]
        return faces[0] if len(faces) == 1 else np.concatenate(faces, axis=1)

    def _draw(self, number: int, index: int, grain: int) -> np.ndarray:
        """Frame `index` of one person, with the camera's noise of frame `grain`."""
        time, timeline = index / self.fps, self.timelines[number]
        segment = sum(time >= cut for cut in self.cuts)
        waves = wander(timeline.waves, time)
        gain = self.face.light * waves[3] + stepped(self.lamps, time, (0.0,))[0]
        if any(start <= time < end for start, end in timeline.empty):
            picture = np.full(self._scene(number, segment)[0].shape, self.people[number].background, np.float32)
            picture *= np.float32(1 + gain)
        else:
            pose = np.array(stepped(timeline.poses, time, (0.0,) * 5))
            pose[:3] += (self.face.drift * waves[0], self.face.drift * waves[1], self.face.turn * waves[2])
            moves = self._moves(number, segment, time, waves)
            picture = self.render(number, segment, pose, moves, gain, self.face.light * waves[4])
        noise = self._rng(number, _NOISE, grain).standard_normal(picture.shape, dtype=np.float32)
        picture += np.float32(self.domain.noise * self.face.noise) * noise
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)

    def render(self, number, segment, pose, moves, gain=0.0, slope=0.0) -> np.ndarray:
        """(H, W) float32 without noise: a person between two cuts, in a pose, with moves, under a light.

        pose: shift (x, y), roll in degrees, and how far the nose is moved over the face (x, y). moves: displacement
        (2, H, W), share of the light lost (H, W) or None, and how much of both, of each.
        """
        at_x, at_y, light, nose = self._scene(number, segment)[:4]
        x, y = self.viewport.grid()
        shift_x, shift_y, roll, nose_x, nose_y = np.asarray(pose, np.float32)
        roll = np.deg2rad(roll)
        look_x = at_x - (shift_x - roll * (y - 64)) - nose_x * nose
        look_y = at_y - (shift_y + roll * (x - MIDDLE)) - nose_y * nose
        picture_light = light * (1 + np.float32(gain) + np.float32(slope / 64) * (x - MIDDLE))
        for motion, fold_depth, course in moves:
            look_x -= motion[0] * np.float32(course)
            look_y -= motion[1] * np.float32(course)
            if fold_depth is not None:
                picture_light = picture_light * (1 - np.float32(course) * fold_depth)
        return _look(self._stills[number], self.viewport, look_x, look_y) * picture_light

    def _moves(self, number: int, segment: int, time: float, waves: np.ndarray):
        """What moves at a time, as `render` takes it."""
        timeline = self.timelines[number]
        eyes, lids, postures = self._scene(number, segment)[4:]
        for at, expression in enumerate(timeline.expressions):
            if expression.onset < time < expression.offset:
                yield *self._action(number, segment, at), expression.course(time)
        if closed := lid_course(timeline.blinks, time):
            yield lids, None, BLINK * closed
        for au, size in spoken(timeline.syllables, time).items():
            yield self._syllable(number, segment, au), None, size
        if looks := stepped(timeline.gazes, time, (0.0,))[0]:
            yield eyes, None, looks
        for posture, wave in zip(postures, waves[5:], strict=False):
            yield posture, None, self.face.tremor * wave

    def _lamp_steps(self) -> list[tuple[float, float, tuple[float]]]:
        rng = self._rng(_CUTS, 1)
        count = int(np.floor(self.setting.lamps * self.seconds / 60 + rng.random()))
        times = sorted(rng.uniform(0, self.seconds, count))
        return [(float(time), 0.1, (float(self.setting.lamp * rng.standard_normal()),)) for time in times]

    def _scene(self, number: int, segment: int):
        """Where pixels look at rest and how they are lit, between two cuts; and what always moves."""
        person, rng = self.people[number], self._rng(number, _CLIP, segment)
        at_x, at_y, light = _rest(rng, person, *self.viewport.grid())
        nose = np.exp(-0.5 * ((at_x - MIDDLE) / 11) ** 2) * np.exp(-0.5 * ((at_y - NOSE_Y) / 15) ** 2)
        eyes = field(GAZE, person, at_x, at_y, left=1, right=-1)
        lids = field(FIELDS[45], person, at_x, at_y)
        chosen = rng.choice(POSTURES, size=4, replace=False) if self.face.tremor else ()
        postures = [au_field(int(au), person, at_x, at_y) for au in chosen]
        return at_x, at_y, light, nose, eyes, lids, postures

    def _action(self, number: int, segment: int, at: int) -> tuple[np.ndarray, np.ndarray]:
        at_x, at_y = self._scene(number, segment)[:2]
        expression, person = self.timelines[number].expressions[at], self.people[number]
        motion, shade = np.zeros((2, *at_x.shape), np.float32), np.zeros(at_x.shape, np.float32)
        for action in expression.actions:
            strength = np.float32(expression.strength(action))
            motion += strength * au_field(action.au, person, at_x, at_y, action.side)
            if action.au in FOLDS:
                shade += strength * np.float32(FOLD_DEPTH) * fold(action.au, person, at_x, at_y, action.side)
        return motion, np.minimum(shade, 0.8)

    def _syllable(self, number: int, segment: int, au: int) -> np.ndarray:
        return au_field(au, self.people[number], *self._scene(number, segment)[:2])

    # ---------------------------------------------------------------- truth

    @property
    def expressions(self) -> list[Truth]:
        """Every expression, in order; none where the picture stands still."""
        if self.control == "still":
            return []
        truths = []
        for number, timeline in enumerate(self.timelines):
            for one in timeline.expressions:
                onset, apex, offset = (round(time * self.fps) for time in (one.onset, one.apex, one.offset))
                kind = "micro" if one.offset - one.onset <= MICRO else "longer"
                aus = tuple(sorted(action.au for action in one.actions))
                truths.append(Truth(number, onset + 1, offset + 1, apex + 1, kind, aus))
        return sorted(map(self._turned, truths), key=lambda truth: (truth.onset, truth.person))

    @property
    def hidden(self) -> list[Truth]:
        """What could not be looked at: stretches without a face, and cuts."""
        if self.control == "still":
            return []
        truths = []
        for number, timeline in enumerate(self.timelines):
            for start, end in timeline.empty:
                first, last = int(np.ceil(start * self.fps)), int(np.ceil(end * self.fps)) - 1
                truths.append(Truth(number, first + 1, last + 1, reason=REASONS["empty"]))
            for cut in self.cuts:
                first = int(np.ceil(cut * self.fps)) + 1
                truths.append(Truth(number, first, first, reason=REASONS["cut"]))
        return sorted(map(self._turned, truths), key=lambda truth: (truth.onset, truth.person))

    def _turned(self, truth: Truth) -> Truth:
        if self.control != "backwards":
            return truth
        last = len(self) + 1
        apex = None if truth.apex is None else last - truth.apex
        return Truth(truth.person, last - truth.offset, last - truth.onset, apex, truth.kind, truth.aus, truth.reason)

    def table(self):
        """A pandas table with one row per expression, in the columns of `evaluation.spotting`."""
        import pandas as pd

        rows = [
            {"face_id": one.person, "onset": one.onset, "apex": one.apex, "offset": one.offset, "kind": one.kind,
             "start": (one.onset - 1) / self.fps, "end": (one.offset - 1) / self.fps,
             "aus": "+".join(map(str, one.aus))}
            for one in self.expressions
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["face_id", "onset", "apex", "offset", "kind", "start", "end", "aus"])


def synthetic_recording(
    *,
    difficulty: str = "standard",
    domain: str = "casme2",
    seconds: float = 60.0,
    fps: float = 50.0,
    seed: int = 0,
    people: int = 1,
    picture: bool | None = None,
    control: str | None = None,
) -> SyntheticRecording:
    """A recording that its arguments determine. The same seed at another frame rate is the same recording.

    Args:
        difficulty: "standard" or "hard".
        domain: "casme2" or "samm": the people and the camera.
        seconds: how long it lasts; 10 or more.
        fps: frames per second.
        seed: another seed, another person and other things that happen.
        people: that are filmed, side by side.
        picture: whole pictures with head and shoulders; False: the face as it is cropped, 128 x 128. None: pictures
            where there are several people.
        control: None, "neutral" (no expression), "backwards" or "still".
    """
    check_choice("difficulty", difficulty, SETTINGS)
    check_choice("domain", domain, DOMAINS)
    check_choice("control", control, CONTROLS)
    check_number("seconds", seconds, 9.999, 100_000)
    check_number("fps", fps, 1, 10_000)
    check_whole("seed", seed, 0)
    check_whole("people", people, 1, 9)
    if people > 1 and picture is False:
        raise ValueError(f"people={people} do not fit into one crop of a face; leave picture=False out")
    return SyntheticRecording(
        difficulty=difficulty, domain=domain, seconds=seconds, fps=fps, seed=seed, people=people,
        picture=people > 1 if picture is None else picture, control=control,
    )  # fmt: skip


__all__ = ["CONTROLS", "SyntheticRecording", "Truth", "synthetic_recording"]
