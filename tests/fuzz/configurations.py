"""The YAML file of a run, read and checked as train.py does."""

import tempfile
from pathlib import Path

import yaml

from support.refusals import ROOT, outcome
from support.tiny_run import TINY_RUN

from aullm_hf.training.parsing import load_run_config  # isort: skip
from aullm_hf.training.settings import ConfigError  # isort: skip  (training/ is on the path by tiny_run)


def seeds() -> list[bytes]:
    shipped = [path.read_bytes() for path in sorted((ROOT / "hub_configs").glob("*.yaml"))[:8]]
    odd = (
        b"model: [1]", b"training: {seed: x}", b"data: {aus: 4}", b"- 1", b"", b"model: &a {lora: *a}", b"? [1]\n: 2",
        b"!!python/object:os.system {}", b"training: {learning_rate: .nan}", b"model: {1: 2}", b"data: {root: [1]}",
    )  # fmt: skip
    return [yaml.safe_dump(TINY_RUN).encode(), *shipped, *odd]


def attempt(data: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.yaml"
        path.write_bytes(data)
        return outcome(lambda: load_run_config(path), "run.yaml", types=(ConfigError,))
