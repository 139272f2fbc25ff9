r"""A whole training step and its parts, by the reference and by the package, with every projector around one LLM.

    python training/benchmark.py step                                                       # tiny, to try it
    python training/benchmark.py step --shape 1.5b --dtype bfloat16 --batch 32 128 --projector efp linear

A step is a batch, forward, backward and Adam with L2, on clips of noise. A batch that would not fit is taken in parts
by the reference; its row says so.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace

import numpy as np
import torch
from torch.utils.data import default_collate

from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.training.batches import Batches
from aullm_hf.training.clips import Clips, Resident
from aullm_hf.training.optimizer import adam_with_l2
from benchmarks.pair import Pair, build_pair, parts_of_batch
from benchmarks.reference import ClipItems
from benchmarks.shapes import add_prompt_arguments, add_shape_arguments, prompt_settings
from benchmarks.timing import StepClock, median_seconds_of_parts

# What the optimizer asks of a run: the published recipe's.
PUBLISHED = SimpleNamespace(
    adam_with_l2=True, learning_rate=3e-5, weight_decay=0.005, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8
)
FRAMES = 67  # of a usual clip of CASME II


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shape_arguments(parser)
    add_prompt_arguments(parser)
    parser.add_argument("--projector", nargs="+", choices=("efp", "linear"), default=["efp"])


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    tables: dict[str, list[dict]] = {"the whole training step": [], "its parts": []}
    for setting in prompt_settings(args):
        causal = None
        for projector in args.projector:
            pair = build_pair(**setting, projector=projector, device=args.device, causal=causal)
            for batch in args.batch:
                whole, parts = step_rows(pair, batch, args.repeats)
                tables["the whole training step"].append(setting | whole)
                tables["its parts"] += [setting | row for row in parts]
            causal = pair.causal
    return tables


def step_rows(pair: Pair, batch: int, repeats: int) -> tuple[dict, list[dict]]:
    """The row of a whole step, and a row for each of its parts."""
    config = pair.package.config
    pair.train(True)
    clips = random_clips(batch, config.image_size, config.num_labels)
    parts = parts_of_batch(pair, batch, True)
    clocks = {name: StepClock(pair.device) for name in ("reference", "package")}
    steps = {
        "reference": reference_step(pair, clips, clocks["reference"], parts),
        "package": package_step(pair.package, clips, clocks["package"]),
    }
    medians = median_seconds_of_parts(steps, clocks, repeats)
    for clock in clocks.values():
        clock.close()
    reference, package = medians["reference"], medians["package"]
    seconds = {name: sum(of_parts.values()) for name, of_parts in medians.items()}
    same_vision = seconds["reference"] + sum(package[part] - reference[part] for part in ("LED", "3D-CNN"))
    about = {"projector": config.projector, "batch": batch}
    whole = about | {
        **{f"s {name}": value for name, value in seconds.items()},
        "ratio": seconds["reference"] / seconds["package"],
        "ratio with the package's LED and 3D-CNN": same_vision / seconds["package"],
        "clips/s package": batch / seconds["package"],
        "reference taken in parts": parts,
    }
    return whole, [
        about
        | {
            "part": part,
            "s reference": reference[part],
            "s package": package[part],
            "ratio": reference[part] / package[part],
        }
        for part in package
    ]


def random_clips(count: int, size: int, labels: int, frames: int = FRAMES) -> Clips:
    """Noise: nothing is learned from it, and nothing takes longer or shorter for that."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count * frames, size, size), dtype=np.uint8)
    table = {key: [f"{key}{row}" for row in range(count)] for key in ("clip_id", "dataset", "subject", "aus")}
    active = (rng.random((count, labels)) < 0.2).astype(np.float32)
    return Clips(pixels, np.arange(count + 1) * frames, active, table)


def package_step(model: AULLMForAUDetection, clips: Clips, clock: StepClock) -> Callable[[], None]:
    """Batch, forward, backward, Adam with L2, as the runner does them."""
    device = model.device
    batches = Batches(clips, AULLMVideoProcessor.for_config(model.config), resident=Resident.of(clips, device))
    optimizer = adam_with_l2(model.trained_parameters(), PUBLISHED)
    draws = [(row, 0, 0) for row in range(len(clips))]
    clock.attach(model.model.led, model.model.backbone, model.model.projector, model.classifier)
    return timed_step(model, optimizer, clock, device, lambda: [(batches(draws), 1.0)])


def reference_step(pair: Pair, clips: Clips, clock: StepClock, parts: int) -> Callable[[], None]:
    """The same of the reference: clips one by one, the batch in parts where it would not fit."""
    model, device = pair.reference, pair.device
    items = ClipItems(clips, range(len(clips)), model.config.num_frames, train=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=PUBLISHED.learning_rate, weight_decay=PUBLISHED.weight_decay)
    clock.attach(model.led, model.backbone, model.projector, model.classifier)

    def in_parts() -> Iterator[tuple[dict, float]]:
        for rows in np.array_split(np.arange(len(clips)), parts):
            yield default_collate([items[row] for row in rows]), len(rows) / len(clips)

    return timed_step(model, optimizer, clock, device, in_parts)


def timed_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    clock: StepClock,
    device: torch.device,
    batches: Callable[[], Iterable[tuple[dict, float]]],
) -> Callable[[], None]:
    """A step over the parts of a batch, each with its share of the clips."""

    def step() -> None:
        for batch, share in batches():
            batch = {name: value.to(device) for name, value in batch.items()}
            clock.mark("batch")
            loss = model(**batch)["loss"] * share
            clock.mark("head, loss")
            loss.backward()
            clock.mark("LED")
        optimizer.step()
        optimizer.zero_grad()
        clock.mark("optimizer")

    return step
