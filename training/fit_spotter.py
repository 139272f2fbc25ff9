r"""Fit the network that spots expressions, on synthetic recordings, and write its weights into the package.

    python training/fit_spotter.py                                     # a few minutes on one core
    python training/fit_spotter.py --recordings 40 --steps 100 --out spotter.safetensors     # to try it

Drawing minutes of video and following the face in it would take hours. Motion of the regions is nearly the sum of what
each thing does alone, so each is drawn a few times (an expression at three strengths, a blink at five, ..), followed
as in use, and put together along its course in time, with the noise that still frames show. The network is tested on
drawn recordings only (`training/benchmark.py spotting`), of other seeds.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn import functional

from aullm_hf.data.synthetic.recordings import BLINK, SyntheticRecording, synthetic_recording
from aullm_hf.data.synthetic.timelines import lid_course, spoken, stepped, wander
from aullm_hf.inference.spotting.network import STRIDE, WEIGHTS, Spotter
from aullm_hf.inference.spotting.region_motion import CHANNELS, RegionMotion, mirrored_channels
from aullm_hf.inference.spotting.signals import RATE, Stretch

FIRST_SEED = 1_000_000  # of the recordings to fit on; the benchmark's are below
RATES = (25.0, 30.0, 50.0, 100.0)
STILLS = 24  # frames that say what noise does
LENGTH = 600  # steps of the signal in one row of a batch
WIDE, SPREAD = 0.15, (0.03, 0.12)  # of the target around a middle: share of the expression's length; seconds


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


def targets(recording: SyntheticRecording, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(steps, 4) as the network says it, and (steps,) how much each step counts for the times."""
    moment = np.arange(0, steps, STRIDE) / RATE
    goal, weight = np.zeros((len(moment), 4), np.float32), np.zeros(len(moment), np.float32)
    for one in recording.timelines[0].expressions:
        length = one.offset - one.onset
        spread = float(np.clip(WIDE * length, *SPREAD))
        middle = (one.onset + one.offset) / 2
        nearest = moment[np.abs(moment - middle).argmin()]
        near = np.exp(-0.5 * ((moment - nearest) / spread) ** 2)
        inside = (near > 0.3) & (moment > one.onset) & (moment < one.offset)
        goal[:, 0] = np.maximum(goal[:, 0], near)
        goal[inside, 1] = np.log(np.maximum(moment[inside] - one.onset, 0.02))
        goal[inside, 2] = np.log(np.maximum(one.offset - moment[inside], 0.02))
        goal[inside, 3] = (one.apex - one.onset) / length
        weight[inside] = near[inside]
    return goal, weight


def loss_of(said: torch.Tensor, goal: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Focal loss of the middles (as for key points), and the distance of the times' logarithms."""
    likely = said[..., 0].sigmoid().clamp(1e-5, 1 - 1e-5)
    exact = goal[..., 0] > 0.999
    positive = ((1 - likely) ** 2 * likely.log())[exact].sum()
    negative = ((1 - goal[..., 0]) ** 4 * likely**2 * (1 - likely).log())[~exact].sum()
    times = functional.smooth_l1_loss(said[..., 1:3], goal[..., 1:3], reduction="none", beta=0.1).sum(-1)
    apex = functional.binary_cross_entropy_with_logits(said[..., 3], goal[..., 3], reduction="none")
    return -(positive + negative) / exact.sum().clamp(min=1) + ((2 * times + apex) * weight).sum() / weight.sum()


def batch_of(signals, goals, weights, rng: np.random.Generator, rows: int):
    """Random cuts of random recordings, some mirrored, all a little stronger or weaker, and noisier."""
    order, sign = mirrored_channels()
    parts = []
    for _ in range(rows):
        at = rng.integers(len(signals))
        start = STRIDE * int(rng.integers(0, (len(signals[at]) - LENGTH) // STRIDE))
        motion = signals[at][start : start + LENGTH]
        motion = motion[:, order] * sign if rng.random() < 0.5 else motion
        motion = motion * rng.uniform(0.85, 1.2) * np.exp(0.1 * rng.standard_normal(CHANNELS))
        half = slice(start // STRIDE, (start + LENGTH) // STRIDE)
        parts.append((motion.astype(np.float32), goals[at][half], weights[at][half]))
    return [torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)]


def fit(signals, goals, weights, *, steps: int, rows: int, seed: int, rate: float = 4e-3) -> Spotter:
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Spotter().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    losses = []
    for step in range(steps):
        motion, goal, weight = batch_of(signals, goals, weights, rng, rows)
        loss = loss_of(network(motion), goal, weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step % 50 == 49:
            print(f"step {step + 1}: loss {np.mean(losses[-50:]):.3f}", flush=True)
    return network.eval()


def recordings_to_fit(count: int, seconds: float):
    """Half of them standard, half hard, at several frame rates."""
    for number in range(count):
        rng = np.random.default_rng([FIRST_SEED, number])
        recording = synthetic_recording(
            difficulty=("standard", "hard")[number % 2], domain=("casme2", "samm")[number // 2 % 2], seconds=seconds,
            fps=float(rng.choice(RATES, p=(0.3, 0.3, 0.2, 0.2))), seed=FIRST_SEED + number,
        )  # fmt: skip
        signal = simulated_signal(recording, rng)
        yield signal, *targets(recording, len(signal))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each recording")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--rows", type=int, default=12, help="of a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    signals, goals, weights = zip(*recordings_to_fit(args.recordings, args.seconds), strict=True)
    print(f"{args.recordings} recordings in {time.perf_counter() - begun:.0f} s", flush=True)
    network = fit(signals, goals, weights, steps=args.steps, rows=args.rows, seed=args.seed)
    save_file({name: value.half() for name, value in network.state_dict().items()}, args.out)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
