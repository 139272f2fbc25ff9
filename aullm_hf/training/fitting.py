"""One training: from fresh weights, or from the newest whole checkpoint, to a model that predicts."""

import copy
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..baselines import BaselineForAUDetection
from ..model.relation_prior import edges_from_labels
from .animating import with_animated
from .batches import Augmentation, Batches, Views
from .checkpoints import drop_checkpoints, is_sealed, newest_checkpoint, replace_folder, seal
from .clips import Resident
from .context import RunContext
from .cpu import suited_llm
from .model import predict_clips
from .motion import Motions
from .nonfinite import NotFinite
from .settings import TrainSettings
from .signals import STOPPER
from .trainer import FoldTrainer

# Decimals of a logit. What lies below is arithmetic noise: it would rank clips that the model cannot tell apart, and a
# calibration could be fitted to it.
DECIMALS = 4

LOGGED = ("step", "epoch", "loss", "learning_rate", "grad_norm")  # of a training step, beside the loss's terms


@dataclass(frozen=True)
class Task:
    """What is trained: a fold, a fold's teacher, the final fit."""

    name: str  # in logs and trackers
    key: str  # every random draw follows from this and the seed
    seed: int


@dataclass
class Fitted:
    """A trained model, which predicts until the next training begins."""

    model: nn.Module
    batches: Batches | Views | Motions
    batch_size: int
    log: list[dict] = field(default_factory=list)  # one entry per logged step
    autocast: Callable = nullcontext

    def predict(self, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits of whole clips, and their intensities where the model has that output; (n, n_AU) each."""
        z, levels = predict_clips(self.model, self.batches, rows, self.batch_size, self.autocast)
        z = z.numpy()
        finite = np.isfinite(z).all(axis=1)
        if not finite.all():
            names = [self.batches.clips.table["clip_id"][row] for row, ok in zip(rows, finite, strict=True) if not ok]
            raise NotFinite(f"logits are nan or infinite of the clips {', '.join(names[:5])}", clips=names)
        return np.round(z, DECIMALS), None if levels is None else np.round(levels.numpy(), DECIMALS)


def fit(context: RunContext, task: Task, rows: Sequence[int], work: Path, callbacks: Sequence = ()) -> Fitted:
    """Train on `rows`, with the Trainer's checkpoints in `work`. Every process of a data-parallel run calls this."""
    model, labels = context.model, context.clips.labels[list(rows)]
    context, drawn = _animated(context, task, rows)
    settings, batches = _settings_of(context, task, work), _batches_of(context, task)
    fitted = Fitted(model, batches, settings.per_device_eval_batch_size)
    model.reset_trained(task.seed)
    if context.initial:
        model.load_state_dict(context.initial, strict=False)
    if isinstance(model, BaselineForAUDetection):
        if model.is_fitted:  # by a solver, in one go
            model.fit(batches.whole(rows)["pixel_values"].cpu(), labels)
            return fitted
        if model.teacher_names:
            model.learn_from(_train_teachers(context, task, rows, work, callbacks))
    config = model.config
    if getattr(config, "graph", False) and config.prior == "train":  # of these training clips, and of no others
        model.set_prior(edges_from_labels(labels, config.aus))
    if settings.world_size > 1 and settings.device.type == "cuda":
        synchronize_norms(model)
    trainer = FoldTrainer(model, settings, batches, drawn, task.key, list(callbacks))
    _run_trainer(trainer, work)
    fitted.log, accelerator = _log_of(trainer), trainer.accelerator
    fitted.autocast = accelerator.autocast
    del trainer
    accelerator.free_memory()  # collects: Trainer, optimizer and callbacks hold each other
    return fitted


def _animated(context: RunContext, task: Task, rows: Sequence[int]) -> tuple[RunContext, Sequence[int]]:
    """The run's clips with those that are made of `rows` behind them, and all rows to train on."""
    if not (share := context.training.augment_animate):
        return context, rows
    clips, drawn = with_animated(
        context.clips,
        rows,
        share,
        aus=context.model.config.aus,
        frames=context.processor.num_frames,
        seed=task.seed,
        key=task.key,
        shuffled=context.data.labels == "shuffled",
    )
    resident = None if context.resident is None else Resident.of(clips, context.resident.device)
    return replace(context, clips=clips, resident=resident), drawn


def _settings_of(context: RunContext, task: Task, work: Path) -> TrainSettings:
    """The recipe's training section, for this training."""
    settings = copy.copy(context.training)
    settings.output_dir, settings.seed, settings.save_total_limit = str(work), task.seed, None
    settings.disable_tqdm, settings.run_name = True, f"{context.run_name}-{task.name}"
    settings.per_device_train_batch_size //= context.batch_parts
    settings.gradient_accumulation_steps *= context.batch_parts
    settings.per_device_eval_batch_size = max(settings.per_device_eval_batch_size // context.batch_parts, 1)
    settings.dataloader_pin_memory = False  # batches are made where they are needed
    if "tensorboard" in settings.report_to:  # beside the folds: `work` goes when the fold ends
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(context.logs / task.name)
    return settings


def _batches_of(context: RunContext, task: Task) -> Batches | Views | Motions:
    training = context.training
    if context.views is not None:
        return context.views
    if context.motions is not None:
        return context.motions.drawing(
            seed=task.seed,
            fold=task.key,
            flip=training.augment_flip,
            gain=training.augment_gain,
            turn=training.augment_turn,
            warp=training.augment_warp,
        )
    return Batches(
        context.clips,
        context.processor,
        resident=context.resident,
        seed=task.seed,
        fold=task.key,
        augmentation=Augmentation(
            flip=training.augment_flip,
            shift=training.augment_shift,
            zoom=training.augment_zoom,
            brightness=training.augment_brightness,
        ),
        only_onset=context.only_onset,
    )


def _run_trainer(trainer: FoldTrainer, work: Path) -> None:
    """From the newest whole checkpoint, where there is one."""
    saves, model = trainer.args.should_save, trainer.model
    if saves:
        newest_checkpoint(work)  # deletes what was cut short, before another process looks
    trainer.accelerator.wait_for_everyone()
    resume = newest_checkpoint(work) if saves else next(iter(work.glob("checkpoint-*")), None)
    try:
        stops = STOPPER.finishing_steps() if trainer.args.world_size == 1 else nullcontext()
        with stops, suited_llm(model, trainer.args):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        trainer.check_weights()
    finally:
        model.zero_grad(set_to_none=True)
        # Accelerate puts autocast around `forward` and takes the model for prepared from then on: the next fold's
        # Trainer would train without.
        for mark in ("forward", "_original_forward", "_is_accelerate_prepared"):
            model.__dict__.pop(mark, None)


def _log_of(trainer: FoldTrainer) -> list[dict]:
    return [
        {key: value for key, value in entry.items() if key in LOGGED or key.startswith("loss_")}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def _train_teachers(
    context: RunContext, task: Task, rows: Sequence[int], work: Path, callbacks: Sequence
) -> list[BaselineForAUDetection]:
    """The networks that a student imitates, trained first, on its own training clips, and kept until the fold ends."""
    teachers = []
    for place, name in enumerate(context.model.teacher_names):
        folder = work / f"teacher{place}"
        if is_sealed(folder / "checkpoint"):
            teachers.append(BaselineForAUDetection.from_pretrained(folder / "checkpoint"))
            continue
        config = copy.deepcopy(context.model.config)
        config.architecture = name
        teacher = BaselineForAUDetection(config)
        key = f"{task.key}-teacher{place}"
        own = Task(name=key, key=key, seed=task.seed + 1000 * (place + 1))  # two of a kind start apart
        fit(replace(context, model=teacher), own, rows, folder, callbacks)
        if context.training.should_save:
            partial = folder / ".checkpoint.partial"
            teacher.save_pretrained(partial)
            seal(partial)
            replace_folder(partial, folder / "checkpoint")
            drop_checkpoints(folder, but=None)
        teachers.append(teacher)
    return teachers


def synchronize_norms(model: nn.Module) -> None:
    """Let batch norm see the clips of all devices, with weights as fresh as the rest."""
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, torch.nn.SyncBatchNorm):
            module.reset_parameters()
