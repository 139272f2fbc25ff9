"""From folders of JPEG frames to logits: the reference's loop against AUDetector, on the same folders and weights.

The reference reads the sampled frames of a folder one by one with OpenCV, shrinks them, and gives the model a batch
when it is full. Faces are taken as they are (`face: none`) in both.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch

from aullm_hf.data.faces import FaceRecipe
from aullm_hf.inference import AUDetector
from aullm_hf.inference.reading.sources import Source
from aullm_hf.model import AULLMVideoProcessor
from benchmarks.clips import write_clips
from benchmarks.passes import FRAMES, Pair
from benchmarks.timing import by_turns


@torch.no_grad()
def reference_logits(pair: Pair, folders: Sequence[Path], batch_size: int) -> torch.Tensor:
    config, found, waiting = pair.reference.config, [], []
    for at, folder in enumerate(folders):
        files = sorted(folder.iterdir(), key=lambda path: int(path.stem.removeprefix("img")))
        frames = []
        for index in np.round(np.linspace(0, len(files) - 1, config.num_frames)).astype(int):
            grey = cv2.imread(str(files[index]), cv2.IMREAD_GRAYSCALE)
            small = cv2.resize(grey, (config.image_size, config.image_size), interpolation=cv2.INTER_AREA)
            frames.append(torch.from_numpy(small).float() / 255)
        waiting.append(torch.stack(frames)[:, None])
        if len(waiting) == batch_size or at == len(folders) - 1:
            found.append(pair.reference(torch.stack(waiting).to(pair.device))["logits"].float().cpu())
            waiting = []
    return torch.cat(found)


def folder_rows(pair: Pair, batches: list[int], repeats: int, said: dict, size: int = 256) -> list[dict]:
    """Square pictures of `size` pixels, a batch of clips twice over."""
    pair.train(False)
    processor = AULLMVideoProcessor.for_config(pair.package.config, face=FaceRecipe("none").to_dict())
    rows = []
    for batch in batches:
        options = {"device": str(pair.device), "window": 0, "batch_size": batch}
        detector = AUDetector(pair.package, processor=processor, **options)
        with TemporaryDirectory() as folder:
            clips = write_clips(Path(folder), clips=2 * batch, frames=FRAMES, width=size, height=size, form="folder")
            passes = {
                "reference": partial(reference_logits, pair, [clip.path for clip in clips], batch),
                "package": partial(_run_through, detector, clips),
            }
            seconds = by_turns(passes, repeats, pair.device)
        rows.append(
            said
            | {"batch": batch, "phase": "JPEG folders to logits"}
            | {f"clips/s {name}": len(clips) / spent for name, spent in seconds.items()}
            | {"ratio": seconds["reference"] / seconds["package"]}
        )
    return rows


def _run_through(detector: AUDetector, sources: list[Source]) -> None:
    for _ in detector.detect(sources):
        pass
