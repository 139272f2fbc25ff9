"""`init`: a run's trainings begin from the vision weights of a checkpoint instead of fresh ones."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from ..arguments import first_few
from ..packaged import packaged_checkpoint
from .settings import ConfigError

WILD = "wild"  # the checkpoint that comes with the package
UNRECORDED = "not recorded"
# The filter and the 3D-CNN must fit; what follows them is taken together or not at all, for one reads the other.
VISION = ("model.led.", "model.flow.", "model.backbone.")
AFTER = ("model.high.", "model.projector.")


def initial_weights(init: str, model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights that every training of the run begins with, by their names in `model`.

    Args:
        init: "wild", or a checkpoint's folder.
        model: the run's model.

    Raises:
        ConfigError: there is no such checkpoint, or its 3D-CNN does not fit the run's.
    """
    folder = _folder_of(init)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise ConfigError(f"init is {init!r}; give 'wild', or the folder of a checkpoint, which holds {file.name}.")
    given, own = load_file(file), model.state_dict()
    vision = _part(own, VISION)
    for name, value in vision.items():
        there = tuple(given[name].shape) if name in given else "missing"
        if there != tuple(value.shape):
            raise ConfigError(
                f"init is {init!r}, whose vision weights do not fit: {name} is {there} there and {tuple(value.shape)} "
                "in this run. Take motion, backbone_channels, se_reduction, num_frames and image_size from its "
                "config.json."
            )
    smoothing, theirs = model.config.flow_smoothing, _config_in(folder).get("flow_smoothing", 0.0)
    if model.config.motion != "led" and smoothing != theirs:
        print(f"init: {init} has seen optical flow with flow_smoothing: {theirs}; this run has {smoothing}.")
    after = _part(own, AFTER)
    misfits = [name for name, value in after.items() if name not in given or given[name].shape != value.shape]
    if misfits:
        print(f"init: the 3D-CNN begins from {init}; what follows it begins fresh, for it does not fit: "
              f"{first_few(misfits, 2)}.")  # fmt: skip
    names = list(vision) + list(after) * (not misfits)
    return {name: given[name].to(own[name].dtype) for name in names}


def initial_provenance(init: str) -> list[str]:
    """What the weights of a checkpoint were trained on, and those that they in turn began with."""
    config = _config_in(_folder_of(init))
    return [str(config.get("training_data") or UNRECORDED), *(config.get("begun_from") or ())]


def refuse_seen(init: str, begun_from: Sequence[str], tested: Iterable[str]) -> None:
    """No fold tests people whom the weights that it begins with may have seen.

    Args:
        init: as given.
        begun_from: what `initial_provenance` says of it.
        tested: the data sets whose clips are tested, as `data_name` calls them.
    """
    seen = {name for text in begun_from for name in text.split(";")[0].split(", ")}
    if both := sorted(seen & set(tested)):
        raise ConfigError(
            f"init is {init!r}, which was trained on {', '.join(both)}, and this run tests people of the same data: "
            "its scores would be of faces that the model has seen. Begin with a checkpoint of other data ('wild', "
            "say), or train without testing (--folds none --final_fit)."
        )


def _config_in(folder: Path) -> dict:
    file = folder / "config.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _folder_of(init: str) -> Path:
    try:
        return packaged_checkpoint() if init == WILD else Path(init)
    except FileNotFoundError as error:
        raise ConfigError("init is 'wild', but this copy of the package came without its checkpoint.") from error


def _part(state: dict[str, torch.Tensor], prefixes: tuple[str, ...]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name.startswith(prefixes)}


__all__ = ["initial_provenance", "initial_weights", "refuse_seen"]
