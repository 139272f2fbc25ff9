"""Runs of the training runner small enough for a test: one YAML, a tiny model, a second or two."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "training"

if str(TRAINING) not in sys.path:  # for `benchmarks`
    sys.path.append(str(TRAINING))

TINY_RUN = {
    "model": {
        "llm_name_or_path": "tiny:qwen2",
        "tiny_llm": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1},
        "save_base_weights": True,
        "image_size": 16,
        "backbone_channels": [4, 8],
        "se_reduction": 4,
        "high_dim": 8,
        "projector_hidden": 16,
        "lora": {"r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]},
        "prompt_template": "AUs:{visual}",
    },
    "data": {"datasets": ["synthetic-casme2"], "subjects": 3, "clips_per_subject": 6, "aus": [1, 4, 12]},
    "protocol": {"protocol": "loso", "inner": "holdout"},
    "training": {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 4,
        "learning_rate": 1.0e-3,
        "save_steps": 2,
        "logging_steps": 2,
        "augment_flip": 0.5,
        "augment_shift": 1,
        "use_cpu": True,
    },
}


def tiny_yaml(folder: Path, **sections: dict) -> Path:
    """A YAML file of the tiny run, with other values for some fields."""
    content = {name: {**fields, **sections.get(name, {})} for name, fields in TINY_RUN.items()}
    path = folder / "tiny.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def baseline_yaml(folder: Path, kind: str, **training) -> Path:
    """The tiny run with a baseline in the place of AU-LLM, and without what only frames can have done to them."""
    sizes = {"image_size": 16, "backbone_channels": [4, 8], "high_dim": 8, "resnet_widths": [4, 4, 8, 8]}
    path = tiny_yaml(folder, training={"augment_flip": 0, "augment_shift": 0, "num_train_epochs": 2, **training})
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"model": {"model_kind": kind, **sizes}}))
    return path


def train(config: Path, run: Path, *options: str, report: bool = False) -> int:
    """`aullm train` in this process; the tables are put together, figures and card only with `report`."""
    from unittest.mock import patch

    from aullm_hf.training.launch import main

    with patch("aullm_hf.training.loop.write_report", _no_report) if not report else nullcontext():
        return main(["--config", str(config), "--output_dir", str(run), *options])


def _no_report(run: Path) -> None:
    (run / "tables").mkdir(exist_ok=True)
    (run / "tables" / "results.txt").write_text("no report in this test\n")
    (run / "README.md").write_text("no card in this test\n")


def forked(function: Callable, *args) -> int:
    """The function in a process of its own, which has everything imported already; the exit code (-9: killed)."""
    process = get_context("fork").Process(target=function, args=args)
    process.start()
    process.join()
    return process.exitcode


def killed_at(module: str, name: str, call: int, function: Callable, *args, after: bool = False) -> int:
    """The function in a process that kills itself, as kill -9 does, at the given call of `module.name`."""

    def run() -> None:
        import importlib

        home = importlib.import_module(module)
        original, calls = getattr(home, name), 0

        def counted(*values, **named):
            nonlocal calls
            calls += 1
            if calls == call and not after:
                os.kill(os.getpid(), 9)
            result = original(*values, **named)
            if calls == call:
                os.kill(os.getpid(), 9)
            return result

        setattr(home, name, counted)
        function(*args)

    return forked(run)


def tables(run: Path) -> dict[str, bytes]:
    """The bytes of the tables that every figure comes from."""
    return {name: (run / name).read_bytes() for name in ("predictions.parquet", "inner.parquet")}
