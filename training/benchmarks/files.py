r"""What saving and loading a fold costs: seconds, bytes on disk, and the highest memory of a fresh process that loads.

    python training/benchmark.py files                                                      # tiny, to try it
    python training/benchmark.py files --shape 0.5b --dtype bfloat16

The package writes what was trained and names the LLM; the reference writes its whole state_dict with torch.save, and
builds and fills the whole model to read it. `fold into memory` is another fold of a run whose LLM is loaded already.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.tiny_llm import build_tiny_llm
from benchmarks.reference import ReferenceDetector, load_causal
from benchmarks.shapes import SHAPES, causal_llm

LOAD = """
import gc, json, os, sys, time
gc.disable()  # libraries are imported sooner, and a fork that ends does not copy their pages to look for garbage
import torch
from benchmarks.reference import ReferenceDetector, load_causal
from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.model.checkpointing import load_trained

def memory(which):  # VmRSS now, VmHWM at its highest (getrusage would count the parent's, from before the exec)
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(which))

gc.freeze()
gc.enable()
folder, measured = sys.argv[1], {{}}
for script in {scripts!r}:
    if not os.fork():  # a process that has everything imported and nothing loaded
        break
    if os.wait()[1]:
        sys.exit("loading failed")
else:
    sys.exit()
before, start = memory("VmRSS"), time.perf_counter()
exec(script["load"])
measured["seconds"], peak = time.perf_counter() - start, memory("VmHWM")
weights = sum(p.numel() * p.element_size() for p in model.parameters())
size = model.config.image_size
with torch.no_grad():
    model(torch.rand(1, 6, 1, size, size))
measured |= {{"weights_mb": weights / 2**20, "peak_over_weights": (peak - before) / weights,
             "peak_with_first_forward_over_weights": (memory("VmHWM") - before) / weights}}
exec(script["after"])
print(json.dumps(measured), flush=True)
"""
PACKAGE = {
    "load": 'model = AULLMForAUDetection.from_pretrained(f"{folder}/fold")',
    "after": """
start = time.perf_counter()
load_trained(model, f"{folder}/fold")
measured["seconds_llm_in_memory"] = time.perf_counter() - start
""",
}
REFERENCE = {
    "load": """
config = AULLMConfig.from_pretrained(f"{folder}/fold")
model = ReferenceDetector(config, load_causal(f"{folder}/base", config)).eval()
model.load_state_dict(torch.load(f"{folder}/reference.pt", weights_only=True))
""",
    "after": "",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", choices=SHAPES, default="tiny", help="size of the LLM")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the LLM's weights")


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    rows, promised = saving_and_loading(args.shape, args.dtype)
    return {"saving and loading": rows, "what loading promises": [promised]}


def in_fresh_processes(scripts: dict[str, dict[str, str]], folder: Path) -> dict[str, dict]:
    """What each loading script measured, in a process of its own."""
    here = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-c", LOAD.format(scripts=list(scripts.values())), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"the process that loads failed: {done.stderr[-2000:]}")
    return dict(zip(scripts, map(json.loads, done.stdout.strip().splitlines()[-len(scripts) :]), strict=True))


def write_base(folder: Path, shape: str, dtype: str) -> Path:
    """A random LLM of the shape, with a tokenizer, as it would come from the Hub."""
    base, tokenizer_from = folder / "base", build_tiny_llm(folder / "tokenizer")
    causal_llm(shape, dtype).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((tokenizer_from / name).read_bytes())
    return base


def saving_and_loading(shape: str, dtype: str) -> tuple[list[dict], dict]:
    """Rows of reference against package, and the figures that are promised of loading."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        base = write_base(folder, shape, dtype)
        config = AULLMConfig()
        trained, wanted, package = save_package(config, base, folder / "fold")
        save = {"reference": save_reference(trained, base, folder / "reference.pt"), "package": package}
        loaded = in_fresh_processes({"reference": REFERENCE, "package": PACKAGE}, folder)
        written = (folder / "fold" / "model.safetensors").stat().st_size
        size = {"reference": (folder / "reference.pt").stat().st_size, "package": written}
    setting = {"shape": shape, "dtype": dtype}
    load = {name: figures["seconds"] for name, figures in loaded.items()}
    peaks = {name: figures["peak_over_weights"] for name, figures in loaded.items()}
    again = loaded["package"]["seconds_llm_in_memory"]
    rows = [
        setting | _compared("save a fold, s", save),
        setting | _compared("a fold's checkpoint, MB", {name: count / 2**20 for name, count in size.items()}),
        setting | _compared("load, fresh process, s", load),
        setting | _compared("fold into memory, s", {"reference": load["reference"], "package": again}),
        setting | _compared("peak of loading / weights", peaks),
    ]
    return rows, setting | loaded["package"] | {"checkpoint_over_trained": written / wanted}


def save_package(config: AULLMConfig, base: Path, folder: Path) -> tuple[AULLMConfig, int, float]:
    """The saved model's configuration, the bytes of what it trains, and the seconds of saving it."""
    model = AULLMForAUDetection.from_base_llm(config, str(base))
    ignored = set(model._keys_to_ignore_on_save)
    wanted = sum(t.numel() * t.element_size() for name, t in model.state_dict().items() if name not in ignored)
    return model.config, wanted, _seconds(lambda: model.save_pretrained(folder))


def save_reference(config: AULLMConfig, base: Path, file: Path) -> float:
    model = ReferenceDetector(config, load_causal(base, config))
    return _seconds(lambda: torch.save(model.state_dict(), file))


def _seconds(run) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def _compared(what: str, figures: dict[str, float]) -> dict:
    return {"what": what, **figures, "ratio": figures["reference"] / figures["package"]}
