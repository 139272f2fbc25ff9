"""The content of run.json: the run's configuration, versions, commit, data and base LLM."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import aullm_hf

from ..data.loading import LAYOUTS
from ..evaluation import labels_fingerprint
from .clips import Clips
from .data import SYNTHETIC, RunData
from .model import base_llm_of
from .settings import RunConfig


def run_info(config: RunConfig, data: RunData, clips: Clips, aus: list[int], model, begun_from: list[str]) -> dict:
    return {
        "name": config.name,
        "config": {section: without_paths(fields) for section, fields in config.plain.items()},
        "seeds": config.seeds,
        "versions": versions(),
        "git_commit": git_commit(),
        "data": {
            "datasets": sorted(set(clips.table["dataset"])),
            "licensed": any(name not in SYNTHETIC for name in config.data.datasets),
            "begun_from": begun_from,
            "label_release": data.label_release,
            "agreements": {name: LAYOUTS[name].request for name in config.data.datasets if name in LAYOUTS},
            "fingerprint": data.fingerprint,
            "labels_fingerprint": labels_fingerprint(clips.table, aus),
            "n_clips": len(clips),
            "n_subjects": len(set(zip(clips.table["dataset"], clips.table["subject"], strict=True))),
        },
        "aus": aus,
        "protocol": config.protocol.protocol,
        "inner": config.protocol.inner,
        "base_llm": base_llm_of(config.model, model),
        "model_kind": config.model.model_kind,
        "parameters": {  # of the tested network, without a student's teachers
            "trained": sum(one.numel() for one in model.parameters() if one.requires_grad),
            "all": sum(one.numel() for one in model.parameters()),
        },
    }


def without_paths(fields: dict) -> dict:
    """Without the fields that name a folder of this machine: run.json may be published, config.yaml is not."""
    return {name: value for name, value in fields.items() if name not in ("root", "output_dir")}


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "peft", "accelerate", "datasets", "numpy")
    return {"aullm_hf": aullm_hf.__version__, "python": platform.python_version()} | {n: version(n) for n in names}


def git_commit() -> str | None:
    """The commit of this code, marked if files have changed since; None outside of a checkout."""
    home = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(("git", *words), cwd=home, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", home.parent.as_posix())
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None
