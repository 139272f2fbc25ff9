"""The motion of drawn recordings, without drawing all of it.

Drawing minutes of video and following the face in it would take hours. Motion of the regions is nearly the sum of what
each thing does alone, so each is drawn a few times (an expression at three strengths, a blink at five, ..), followed
as in use, and put together along its course in time, with the noise that still frames show.
"""

from collections.abc import Iterator

import numpy as np

from aullm_hf.data.synthetic.recordings import BLINK, SyntheticRecording, synthetic_recording
from aullm_hf.data.synthetic.timelines import lid_course, spoken, stepped, wander
from aullm_hf.inference.spotting.region_motion import CHANNELS, RegionMotion
from aullm_hf.inference.spotting.signals import Stretch
from spotters.fitting import Example, targets

FIRST_SEED = 1_000_000  # of the recordings to fit on; the benchmark's are below
RATES = (25.0, 30.0, 50.0, 100.0)
STILLS = 24  # frames that say what noise does


class Responses:
    """What the regions do when one thing moves alone, in one recording."""

    def __init__(self, recording: SyntheticRecording, rng: np.random.Generator):
        self.recording, self.rng = recording, rng
        self.noise_level = recording.domain.noise * recording.face.noise
        self.motion = RegionMotion()
        self.motion.anchor(self._frame(noisy=True))
        self.zero = self._measured()

    def _frame(self, pose=(0.0,) * 5, moves=(), gain=0.0, slope=0.0, noisy=False) -> np.ndarray:
        picture = self.recording.render(0, 0, pose, moves, gain, slope)
        if noisy:
            picture = picture + np.float32(self.noise_level) * self.rng.standard_normal(
                picture.shape, dtype=np.float32
            )
        return np.clip(picture + 0.5, 0, 255).astype(np.uint8)

    def _measured(self, **what) -> np.ndarray:
        self.motion.affine = np.eye(2, 3)
        return self.motion.measure(self._frame(**what)).values.astype(np.float64)

    def of(self, **what) -> np.ndarray:
        return self._measured(**what) - self.zero

    def of_levels(self, motion, shade, levels) -> np.ndarray:
        """(levels + 1, CHANNELS), of nothing first."""
        each = [self.of(moves=[(motion, shade, level)]) for level in levels]
        return np.stack([np.zeros(CHANNELS), *each])

    def noise(self, count: int) -> np.ndarray:
        """(count, CHANNELS) as still frames scatter."""
        stills = np.stack([self._measured(noisy=True) for _ in range(STILLS)])
        stills -= stills.mean(axis=0)
        return self.rng.standard_normal((count, STILLS)) @ stills / np.sqrt(STILLS - 1)


def blended(levels: np.ndarray, responses: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """(T, CHANNELS): responses known at some levels, at the strengths of every frame."""
    levels = np.concatenate([[0.0], levels])
    at = np.clip(np.searchsorted(levels, strength, side="right") - 1, 0, len(levels) - 2)
    share = (strength - levels[at]) / (levels[at + 1] - levels[at])
    return responses[at] + share[:, None] * (responses[at + 1] - responses[at])


def simulated_signal(recording: SyntheticRecording, rng: np.random.Generator) -> np.ndarray:
    """(steps, CHANNELS): the even signal of a recording's first person, cuts and absences left out."""
    timeline, face = recording.timelines[0], recording.face
    responses = Responses(recording, rng)
    times = np.arange(len(recording)) / recording.fps
    eyes, lids, postures = recording._scene(0, 0)[4:]
    total = responses.noise(len(times))
    for at, expression in enumerate(timeline.expressions):
        motion, shade = recording._action(0, 0, at)
        levels = np.array([0.33, 0.66, 1.0])
        course = expression.course(times)
        total += blended(levels, responses.of_levels(motion, shade, levels), course)
    levels = np.array([0.25, 0.5, 0.75, 1.0, 2.0]) * BLINK
    closed = np.array([lid_course(timeline.blinks, time) for time in times]) * BLINK
    total += blended(levels, responses.of_levels(lids, None, levels), closed)
    talk = [spoken(timeline.syllables, time) for time in times]
    for au in {au for sizes in talk for au in sizes}:
        levels = np.array([0.6, 1.2, 2.4, 5.0])
        sizes = np.array([one.get(au, 0.0) for one in talk])
        total += blended(levels, responses.of_levels(recording._syllable(0, 0, au), None, levels), sizes)
    looks = np.array([stepped(timeline.gazes, time, (0.0,))[0] for time in times])
    for sign in (1, -1):
        levels = np.array([0.5, 1.5, 6.0]) * max(face.gaze, 0.1)
        total += blended(levels, responses.of_levels(eyes, None, sign * levels), np.clip(sign * looks, 0, None))
    waves = np.stack([wander(timeline.waves, time) for time in times])  # (T, courses)
    for number, posture in enumerate(postures):
        total += np.outer(waves[:, 5 + number], responses.of(moves=[(posture, None, face.tremor)]))
    for number, size in enumerate((face.drift, face.drift, face.turn)):
        total += np.outer(waves[:, number], responses.of(pose=np.eye(5)[number] * size))
    rests = [np.zeros(CHANNELS), *(responses.of(pose=pose) for *_, pose in timeline.poses)]
    steps = [(start, long, tuple(rest)) for (start, long, _), rest in zip(timeline.poses, rests[1:], strict=True)]
    total += np.stack([stepped(steps, time, tuple(rests[0])) for time in times]) if steps else 0
    lamps = np.array([stepped(recording.lamps, time, (0.0,))[0] for time in times])
    total += np.outer(face.light * waves[:, 3] + lamps, responses.of(gain=0.1) / 0.1)
    total += np.outer(waves[:, 4], responses.of(slope=face.light))
    # Every second another anchor, with a noise of its own.
    anchors = responses.noise(int(recording.seconds) + 1)
    total += np.cumsum(anchors, axis=0)[times.astype(int)]
    return Stretch(0, times.tolist(), list(total)).even()[1]


def drawn_examples(count: int, seconds: float) -> Iterator[Example]:
    """Half of them standard, half hard, at several frame rates."""
    for number in range(count):
        rng = np.random.default_rng([FIRST_SEED, number])
        recording = synthetic_recording(
            difficulty=("standard", "hard")[number % 2], domain=("casme2", "samm")[number // 2 % 2], seconds=seconds,
            fps=float(rng.choice(RATES, p=(0.3, 0.3, 0.2, 0.2))), seed=FIRST_SEED + number,
        )  # fmt: skip
        signal = simulated_signal(recording, rng)
        yield Example(signal, *targets(recording.timelines[0].expressions, len(signal)))


__all__ = ["drawn_examples", "simulated_signal"]
