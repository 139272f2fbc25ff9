"""The Trainer's checkpoints: which are whole, and what they hold beside the weights.

The Trainer writes a folder in place, so an incomplete one looks like any other: a whole one is sealed with the
checksums of its files. Optimizer, schedule, scaler and random numbers are safetensors, so no file is ever unpickled:
a state is a tree of dicts, lists, tuples, numbers and tensors. Its tensors are the tensors of the file, the rest is
JSON in the file's metadata, with the name of a tensor in its place.
"""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel

from ..arguments import first_few
from ..checksums import checksums, damage
from ..evaluation.run_folder import read_json, write_json

SEAL = "sealed.json"
OPTIMIZER = "optimizer.safetensors"
TREE = "tree"  # the key of a state's metadata


# -------------------------------------------------------------------- folders


def replace_folder(partial: Path, folder: Path) -> None:
    """Move a folder that is whole to its place."""
    for file in sorted(path for path in partial.rglob("*") if path.is_file()):
        sync(file)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def sync(path: Path) -> None:
    """Have the disk hold what was written, so that a power cut does not undo it."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def seal(folder: Path) -> None:
    """Mark a folder as whole, by the checksums of its files."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        sync(file)
    write_json(checksums(folder, leave_out=(SEAL,)), folder / SEAL)


def is_sealed(folder: Path) -> bool:
    """Whether the folder is as it was when it was sealed; a message names one that was changed since."""
    if not (folder / SEAL).is_file():
        return False
    try:
        files = read_json(folder / SEAL)
        damaged = damage(folder, files)
    except (ValueError, TypeError, KeyError, AttributeError):
        files, damaged = {}, [f"{SEAL} cannot be read"]
    if damaged:
        print(f"{folder} is damaged and not used: {first_few(damaged, 3)}.", flush=True)
    return bool(files) and not damaged


def sealed_checkpoint(work: Path) -> Path | None:
    """The latest whole checkpoint that a training can continue from."""
    steps = {path: path.name.rpartition("-")[2] for path in work.glob("checkpoint-*")}
    latest_first = sorted((path for path in steps if steps[path].isdecimal()), key=lambda path: -int(steps[path]))
    return next((path for path in latest_first if is_sealed(path) and _has_its_optimizer(path)), None)


def _has_its_optimizer(checkpoint: Path) -> bool:
    """From weights alone it would be another training: with a new schedule and a new optimizer."""
    if not (there := (checkpoint / OPTIMIZER).is_file()):
        print(f"{checkpoint} has no {OPTIMIZER} (another version wrote it) and is not used.", flush=True)
    return there


def newest_checkpoint(work: Path) -> Path | None:
    """The latest whole checkpoint; the others are deleted."""
    newest = sealed_checkpoint(work)
    drop_checkpoints(work, but=newest)
    return newest


def drop_checkpoints(work: Path, but: Path | None) -> None:
    for path in work.glob("checkpoint-*"):
        if path != but:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def without_code(model: PreTrainedModel) -> Iterator[None]:
    """What is saved within holds no copy of the code that loads a checkpoint anywhere: a training goes on from it."""
    hidden = [(model, {"_auto_class": None, "is_remote_code": lambda: False}), (model.config, {"_auto_class": None})]
    for part, attributes in hidden:
        part.__dict__.update(attributes)  # before the class's own
    try:
        yield
    finally:
        for part, attributes in hidden:
            for name in attributes:
                del part.__dict__[name]


# -------------------------------------------------------------------- states


def save_state(state: Any, path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_taken_apart(state, tensors))
    path.touch()
    mode = path.stat().st_mode  # as the umask has it; safetensors 0.8 lets only the owner read
    save_file(tensors, path, metadata={TREE: tree})
    path.chmod(mode)


def load_state(path: Path) -> Any:
    """The state, its tensors on the CPU."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        return _put_together(json.loads(file.metadata()[TREE]), tensors)


def random_state() -> dict[str, Any]:
    """Where all the random number generators of this process stand."""
    state = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    return state | ({"cuda": torch.cuda.random.get_rng_state_all()} if torch.cuda.is_available() else {})


def set_random_state(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.random.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.random.set_rng_state_all(state["cuda"])


def _taken_apart(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON of a tree: what JSON has no word for is a dict of one entry, whose key starts with `$`."""
    if isinstance(node, torch.Tensor | np.ndarray):
        name, kind = str(len(tensors)), "$array" if isinstance(node, np.ndarray) else "$tensor"
        tensors[name] = torch.as_tensor(node).detach().cpu().contiguous().clone()
        return {kind: name}
    if isinstance(node, dict):  # keys may be numbers
        return {"$dict": [[_taken_apart(one, tensors) for one in item] for item in node.items()]}
    if isinstance(node, tuple):
        return {"$tuple": [_taken_apart(one, tensors) for one in node]}
    if isinstance(node, list):
        return [_taken_apart(one, tensors) for one in node]
    if isinstance(node, np.generic):
        return node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    raise TypeError(f"A checkpoint cannot hold {type(node).__name__} {node!r}: tensors, numbers and text only.")


def _put_together(node: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(node, list):
        return [_put_together(one, tensors) for one in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind == "$tensor":
        return tensors[content]
    if kind == "$array":
        return tensors[content].numpy()
    if kind == "$tuple":
        return tuple(_put_together(one, tensors) for one in content)
    return {_put_together(key, tensors): _put_together(value, tensors) for key, value in content}
