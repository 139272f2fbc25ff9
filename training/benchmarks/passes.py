"""The passes that training and inference consist of, of the reference and of the package, by turns in one process.

Both stand around one LLM with one set of adapters. A pass of the reference that would not fit into memory is taken in
parts of the batch, and its row says so.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import psutil
import torch
from torch.utils.data import default_collate
from transformers import PreTrainedModel

from aullm_hf.model import AULLMConfig, AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.training.batches import Batches, Clips, Resident
from aullm_hf.training.memory import activation_bytes
from aullm_hf.training.optimizer import adam_with_l2
from benchmarks.flops import llm_flops
from benchmarks.reference import ClipItems, ReferenceDetector
from benchmarks.shapes import causal_llm, detector_config
from benchmarks.timing import StepClock, by_turns, medians_by_turns

# What the optimizer asks of a run: the published recipe's.
PUBLISHED = SimpleNamespace(
    adam_with_l2=True, learning_rate=3e-5, weight_decay=0.005, adam_beta1=0.9, adam_beta2=0.999, adam_epsilon=1e-8
)
FRAMES = 67  # of a usual clip of CASME II


@dataclass
class Pair:
    """The same model twice: as the package has it, and in the published loop's shape."""

    package: AULLMForAUDetection
    reference: ReferenceDetector
    causal: PreTrainedModel

    @property
    def device(self) -> torch.device:
        return self.package.device

    def train(self, mode: bool) -> None:
        self.package.train(mode)
        self.reference.train(mode)


def pair_of(
    shape: str,
    dtype: str,
    prompt: int,
    layout: str,
    projector: str = "efp",
    device: str = "cpu",
    causal: PreTrainedModel | None = None,
) -> Pair:
    """Random weights, or around the LLM, adapters included, of another pair."""
    config = detector_config(shape, dtype, prompt, layout=layout, projector=projector)
    if causal is not None:
        config.lora = None
    return pair_around(config, causal or causal_llm(shape, dtype), device)


def pair_around(config: AULLMConfig, causal: PreTrainedModel, device: str = "cpu") -> Pair:
    package = AULLMForAUDetection(config, llm=causal.model).to(device)
    return Pair(package, ReferenceDetector.like(package, causal.to(device)), causal)


def parts_of_batch(pair: Pair, batch: int, train: bool) -> int:
    """In how many parts the reference takes a batch, so that three fifths of the free memory hold what it keeps."""
    text, each = pair.package.config.text_config, pair.package.model.llm.dtype.itemsize
    tokens = batch * tokens_of(pair.package)
    kept = (
        activation_bytes(text, tokens, each)
        if train
        else each * (text.num_hidden_layers + 8) * tokens * text.hidden_size
    )
    needed = kept + tokens * text.vocab_size * each
    cuda = pair.device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if cuda else psutil.virtual_memory().available
    return max(1, math.ceil(needed / (0.6 * free)))


def tokens_of(detector: AULLMForAUDetection) -> int:
    """Of one clip's whole prompt."""
    return sum(len(part) if isinstance(part, list) else 1 for part in detector.config.prompt_segments)


def package_tokens(detector: AULLMForAUDetection, batch: int, kept: bool) -> tuple[int, int, int]:
    """(sequences, tokens of each that are run, tokens of each that stand in a cache), as the cost rule packs them."""
    segments = detector.config.prompt_segments
    prefix, total = len(segments[0]) if isinstance(segments[0], list) else 0, tokens_of(detector)
    k = detector.model.prompt._clips_per_sequence(detector.model.llm, batch, prefix, total - prefix)
    if k == 1:
        return batch, total, 0
    own = k * (total - prefix)
    return (-(-batch // k), own, prefix) if kept else (-(-batch // k), prefix + own, 0)


# -------------------------------------------------------------------- the LLM's pass


def llm_rows(pair: Pair, batches: list[int], repeats: int, rate: float, headless: bool, said: dict) -> list[dict]:
    """Forward alone, forward and backward, and inference, for every batch."""
    rows = []
    for batch in batches:
        for phase in ("forward", "training", "inference"):
            rows.append(said | llm_row(pair, batch, phase, repeats, rate, headless))
    return rows


def llm_row(pair: Pair, batch: int, phase: str, repeats: int, rate: float, headless: bool = False) -> dict:
    pair.train(phase != "inference")
    body, text = pair.package.model, pair.package.config.text_config
    token = torch.randn(batch, text.hidden_size, device=pair.device) * 0.02
    parts = parts_of_batch(pair, batch, phase != "inference")

    def package(slot: torch.Tensor, k: int | None) -> torch.Tensor:
        body.prompt.clips_per_sequence = k
        return body.prompt(body.llm, {"visual": slot}, len(slot)).last_hidden

    def run(read: Callable[[torch.Tensor], torch.Tensor], parts: int) -> None:
        for slot in token.chunk(parts):
            with torch.set_grad_enabled(phase != "inference"):
                state = read(slot.clone().requires_grad_(phase != "inference"))
                if phase == "training":
                    state.float().square().mean().backward()
        pair.package.zero_grad()

    passes = {"reference": lambda: run(pair.reference.read, parts)}
    if headless:
        passes["headless"] = lambda: run(lambda slot: package(slot, 1), parts)
    passes["package"] = lambda: run(lambda slot: package(slot, None), 1)
    seconds = by_turns(passes, repeats, pair.device)

    body.prompt.clips_per_sequence = None
    rank, whole = 16, tokens_of(pair.package)
    sequences, length, kept = package_tokens(pair.package, batch, phase == "inference")
    backward = phase == "training"
    work = {
        "reference": llm_flops(text, batch, whole, rank=rank, head=True, backward=backward),
        "package": llm_flops(text, sequences, length, kept=kept, rank=rank, read=batch, backward=backward),
    }
    return {
        "batch": batch,
        "phase": phase,
        "tokens reference": batch * whole,
        "tokens package": sequences * length,
        "TFLOP reference": work["reference"] / 1e12,
        "TFLOP package": work["package"] / 1e12,
        **{f"s {name}": spent for name, spent in seconds.items()},
        "ratio": seconds["reference"] / seconds["package"],
        **({"ratio headless": seconds["headless"] / seconds["package"]} if headless else {}),
        **{f"rate {name}": work[name] / seconds[name] / rate for name in work},
        "reference taken in parts": parts,
    }


# -------------------------------------------------------------------- the whole step


def random_clips(count: int, size: int, labels: int, frames: int = FRAMES) -> Clips:
    """Noise: nothing is learned from it, and nothing takes longer or shorter for that."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count * frames, size, size), dtype=np.uint8)
    table = {key: [f"{key}{row}" for row in range(count)] for key in ("clip_id", "dataset", "subject", "aus")}
    shown = (rng.random((count, labels)) < 0.2).astype(np.float32)
    return Clips(pixels, np.arange(count + 1) * frames, shown, table)


def package_step(pair: Pair, clips: Clips, clock: StepClock) -> Callable[[], None]:
    """Batch, forward, backward, Adam with L2, as the runner does them."""
    model, device = pair.package, pair.device
    batches = Batches(clips, AULLMVideoProcessor.for_config(model.config), resident=Resident.of(clips, device))
    optimizer = adam_with_l2(model.trained_parameters(), PUBLISHED)
    draws = [(row, 0, 0) for row in range(len(clips))]
    clock.listen(model.model.led, model.model.backbone, model.model.projector, model.classifier)
    return timed_step(model, optimizer, clock, device, lambda: [(batches(draws), 1.0)])


def reference_step(pair: Pair, clips: Clips, clock: StepClock, parts: int) -> Callable[[], None]:
    """The same of the reference: clips one by one, the batch in parts where it would not fit."""
    model, device = pair.reference, pair.device
    items = ClipItems(clips, range(len(clips)), model.config.num_frames, train=True)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=PUBLISHED.learning_rate, weight_decay=PUBLISHED.weight_decay)
    clock.listen(model.led, model.backbone, model.projector, model.classifier)

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


def step_rows(pair: Pair, batches: list[int], repeats: int, said: dict) -> tuple[list[dict], list[dict]]:
    """A row a whole step, and a row for each of its parts."""
    whole, parted = [], []
    config = pair.package.config
    pair.train(True)
    for batch in batches:
        clips = random_clips(batch, config.image_size, config.num_labels)
        parts = parts_of_batch(pair, batch, True)
        clocks = {name: StepClock(pair.device) for name in ("reference", "package")}
        steps = {
            "reference": reference_step(pair, clips, clocks["reference"], parts),
            "package": package_step(pair, clips, clocks["package"]),
        }
        spent = medians_by_turns(steps, clocks, repeats)
        for clock in clocks.values():
            clock.close()
        reference, package = spent["reference"], spent["package"]
        seconds = {name: sum(one.values()) for name, one in spent.items()}
        vision = ("LED", "3D-CNN")
        same = seconds["reference"] + sum(package[part] - reference[part] for part in vision)
        row = said | {"projector": config.projector, "batch": batch}
        whole.append(
            row
            | {f"s {name}": value for name, value in seconds.items()}
            | {
                "ratio": seconds["reference"] / seconds["package"],
                "ratio with the package's LED and 3D-CNN": same / seconds["package"],
                "clips/s package": batch / seconds["package"],
                "reference taken in parts": parts,
            }
        )
        for part in package:
            ratio = reference[part] / package[part]
            parted.append(
                row | {"part": part, "s reference": reference[part], "s package": package[part], "ratio": ratio}
            )
    return whole, parted
