"""What every fold of a process shares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from .batches import Clips, Resident, Views
from .settings import TrainSettings


@dataclass
class RunContext:
    """The model with its LLM, the clips, the settings; loaded once and used by one fold after the other.

    Args:
        model: the network; every fold starts it afresh.
        processor: how clips become pixel values, saved with every checkpoint.
        clips: the frames and labels of all clips.
        training: the recipe's training section.
        inner: what is held out inside a fold: `holdout`, `refit` or `none`.
        only_onset: show the first frame of every clip only, as a control.
        run_name: names the run for trackers.
        logs: folder of TensorBoard's files.
        resident: the clips where batches are made of them; None: on the CPU.
        views: what a baseline sees of the clips, where that is the same in every step.
        batch_parts: in how many parts each batch is taken, where memory is too small for the whole.
    """

    model: nn.Module
    processor: Any
    clips: Clips
    training: TrainSettings
    inner: str
    only_onset: bool
    run_name: str
    logs: Path
    resident: Resident | None = None
    views: Views | None = None
    batch_parts: int = 1
