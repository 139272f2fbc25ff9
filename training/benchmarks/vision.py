r"""What a training step costs outside the LLM: 3D-CNN, filter, projectors, optimizer. Random weights, real shapes.

    python training/benchmark.py vision                                     # batch 32, as many threads as cores
    python training/benchmark.py vision --batch 256 --out bench
    python training/benchmark.py vision --compile                           # torch.compile beside it

Forward and backward, gradients of the input included (the filter is trained). Kinds of one part run alternately in
one process; a ratio is of medians, to the part's first kind. Under bf16 the weights stay float32, as in training.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from aullm_hf.model import AULLMConfig, AULLMVideoProcessor
from aullm_hf.model.backbone import HighLevelHead, MotionBackbone
from aullm_hf.model.led import TemporalFilter
from aullm_hf.model.projectors import PROJECTORS
from aullm_hf.training.batches import Augmentation, Batches
from aullm_hf.training.clips import Clips, Resident
from benchmarks.shapes import SHAPES, add_device_argument, detector_config
from benchmarks.timing import median_seconds, synchronize


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(repeats=5)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["0.5b", "1.5b"], help="sizes of the LLM")
    parser.add_argument("--batch", type=int, default=32, help="clips at once")
    parser.add_argument("--compile", action="store_true", help="also the 3D-CNN under torch.compile")
    add_device_argument(parser)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    kinds = kinds_of_parts(args.shape, args.batch, args.device)
    rows = [row for part, passes in kinds.items() for row in rows_of(part, passes, args)]
    if args.compile:
        passes, seconds = compiled_backbone(detector_config("0.5b", "float32", 1), args.batch, args.device)
        rows += rows_of("3D-CNN, torch.compile", passes, args)
        return {"outside the LLM": rows, "compiling the 3D-CNN": [{"s": seconds}]}
    return {"outside the LLM": rows}


class InThreeDimensions(MotionBackbone):
    """The same network with the first convolution and its pooling as conv3d and max_pool3d."""

    def _each_frame(self, motion: torch.Tensor) -> torch.Tensor:
        return self.pool1(self.conv1(motion)).relu()


class VisionPart(nn.Module):
    """From pixels to F_mid and F_high."""

    def __init__(self, config: AULLMConfig, backbone: type[MotionBackbone] = MotionBackbone):
        super().__init__()
        self.led, self.backbone, self.high = TemporalFilter(config), backbone(config), HighLevelHead(config)
        self.led.reset_parameters()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        f_mid, _ = self.backbone(self.led(pixels)[:, 1:].transpose(1, 2))
        return self.high(self.backbone.pool2(f_mid))


def training_pass(module: nn.Module, inputs: tuple[torch.Tensor, ...], bf16: bool) -> Callable[[], None]:
    """A function that runs one forward and one backward pass."""
    inputs = tuple(tensor.clone().requires_grad_() for tensor in inputs)

    def run() -> None:
        with torch.autocast(inputs[0].device.type, torch.bfloat16) if bf16 else nullcontext():
            output = module(*inputs)
        output = output[0] if isinstance(output, tuple) else output
        output.float().square().mean().backward()
        for tensor in (*inputs, *module.parameters()):
            tensor.grad = None

    return run


def rows_of(part: str, kinds: dict[str, Callable[[], None]], args: argparse.Namespace) -> list[dict]:
    seconds, batch = median_seconds(kinds, args.repeats, args.device), args.batch
    first = seconds[next(iter(kinds))]
    return [
        {
            "part": part,
            "kind": kind,
            "batch": batch,
            "ms": 1000 * seconds[kind],
            "clips/s": batch / seconds[kind],
            "times as fast": first / seconds[kind],
        }
        for kind in kinds
    ]


def backbones(config: AULLMConfig, batch: int, device: str) -> dict[str, Callable[[], None]]:
    side, frames = config.image_size, config.num_frames - 1
    motion = (torch.randn(batch, 1, frames, side, side, device=device),)
    flat, deep = MotionBackbone(config).to(device), InThreeDimensions(config).to(device)
    return {
        "conv3d float32": training_pass(deep, motion, False),
        "folded float32": training_pass(flat, motion, False),
        "conv3d bf16": training_pass(deep, motion, True),
        "folded bf16": training_pass(flat, motion, True),
    }


def compiled_backbone(config: AULLMConfig, batch: int, device: str) -> tuple[dict[str, Callable[[], None]], float]:
    """The 3D-CNN under torch.compile beside itself, and the seconds of its compilation, which a run pays once."""
    side, frames = config.image_size, config.num_frames - 1
    motion = (torch.randn(batch, 1, frames, side, side, device=device),)
    plain, faster = MotionBackbone(config).to(device), MotionBackbone(config).to(device)
    faster.compile()
    begun = time.perf_counter()
    training_pass(faster, motion, False)()
    synchronize(device)
    seconds = time.perf_counter() - begun
    kinds = {"plain float32": training_pass(plain, motion, False), "compiled": training_pass(faster, motion, False)}
    return kinds, seconds


def optimizers(config: AULLMConfig, device: str) -> dict[str, Callable[[], None]]:
    """Adam on a whole projector, as many weights as EFP has: one loop over tensors, grouped, or fused."""
    projector = PROJECTORS["efp"](config).to(device)
    for parameter in projector.parameters():
        parameter.grad = torch.randn_like(parameter)
    kinds = {"for-loop": {"foreach": False}, "foreach": {"foreach": True}, "fused": {"fused": True}}
    return {
        name: torch.optim.Adam(projector.parameters(), lr=1e-5, weight_decay=0.005, **how).step
        for name, how in kinds.items()
    }


def drawing(config: AULLMConfig, batch: int, device: str) -> dict[str, Callable[[], None]]:
    """Making a batch out of resident clips of 60 frames."""
    side = config.image_size
    frames = np.random.default_rng(0).integers(0, 256, (255 * 60, side, side), np.uint8)
    clips = Clips(frames, np.arange(256) * 60, np.zeros((255, 8), np.float32), {})
    processor = AULLMVideoProcessor.for_config(config)
    draws = [(row % 255, row // 255, 0) for row in range(batch)]
    resident = Resident.of(clips, device)
    plain = Batches(clips, processor, resident=resident)
    everything = Augmentation(flip=0.5, shift=2, zoom=0.03, brightness=0.1)
    every = Batches(clips, processor, resident=resident, augmentation=everything)
    return {"frames alone": lambda: plain(draws), "every augmentation": lambda: every(draws)}


def kinds_of_parts(shapes: list[str], batch: int, device: str) -> dict[str, dict[str, Callable[[], None]]]:
    """Every part, and the ways to run it that are compared."""
    config = detector_config(shapes[0], "float32", 1)
    pixels = (torch.rand(batch, config.num_frames, 1, config.image_size, config.image_size, device=device),)
    filtering = TemporalFilter(config).to(device)
    filtering.reset_parameters()
    deep, flat = VisionPart(config, InThreeDimensions).to(device), VisionPart(config).to(device)
    parts = {
        "3D-CNN": backbones(config, batch, device),
        "LED": {"float32": training_pass(filtering, pixels, False)},
        "whole vision part": {
            "conv3d float32": training_pass(deep, pixels, False),
            "folded float32": training_pass(flat, pixels, False),
            "folded bf16": training_pass(flat, pixels, True),
        },
    }
    for shape in shapes:
        config = detector_config(shape, "float32", 1)
        f_mid = torch.randn(batch, *config.mid_shape, device=device)
        f_high = torch.randn(batch, config.high_dim, device=device)
        both = torch.cat([f_mid.flatten(1), f_high], dim=1)
        efp = PROJECTORS["efp"](config).to(device)
        parts[f"projector, d = {config.text_config.hidden_size}"] = {
            "EFP float32": training_pass(efp, (both,), False),
            "EFP bf16": training_pass(efp, (both,), True),
        }
        parts[f"Adam on EFP, d = {config.text_config.hidden_size}"] = optimizers(config, device)
    parts["a batch"] = drawing(config, batch, device)
    return parts
