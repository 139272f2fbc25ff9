r"""How fast this package is beside the published loop's shape. Random weights of the real shapes; medians and ratios.

    python training/benchmark.py                                                        # the LLM's pass, tiny
    python training/benchmark.py --part llm --shape 0.5b --dtype bfloat16 --batch 32 128
    python training/benchmark.py --part llm --shape 0.5b --dtype bfloat16 --batch 32 --prompt 4 16 64
    python training/benchmark.py --part llm --shape 0.5b --dtype bfloat16 --batch 32 --layout "visual first"
    python training/benchmark.py --part step --shape 1.5b --dtype bfloat16 --batch 32 128 --projector efp mge
    python training/benchmark.py --part inference --shape 0.5b --dtype bfloat16 --batch 32 128
    python training/benchmark.py --part files --shape 0.5b --dtype bfloat16                # save and load
    python training/benchmark.py --part estimate --shape 1.5b                              # of a GPU that is not here

`reference` is the published loop's shape, written from its description (benchmarks/reference.py says exactly what it
does); `package` is this package; both run in one process, by turns, around one LLM. `headless` (--headless) is between
them: the package's own pass (no head, no kept states, the last MLP for what is read alone), but the prompt once a
clip. `rate` is the share of what a large matrix product reaches on this machine, which is measured first: the
physical limit. Whole runs: benchmarks/loso.py.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from benchmarks.estimate import estimate_rows
from benchmarks.files import saving_and_loading
from benchmarks.flops import matrix_rate
from benchmarks.folders import folder_rows
from benchmarks.passes import llm_row, llm_rows, pair_of, step_rows
from benchmarks.shapes import LAYOUTS, SHAPES
from benchmarks.timing import table, write_rows

PARTS = ("llm", "step", "inference", "files", "estimate")


def main(argv: list[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    parts = PARTS if "all" in args.part else args.part
    device = torch.device(args.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    print(f"{args.threads} threads, torch {torch.__version__}, {name}", flush=True)

    tables: dict[str, list[dict]] = {}
    if set(parts) & {"llm", "step", "inference"}:
        rate = matrix_rate(getattr(torch, args.dtype), device)
        tables["the machine"] = [{"dtype": args.dtype, "device": str(device), "measured TFLOP/s": rate / 1e12}]
    for prompt in args.prompt:
        for layout in args.layout:
            said = {"shape": args.shape, "dtype": args.dtype, "prompt": prompt, "layout": layout}
            for part in parts:
                if part in MEASURES:
                    for title, rows in MEASURES[part](args, rate, said).items():
                        tables.setdefault(title, []).extend(rows)
    if "files" in parts:
        tables["saving and loading"], promised = saving_and_loading(args.shape, args.dtype)
        tables["what loading promises"] = [promised]
    if "estimate" in parts:
        tables["ESTIMATE, not measured"] = [
            row
            for prompt in args.prompt
            for projector in args.projector
            for row in estimate_rows(args.shape, prompt, projector)
        ]
    markdown = "\n\n".join(f"### {title}\n\n{table(rows)}" for title, rows in tables.items())
    print(markdown)
    if args.out:
        write_rows(args.out, "benchmark", tables, markdown)
    return 0


def measure_llm(args: argparse.Namespace, rate: float, said: dict) -> dict[str, list[dict]]:
    pair = pair_of(args.shape, args.dtype, said["prompt"], said["layout"], device=args.device)
    return {"the LLM's pass": llm_rows(pair, args.batch, args.repeats, rate, args.headless, said)}


def measure_step(args: argparse.Namespace, rate: float, said: dict) -> dict[str, list[dict]]:
    """With every projector around one LLM."""
    found: dict[str, list[dict]] = {"the whole training step": [], "its parts": []}
    causal = None
    for projector in args.projector:
        pair = pair_of(args.shape, args.dtype, said["prompt"], said["layout"], projector, args.device, causal)
        whole, parts = step_rows(pair, args.batch, args.repeats, said)
        found["the whole training step"] += whole
        found["its parts"] += parts
        causal = pair.causal
    return found


def measure_inference(args: argparse.Namespace, rate: float, said: dict) -> dict[str, list[dict]]:
    pair = pair_of(args.shape, args.dtype, said["prompt"], said["layout"], device=args.device)
    passes = [said | llm_row(pair, batch, "inference", args.repeats, rate, args.headless) for batch in args.batch]
    return {
        "inference, the LLM's pass": passes,
        "inference, from folders": folder_rows(pair, args.batch, args.repeats, said),
    }


MEASURES = {"llm": measure_llm, "step": measure_step, "inference": measure_inference}


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=(*PARTS, "all"), default=["llm"])
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--prompt", type=int, nargs="+", default=[16], help="text tokens beside the visual one")
    parser.add_argument("--layout", nargs="+", choices=LAYOUTS, default=["text first"])
    parser.add_argument("--projector", nargs="+", choices=("efp", "mge"), default=["efp"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--headless", action="store_true", help="a third pass: no head, but the prompt once a clip")
    parser.add_argument("--out", type=Path, help="folder for benchmark.json and benchmark.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main())
