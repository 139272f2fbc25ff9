r"""How fast the package is: one part at a time, as medians and ratios. Random weights of the real shapes; and, as a
part of its own, how far a model agrees with another tool on real footage.

    python training/benchmark.py llm                                                     # tiny, to try it
    python training/benchmark.py llm --shape 0.5b --dtype bfloat16 --batch 32 128
    python training/benchmark.py step --shape 1.5b --dtype bfloat16 --batch 32 --projector efp linear
    python training/benchmark.py loso --subjects 3 --clips_per_subject 4 --epochs 1
    python training/benchmark.py footage VIDEOS --table blendshapes.csv --model CHECKPOINT
    python training/benchmark.py PART --help                                             # more on a part

`reference` is a loop of the published code's shape, written from its description (benchmarks/reference.py says exactly
what it does); `package` is this package. What is compared runs alternately in one process.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

import torch
from benchmarks.tables import markdown_of, write_tables

# Each part is a module of benchmarks/ with `add_arguments` and `measure`; it is imported when it is named.
PARTS = {
    "llm": "the LLM's pass: reference and package",
    "step": "a whole training step and its parts: reference and package",
    "inference": "from folders of frames to logits: reference and package",
    "files": "saving and loading a fold's checkpoint: reference and package",
    "loso": "whole leave-one-subject-out runs: reference, package, processes side by side",
    "modules": "what AULLM++ costs beside AU-LLM",
    "vision": "what a training step costs outside the LLM",
    "waits": "what people wait for, each beside its reference: `make benchmark`",
    "gpu": "all that a GPU should be measured for, in eight minutes",
    "reading": "how fast clips are read, and whether reading hides behind the model",
    "live": "how many frames of a camera the live page looks at per second",
    "spotting": "how well expressions are spotted in long recordings, beside simple methods",
    "memory": "the memory of a training step, from sizes alone",
    "onnx": "a detector by PyTorch and by onnxruntime",
    "footage": "not speed: how far a model agrees with an independent tool on real footage",
    "photographs": "not speed: how well a model reads known motions in the skin of real faces",
    "changes": "not speed: how far spotted expressions agree with such a tool",
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = parse(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{args.threads} threads, torch {torch.__version__}, {_processor(args)}", flush=True)
    tables = part_module(args.part).measure(args)
    markdown = markdown_of(tables)
    print(markdown)
    if args.out:
        write_tables(args.out, args.part, tables, markdown)
    return 0


def parse(argv: list[str]) -> argparse.Namespace:
    shown = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(description=__doc__, **shown)
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    for name, text in PARTS.items():
        part = parts.add_parser(name, help=text, **shown)
        part.add_argument("--repeats", type=int, default=3, help="measurements that the median is taken of")
        part.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of torch on a CPU")
        part.add_argument("--out", type=Path, help="folder for PART.json and PART.md")
        if name in argv[:1]:
            module = part_module(name)
            part.description = module.__doc__
            module.add_arguments(part)
    return parser.parse_args(argv)


def part_module(name: str):
    return import_module(f"benchmarks.{name}")


def _processor(args: argparse.Namespace) -> str:
    device = torch.device(getattr(args, "device", "cpu"))
    return torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()


if __name__ == "__main__":
    raise SystemExit(main())
