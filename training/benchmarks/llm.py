r"""The LLM's pass: forward, forward and backward, and inference, by the reference and by the package.

    python training/benchmark.py llm                                                        # tiny, to try it
    python training/benchmark.py llm --shape 0.5b --dtype bfloat16 --batch 32 128
    python training/benchmark.py llm --shape 0.5b --dtype bfloat16 --batch 32 --prompt 4 16 64
    python training/benchmark.py llm --shape 0.5b --dtype bfloat16 --batch 32 --layout "visual first"

`headless` (--headless) is between the two: the package's own pass (no head, no kept states), but the prompt once per
clip. `rate` is the share of what a large matrix product reaches on this machine,
which is measured first: the physical limit. A batch that would not fit is taken in parts by the reference; its row
says so.
"""

import argparse
from collections.abc import Callable

import torch

from benchmarks.flops import llm_flops, matrix_rate
from benchmarks.pair import Pair, build_pair, packed_tokens, parts_of_batch, prompt_tokens
from benchmarks.shapes import add_prompt_arguments, add_shape_arguments, prompt_settings
from benchmarks.timing import median_seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shape_arguments(parser)
    add_prompt_arguments(parser)
    add_headless_argument(parser)


def add_headless_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--headless", action="store_true", help="a third pass: no head, but the prompt once per clip")


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    rate, rows = machine_rate(args), []
    for setting in prompt_settings(args):
        pair = build_pair(**setting, device=args.device)
        for batch in args.batch:
            for phase in ("forward", "training", "inference"):
                rows.append(setting | llm_row(pair, batch, phase, args.repeats, rate, args.headless))
    return {"the machine": [machine_row(args, rate)], "the LLM's pass": rows}


def machine_rate(args: argparse.Namespace) -> float:
    return matrix_rate(getattr(torch, args.dtype), args.device)


def machine_row(args: argparse.Namespace, rate: float) -> dict:
    return {"dtype": args.dtype, "device": str(args.device), "measured TFLOP/s": rate / 1e12}


def llm_row(pair: Pair, batch: int, phase: str, repeats: int, rate: float, headless: bool = False) -> dict:
    pair.train(phase != "inference")
    body, text = pair.package.model, pair.package.config.text_config
    token = torch.randn(batch, text.hidden_size, device=pair.device) * 0.02
    parts = parts_of_batch(pair, batch, phase != "inference")

    def run_package(slot: torch.Tensor, k: int | None) -> torch.Tensor:
        body.prompt.clips_per_sequence = k
        return body.prompt(body.llm, {"visual": slot}, len(slot)).last_hidden_state

    def run(run_llm: Callable[[torch.Tensor], torch.Tensor], parts: int) -> None:
        for slot in token.chunk(parts):
            with torch.set_grad_enabled(phase != "inference"):
                state = run_llm(slot.clone().requires_grad_(phase != "inference"))
                if phase == "training":
                    state.float().square().mean().backward()
        pair.package.zero_grad()

    passes = {"reference": lambda: run(pair.reference.run_llm, parts)}
    if headless:
        passes["headless"] = lambda: run(lambda slot: run_package(slot, 1), parts)
    passes["package"] = lambda: run(lambda slot: run_package(slot, None), 1)
    seconds = median_seconds(passes, repeats, pair.device)

    body.prompt.clips_per_sequence = None
    rank, whole = 16, prompt_tokens(pair.package)
    sequences, length, cached = packed_tokens(pair.package, batch, phase == "inference")
    backward = phase == "training"
    work = {
        "reference": llm_flops(text, batch, whole, rank=rank, head=True, backward=backward),
        "package": llm_flops(text, sequences, length, cached=cached, rank=rank, backward=backward),
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
