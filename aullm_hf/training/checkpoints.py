"""Optimizer, schedule, scaler and random numbers of a Trainer, as safetensors: nothing is ever unpickled.

A state is a tree of dicts, lists, tuples, numbers and tensors. Its tensors are the tensors of the file; what is left
of it is JSON in the file's metadata, with each tensor's name where the tensor stood.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

TREE = "tree"  # the key of the metadata


def save_state(state: Any, path: Path) -> None:
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(_taken_apart(state, tensors))
    save_file(tensors, path, metadata={TREE: tree})


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
