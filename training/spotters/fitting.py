"""The loss, the batches and the steps by which the network that spots expressions is fitted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from aullm_hf.inference.spotting.intervals import Interval
from aullm_hf.inference.spotting.network import STRIDE, Spotter
from aullm_hf.inference.spotting.region_motion import CHANNELS, mirrored_channels
from aullm_hf.inference.spotting.signals import RATE

LENGTH = 600  # steps of the signal in one row of a batch
WIDE, SPREAD = 0.15, (0.03, 0.12)  # of the target around a middle: share of the expression's length; seconds


@dataclass(frozen=True)
class Example:
    """One stretch of a face's motion, and what is to be said of it."""

    signal: np.ndarray  # (steps, CHANNELS)
    goal: np.ndarray  # (steps / STRIDE, 4), as the network says it
    weight: np.ndarray  # (steps / STRIDE,): how much each step counts for the times


def targets(expressions: Iterable[Interval], steps: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(steps, 4) as the network says it, and (steps,) how much each step counts for the times.

    Args:
        expressions: their onsets, apexes and offsets in seconds.
        steps: of the signal, RATE per second.
        first: number of its first step, even.
    """
    moment = (first + np.arange(0, steps, STRIDE)) / RATE
    goal, weight = np.zeros((len(moment), 4), np.float32), np.zeros(len(moment), np.float32)
    for one in expressions:
        length = max(one.offset - one.onset, 1 / RATE)
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
    return -(positive + negative) / exact.sum().clamp(min=1) + (
        (2 * times + apex) * weight
    ).sum() / weight.sum().clamp(min=1e-3)


def batch_of(examples: Sequence[Example], rng: np.random.Generator, rows: int) -> list[torch.Tensor]:
    """Random cuts of random recordings, some mirrored, all a little stronger or weaker, and noisier."""
    order, sign = mirrored_channels()
    parts = []
    for _ in range(rows):
        example = examples[rng.integers(len(examples))]
        start = STRIDE * int(rng.integers(0, (len(example.signal) - LENGTH) // STRIDE))
        motion = example.signal[start : start + LENGTH]
        motion = motion[:, order] * sign if rng.random() < 0.5 else motion
        motion = motion * rng.uniform(0.85, 1.2) * np.exp(0.1 * rng.standard_normal(CHANNELS))
        half = slice(start // STRIDE, (start + LENGTH) // STRIDE)
        parts.append((motion.astype(np.float32), example.goal[half], example.weight[half]))
    return [torch.from_numpy(np.stack(part)) for part in zip(*parts, strict=True)]


def fit(
    examples: Sequence[Example], *, steps: int, rows: int, seed: int, rate: float = 4e-3, start: Spotter | None = None
) -> Spotter:
    """A network fitted on examples, each of more than LENGTH steps; `start`: whose weights it begins with."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = Spotter().train()
    if start is not None:
        network.load_state_dict(start.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    losses = []
    for step in range(steps):
        motion, goal, weight = batch_of(examples, rng, rows)
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


__all__ = ["LENGTH", "Example", "fit", "targets"]
