"""What every fold of a process shares."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .batches import Views
from .clips import Clips, Resident
from .motion import Motions
from .settings import DataSettings, TrainSettings


@dataclass
class RunContext:
    """The model with its LLM, the clips, the settings; loaded once and used by one fold after the other.

    Args:
        model: the network; every fold starts it afresh.
        processor: how clips become pixel values, saved with every checkpoint.
        clips: the frames and labels of all clips.
        data: the recipe's data section.
        training: the recipe's training section.
        inner: what is held out inside a fold: `holdout`, `refit` or `none`.
        clips_cropped: whether clips come cropped to the face.
        run_name: names the run for trackers.
        logs: folder of TensorBoard's files.
        resident: the clips where batches are made of them; None: on the CPU.
        views: what a baseline sees of the clips, where that is the same in every step.
        initial: weights that every training begins with in the place of fresh ones, by name.
        begun_from: what these weights were trained on, and what they in turn began with.
        motions: the optical flow of the clips, where a model reads nothing else and it is the same in every step.
        false_alarms: the largest share of inner clips without any AU in which one may be active; None: no limit.
        batch_parts: in how many parts each batch is taken, where memory is too small for the whole.
    """

    model: nn.Module
    processor: Any
    clips: Clips
    data: DataSettings
    training: TrainSettings
    inner: str
    clips_cropped: bool
    run_name: str
    logs: Path
    resident: Resident | None = None
    views: Views | None = None
    initial: dict[str, torch.Tensor] = field(default_factory=dict)
    begun_from: list[str] = field(default_factory=list)
    motions: Motions | None = None
    false_alarms: float | None = None
    batch_parts: int = 1

    @property
    def only_onset(self) -> bool:
        """Whether every clip shows its first frame only, as a control."""
        return self.data.frames == "onset"
