"""The scripts of training/ as modules, by path: nothing imports `training` as a package."""

import importlib.util
from pathlib import Path

TRAINING = Path(__file__).resolve().parents[2] / "training"


def load_script(name: str):
    spec = importlib.util.spec_from_file_location(f"training_script_{name}", TRAINING / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
