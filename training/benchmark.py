r"""How much the shared prompt saves, and what loading costs. Random weights of the real shapes; ratios, not records.

    python training/benchmark.py                                        # the LLM pass, 0.1B, batches 8 and 32
    python training/benchmark.py --shape 0.5b --batch 32 128            # the figures of the README
    python training/benchmark.py --shape 0.5b --load                    # memory and time of loading a checkpoint
    python training/benchmark.py --shape 1.5b --dtype bfloat16 --batch 32 --out bench

Naive is the headless pass that reads the prompt once a clip; shared is this package's. Both run in one process, by
turns, on the same weights; the ratio is of medians. Training is forward and backward with LoRA on the query and value
projections, inference is without gradient (the shared pass then keeps the prompt's keys and values).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from benchmark_shapes import SHAPES, llm_config, model_of
from benchmark_timing import by_turns, table, write_rows
from transformers import Qwen2ForCausalLM

from aullm_hf.model import AULLMConfig, AULLMForAUDetection


def llm_pass(model: AULLMForAUDetection, batch: int, prompt: int, repeats: int) -> list[dict]:
    """The LLM's part of a step, naive against shared, in training and in inference."""
    body = model.model
    hidden = model.config.text_config.hidden_size
    token = torch.randn(batch, hidden) * 0.02

    def run(k: int | None, train: bool) -> None:
        body.prompt.clips_per_sequence = k
        with torch.set_grad_enabled(train):
            slot = token.clone().requires_grad_(train)
            state = body.prompt(body.llm, {"visual": slot}, batch).last_hidden
            if train:
                model.zero_grad()
                state.float().square().mean().backward()

    rows = []
    for phase, train in (("training", True), ("inference", False)):
        median = by_turns({"naive": lambda t=train: run(1, t), "shared": lambda t=train: run(None, t)}, repeats)
        rows.append(
            {
                "phase": phase,
                "batch": batch,
                "prompt_tokens": prompt,
                "naive_s": round(median["naive"], 4),
                "shared_s": round(median["shared"], 4),
                "ratio": round(median["naive"] / median["shared"], 2),
                "tokens_naive": batch * (prompt + 1),
                "tokens_shared": shared_tokens(model, batch, prompt),
            }
        )
    return rows


def shared_tokens(model: AULLMForAUDetection, batch: int, prompt: int) -> int:
    """Tokens that the cost rule lets the LLM read in a training step."""
    model.model.prompt.clips_per_sequence = None
    k = model.model.prompt._clips_per_sequence(model.model.llm, batch, prompt, 1)
    return -(-batch // k) * (prompt + k)


LOAD = """
import json, sys, time
import torch
from aullm_hf.model import AULLMForAUDetection

def memory(which):  # VmRSS now, VmHWM at its highest (getrusage would count the parent's, from before the exec)
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(which))

before, start = memory("VmRSS"), time.perf_counter()
model = AULLMForAUDetection.from_pretrained(sys.argv[1])
seconds = time.perf_counter() - start
peak = memory("VmHWM")
weights = sum(p.numel() * p.element_size() for p in model.parameters())
with torch.no_grad():
    model(torch.rand(1, 6, 1, 64, 64))
after = memory("VmHWM")
print(json.dumps({"seconds": round(seconds, 2), "weights_mb": weights / 2**20, "peak_mb": (peak - before) / 2**20,
                  "peak_over_weights": round((peak - before) / weights, 3),
                  "peak_with_first_forward_over_weights": round((after - before) / weights, 3)}))
"""


def loading(shape: str, dtype: str) -> dict:
    """Peak memory and time of `from_pretrained` in a fresh process, and the size of the checkpoint."""
    from aullm_hf.tiny_llm import build_tiny_llm

    with tempfile.TemporaryDirectory() as folder:
        config = llm_config(shape)
        tokenizer_from = build_tiny_llm(Path(folder) / "tokenizer")
        base = Path(folder) / "base"
        Qwen2ForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(base)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (base / name).write_bytes((tokenizer_from / name).read_bytes())
        model = AULLMForAUDetection.from_base_llm(AULLMConfig(), str(base))
        model.save_pretrained(Path(folder) / "fold")
        trained = {name for name in model.state_dict() if name not in model._keys_to_ignore_on_save}
        wanted = sum(t.numel() * t.element_size() for n, t in model.state_dict().items() if n in trained)
        written = (Path(folder) / "fold" / "model.safetensors").stat().st_size
        del model
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(Path(folder) / "fold")], capture_output=True, text=True, check=True
        )
        row = json.loads(done.stdout.strip().splitlines()[-1])
        return {
            "shape": shape,
            "dtype": dtype,
            **row,
            "checkpoint_mb": written / 2**20,
            "checkpoint_over_trained": written / wanted,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="0.1b")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--prompt", type=int, default=16, help="text tokens before the visual token")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--load", action="store_true", help="measure loading instead of the LLM pass")
    parser.add_argument("--out", type=Path, help="folder for benchmark.json and benchmark.md")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    if args.load:
        rows = [loading(args.shape, args.dtype)]
    else:
        model = model_of(args.shape, args.dtype, args.prompt)
        rows = []
        for batch in args.batch:
            for row in llm_pass(model, batch, args.prompt, args.repeats):
                rows.append({"shape": args.shape, "dtype": args.dtype, **row})
    print(f"{args.threads} threads, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}\n")
    print(table(rows))
    if args.out:
        write_rows(args.out, "benchmark", rows, table(rows))


if __name__ == "__main__":
    main()
