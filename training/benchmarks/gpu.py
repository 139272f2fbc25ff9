r"""All that a GPU should be measured for, in eight minutes, smallest first.

NOT YET RUN ON A GPU: what a CPU has of it is tested, with a tiny LLM.

    python training/benchmark.py gpu --out bench                            # on a GPU
    python training/benchmark.py gpu --device cpu --shapes tiny --batch 4 --folds 1 --epochs 2     # to try it

agree   logits and gradients: the package on the device, beside the reference there and beside itself on the CPU
step    training steps with a bfloat16 LLM: as it is, compiled, and compiled with CUDA graphs; peak memory
infer   the same of logits, and which share of the device's large matrix products the LLM's pass reaches
loso    folds of a CASME II-shaped run (255 clips, one step of 256 an epoch), and what all 26 would take

A stage that fails is a row that says why, and the next one begins; when the minutes are spent, the rest is not run,
and says so. With --out, gpu.json is written after every stage.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoTokenizer

from aullm_hf.tiny_llm import build_tiny_llm
from aullm_hf.training.compiling import compiled_parts
from benchmarks.flops import llm_flops, matrix_rate
from benchmarks.pair import Pair, build_pair, packed_tokens
from benchmarks.shapes import SHAPES, add_device_argument, causal_llm
from benchmarks.step import package_step, random_clips
from benchmarks.tables import markdown_of, write_tables
from benchmarks.timing import StepClock, median_seconds

MODES = {"as it is": None, "compiled": "default", "CUDA graphs": "reduce-overhead"}  # of torch.compile
PROMPT = 16  # text tokens beside the visual one
ENOUGH = 20  # seconds that a stage is not begun with less than
CLONE = Path(__file__).parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device_argument(parser)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["0.5b", "1.5b"], help="sizes of the LLM")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256], help="clips at once")
    parser.add_argument("--folds", type=int, default=3, help="of `loso`: how many are trained")
    parser.add_argument("--epochs", type=int, default=350, help="of `loso`")
    parser.add_argument("--subjects", type=int, default=26, help="of `loso`: CASME II has 26")
    parser.add_argument("--clips_per_subject", default="published", help="of `loso`: CASME II has 255 in all")
    parser.add_argument("--minutes", type=float, default=8, help="after which no further stage begins")


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    end, rows = time.monotonic() + 60 * args.minutes, []
    for name, stage in stages_of(args):
        begun = time.monotonic()
        found = found_by(stage, end - begun)
        rows.append({"stage": name, "found": found, "seconds": time.monotonic() - begun})
        print(f"{name}: {found}", flush=True)
        if args.out:
            write_tables(args.out, "gpu", {"gpu": rows}, markdown_of({"gpu": rows}))
    return {"gpu": rows}


def found_by(stage: Callable[[float], dict[str, float]], left: float) -> str:
    """The figures of a stage, or why there are none."""
    if left < ENOUGH:
        return "not run: the minutes were spent"
    try:
        return ", ".join(f"{name} {value:.4g}" for name, value in stage(left).items())
    except Exception as error:  # what a GPU may say is not known beforehand, and the other stages count too
        return f"FAILED: {type(error).__name__}: {' '.join(str(error).split())[:300]}"


def stages_of(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[float], dict]]]:
    """What is measured, in its order: a name, and what is called with the seconds that are left."""
    device = args.device
    yield "agree, tiny", partial(agreement, "tiny", device)
    for shape in args.shapes:
        for batch in args.batch:
            for mode in MODES:
                yield f"step, {shape}, batch {batch}, {mode}", partial(step, shape, batch, mode, device, args.repeats)
                yield (
                    f"infer, {shape}, batch {batch}, {mode}",
                    partial(infer, shape, batch, mode, device, args.repeats),
                )
    yield f"loso, {args.shapes[-1]}, {args.folds} folds", partial(folds, args)


def agreement(shape: str, device: str, left: float) -> dict[str, float]:
    """The largest differences over the largest values."""
    pair = build_pair(shape, "float32", PROMPT, "text first")
    pair.train(False)
    torch.manual_seed(0)
    for name, parameter in pair.package.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # fresh adapters say nothing
    config = pair.package.config
    pixels = torch.rand(7, config.num_frames, 1, config.image_size, config.image_size)
    labels = (torch.rand(7, config.num_labels) < 0.3).float()
    on_cpu = _logits_and_gradient(pair.package, pixels, labels)
    pair.package.to(device), pair.reference.to(device)
    on_device = _logits_and_gradient(pair.package, pixels.to(device), labels.to(device))
    reference = _logits_and_gradient(pair.reference, pixels.to(device), labels.to(device))
    found = {}
    for name, other in (("CPU", on_cpu), ("reference", reference)):
        for what, one, two in zip(("logits", "gradient"), on_device, other, strict=True):
            found[f"{what} beside {name}"] = float((one - two).abs().max() / two.abs().max())
    return found


def _logits_and_gradient(model: torch.nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    out = model(pixels, labels=labels)
    out["loss"].backward()
    gradient = next(weight.grad for name, weight in model.named_parameters() if name.endswith("conv1.weight"))
    return [out["logits"].detach().cpu(), gradient.clone().cpu()]


def step(shape: str, batch: int, mode: str, device: str, repeats: int, left: float) -> dict[str, float]:
    pair = pair_in(mode, shape, device)
    pair.train(True)
    clips = random_clips(batch, pair.package.config.image_size, pair.package.config.num_labels)
    clock = StepClock(device)
    found = _timed(package_step(pair.package, clips, clock), batch, device, repeats)
    clock.close()  # `infer` goes on with the same models
    return found


def infer(shape: str, batch: int, mode: str, device: str, repeats: int, left: float) -> dict[str, float]:
    pair = pair_in(mode, shape, device)
    pair.train(False)
    config = pair.package.config
    pixels = torch.rand(batch, config.num_frames, 1, config.image_size, config.image_size, device=device)
    with torch.no_grad():
        found = _timed(lambda: pair.package(pixels), batch, device, repeats)
    sequences, length, cached = packed_tokens(pair.package, batch, cached=True)
    work = llm_flops(config.text_config, sequences, length, cached=cached, rank=16)
    return found | {"share of the matrix rate": work / found["s"] / matrix_rate(pair.package.model.llm.dtype, device)}


@lru_cache(maxsize=1)  # drawn once per shape
def pair_of(shape: str, device: str) -> Pair:
    with torch.device(device):
        return build_pair(shape, "bfloat16", PROMPT, "text first", device=device)


def pair_in(mode: str, shape: str, device: str) -> Pair:
    """The shape's models, compiled as `mode` says and in no other way."""
    pair = pair_of(shape, device)
    torch._dynamo.reset()
    for part in compiled_parts(pair.package):
        part._compiled_call_impl = None
        if MODES[mode] is not None:
            part.compile(mode=MODES[mode])
    return pair


def _timed(run: Callable[[], object], batch: int, device: str, repeats: int) -> dict[str, float]:
    cuda = torch.device(device).type == "cuda"
    run()  # compiles
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = median_seconds({"run": run}, repeats, device)["run"]
    found = {"s": seconds, "clips/s": batch / seconds}
    return found | ({"peak GiB": torch.cuda.max_memory_allocated() / 2**30} if cuda else {})


def folds(args: argparse.Namespace, left: float) -> dict[str, float]:
    """A run as a user starts it, around an LLM of random weights; stopped when the minutes are spent."""
    with TemporaryDirectory() as folder:
        llm, run = Path(folder) / "llm", Path(folder) / "run"
        write_llm(llm, args.shapes[-1])
        command = [sys.executable, str(CLONE / "training" / "train.py"), "--config", "casme2-qwen2-code"]
        command += ["--llm_name_or_path", str(llm), "--datasets", "synthetic-casme2", "--difficulty", "easy"]
        command += [
            "--subjects",
            str(args.subjects),
            "--clips_per_subject",
            args.clips_per_subject,
            "--final_fit",
            "false",
        ]
        command += ["--folds", *(f"sub{number:02d}" for number in range(1, args.folds + 1))]
        command += ["--num_train_epochs", str(args.epochs), "--output_dir", str(run)]
        command += ["--use_cpu", "true"] if torch.device(args.device).type == "cpu" else []
        errors = start(command, left)
        seconds = [json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in run.glob("folds/*/fold.json")]
        if not seconds:
            raise RuntimeError(errors.strip()[-300:])
    mean = sum(seconds) / len(seconds)
    return {"folds": len(seconds), "s a fold": mean, f"minutes for {args.subjects}": args.subjects * mean / 60}


def start(command: list[str], seconds: float) -> str:
    """What a process of its own writes to stderr in that time."""
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds).stderr


def write_llm(folder: Path, shape: str) -> None:
    """An LLM of random weights in a folder, with the tiny LLM's tokenizer."""
    with TemporaryDirectory() as tiny:
        tokenizer = AutoTokenizer.from_pretrained(build_tiny_llm(Path(tiny) / "llm"))
    causal_llm(shape, "bfloat16").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
