r"""What folds gain by going through the LLM together (`train.py --folds_per_step`). Random weights of the real shapes.

    python training/benchmark_folds.py --shape 0.1b --batch 1 4 --folds 2 4
    python training/benchmark_folds.py --shape 0.5b --dtype bfloat16 --batch 1 4 16 --folds 4 --vision small
    python training/benchmark_folds.py --shape 1.5b --dtype bfloat16 --batch 8 --folds 8 --device cuda

A step is what the Trainers of k folds do: forward from the pixels, backward, Adam on everything trained, for each of k
models around one LLM; `apart` one after the other, `joint` with one pass of the LLM for all. Both take turns, and the
ratio is of medians; above 1 the joint step is the faster one. `--vision small` leaves next to nothing beside the LLM,
so that the pass itself is seen; the published 3D-CNN and projector (the default) each fold has for itself.
"""

import argparse
import os
from pathlib import Path

import torch
from benchmark_shapes import SHAPES, SMALL_VISION, detector_config
from benchmark_timing import by_turns, table, write_rows
from joint_llm import JointLLM, beside

from aullm_hf.model import AULLMForAUDetection

VISION = {"published": {}, "small": SMALL_VISION | {"projector_hidden": 64}}


class Fold:
    """A model with its optimizer and a batch of its own."""

    def __init__(self, model: AULLMForAUDetection, batch: int, device: torch.device):
        config, self.model = model.config, model.to(device).train()
        self.optimizer = torch.optim.Adam(model.trained_parameters().values(), lr=1e-5, fused=True)
        self.batch = {
            "pixel_values": torch.rand(
                batch, config.num_frames, 1, config.image_size, config.image_size, device=device
            ),
            "labels": (torch.rand(batch, config.num_labels, device=device) < 0.2).float(),
        }

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.model(**self.batch).loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()


def measure(
    model: AULLMForAUDetection, batch: int, count: int, steps: int, repeats: int, device: torch.device
) -> dict:
    """Seconds of a step of `count` folds, joint and apart."""
    joint = JointLLM(model, count, device)
    together = [Fold(one, batch, device) for one in joint.models]
    apart = [Fold(beside(model, model.model.llm), batch, device) for _ in range(count)]
    seconds = by_turns(
        {
            "joint": lambda: joint.run(lambda member: together[member].train(steps)),
            "apart": lambda: [fold.train(steps) for fold in apart],
        },
        repeats,
        device,
    )
    return {
        "batch": batch,
        "folds": count,
        "joint_s": seconds["joint"] / steps,
        "apart_s": seconds["apart"] / steps,
        "ratio": seconds["apart"] / seconds["joint"],
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="0.1b")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--prompt", type=int, default=16, help="text tokens before the visual one")
    parser.add_argument("--vision", choices=VISION, default="published")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16], help="clips a fold")
    parser.add_argument("--folds", type=int, nargs="+", default=[4])
    parser.add_argument("--steps", type=int, default=3, help="steps that are timed together")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="folder for folds.json and folds.md")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    fields = {} if args.shape == "tiny" else VISION[args.vision]  # the tiny shape is small by itself
    model, rows = AULLMForAUDetection(detector_config(args.shape, args.dtype, args.prompt, **fields)), []
    named = {"shape": args.shape, "dtype": args.dtype, "device": device.type}
    for count in args.folds:
        for batch in args.batch:
            rows.append(named | measure(model, batch, count, args.steps, args.repeats, device))
    print(table(rows))
    if args.out:
        write_rows(args.out, "folds", rows, table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
