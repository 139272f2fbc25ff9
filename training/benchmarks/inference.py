r"""Inference: the LLM's pass, and from folders of JPEG frames to logits, the reference's loop against AUDetector.

    python training/benchmark.py inference                                                  # tiny, to try it
    python training/benchmark.py inference --shape 0.5b --dtype bfloat16 --batch 32 128

Both read the same folders with the same weights. The reference reads the sampled frames of a folder one by one with
OpenCV, shrinks them, and gives the model a batch when it is full. Faces are taken as they are (`face: none`) in both.
"""

import argparse
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from aullm_hf.data.faces import FaceRecipe
from aullm_hf.inference import AUDetector
from aullm_hf.model import AULLMVideoProcessor
from benchmarks.clips import write_clips
from benchmarks.llm import add_headless_argument, llm_row, machine_rate, machine_row
from benchmarks.pair import Pair, build_pair
from benchmarks.shapes import add_prompt_arguments, add_shape_arguments, prompt_settings
from benchmarks.step import FRAMES
from benchmarks.timing import median_seconds

SIDE = 256  # pixels of the square frames


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shape_arguments(parser)
    add_prompt_arguments(parser)
    add_headless_argument(parser)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    rate, passes, folders = machine_rate(args), [], []
    for setting in prompt_settings(args):
        pair = build_pair(**setting, device=args.device)
        for batch in args.batch:
            passes.append(setting | llm_row(pair, batch, "inference", args.repeats, rate, args.headless))
            folders.append(setting | folders_row(pair, batch, args.repeats))
    return {
        "the machine": [machine_row(args, rate)],
        "inference, the LLM's pass": passes,
        "inference, from folders": folders,
    }


def folders_row(pair: Pair, batch: int, repeats: int) -> dict:
    """Two batches of clips, each a folder of frames."""
    pair.train(False)
    processor = AULLMVideoProcessor.for_config(pair.package.config, face=FaceRecipe("none").to_dict())
    options = {"device": str(pair.device), "face": "none", "window": 0, "batch_size": batch}
    detector = AUDetector(pair.package, processor=processor, **options)
    with TemporaryDirectory() as folder:
        clips = write_clips(Path(folder), clips=2 * batch, frames=FRAMES, width=SIDE, height=SIDE, form="folder")
        passes = {
            "reference": partial(reference_logits, pair, [clip.path for clip in clips], batch),
            "package": lambda: deque(detector.detect(clips), maxlen=0),
        }
        seconds = median_seconds(passes, repeats, pair.device)
    return {
        "batch": batch,
        "phase": "JPEG folders to logits",
        **{f"clips/s {name}": len(clips) / spent for name, spent in seconds.items()},
        "ratio": seconds["reference"] / seconds["package"],
    }


@torch.no_grad()
def reference_logits(pair: Pair, folders: Sequence[Path], batch_size: int) -> torch.Tensor:
    config, logits, waiting = pair.reference.config, [], []
    for at, folder in enumerate(folders):
        files = sorted(folder.iterdir(), key=lambda path: int(path.stem.removeprefix("img")))
        frames = []
        for index in np.round(np.linspace(0, len(files) - 1, config.num_frames)).astype(int):
            grey = cv2.imread(str(files[index]), cv2.IMREAD_GRAYSCALE)
            small = cv2.resize(grey, (config.image_size, config.image_size), interpolation=cv2.INTER_AREA)
            frames.append(torch.from_numpy(small).float() / 255)
        waiting.append(torch.stack(frames)[:, None])
        if len(waiting) == batch_size or at == len(folders) - 1:
            logits.append(pair.reference(torch.stack(waiting).to(pair.device))["logits"].float().cpu())
            waiting = []
    return torch.cat(logits)
