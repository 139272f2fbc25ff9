r"""A detector by PyTorch and by onnxruntime: clips per second of both in one run, on as many threads.

    python training/benchmark.py onnx                                   # the checkpoint that comes with the package
    python training/benchmark.py onnx --model CHECKPOINT --batch 1 32 --threads 1

Only the network runs, on clips that are pixel values already.
"""

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from aullm_hf.inference import AUDetector, export_onnx
from aullm_hf.inference.onnx_models import random_clips
from benchmarks.timing import median_seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="a folder with a checkpoint, or a repository (default: the package's own)")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32], help="clips at once")


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    with TemporaryDirectory() as folder:
        (file,) = export_onnx(args.model, Path(folder) / "detector.onnx")
        of_torch, of_onnx = AUDetector(args.model, device="cpu", face="none"), AUDetector(file, face="none")
        return {"PyTorch and onnxruntime": [row(of_torch, of_onnx, batch, args.repeats) for batch in args.batch]}


def row(of_torch: AUDetector, of_onnx: AUDetector, batch: int, repeats: int) -> dict:
    clips = random_clips(of_torch.model.config, batch)
    passes = {"PyTorch": partial(logits_of, of_torch, clips), "onnxruntime": partial(logits_of, of_onnx, clips)}
    seconds = median_seconds(passes, repeats)
    return {
        "batch": batch,
        **{f"clips/s {name}": batch / spent for name, spent in seconds.items()},
        "ratio": seconds["PyTorch"] / seconds["onnxruntime"],
        "largest difference of a logit": float(np.abs(passes["PyTorch"]() - passes["onnxruntime"]()).max()),
    }


@torch.inference_mode()
def logits_of(detector: AUDetector, pixel_values: torch.Tensor) -> np.ndarray:
    return detector.model(pixel_values).logits.float().numpy()
