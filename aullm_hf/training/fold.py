"""One fold: fresh weights, training, calibration from the inner clips, predictions, and all of it written.

work/            the Trainer's checkpoints, while it trains (`work/choose`, `work/final` with `inner: refit`), and a
                 student's teachers
checkpoint/      what AutoModel.from_pretrained loads, calibration and thresholds inside
predictions.parquet, inner.parquet, log.json
fold.json        last of all
"""

import copy
import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..baselines import BaselineForAUDetection
from ..evaluation import Calibration, Fold, fit_calibration
from ..evaluation.run_folder import read_json, read_table, write_json, write_table
from ..model.relation_prior import edges_from_labels
from .batches import Augmentation, Batches, Clips, Resident, Views
from .model import logits_of
from .nonfinite import NotFinite
from .run_state import drop_checkpoints, finish, is_sealed, newest_checkpoint, replace_folder, seal
from .signals import STOPPER
from .trainer import FoldTrainer

# Of a logit. What lies below is arithmetic noise: it would rank clips that the model cannot tell apart, and a
# calibration could be fitted to it.
DECIMALS = 4

LOGGED = ("step", "epoch", "loss", "learning_rate", "grad_norm")  # of a training step, beside the loss's terms


@dataclass(frozen=True)
class Job:
    """A fold and a seed, and where they go."""

    fold: Fold
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name


@dataclass
class RunContext:
    """What all jobs of a process share: the model with its LLM, the clips, the settings."""

    model: torch.nn.Module
    processor: object
    clips: Clips
    training: object  # TrainSettings
    inner: str
    only_onset: bool
    run_name: str
    logs: Path
    resident: Resident | None = None  # the clips where batches are made of them; None: on the CPU
    clock: Callable[[], float] = time.perf_counter  # of this fold alone, where several take turns
    views: Views | None = None  # what a baseline sees of the clips, where that is the same in every step
    parts: int = 1  # in which each batch is taken one after the other, where memory is too small for the whole


def train_fold(context: RunContext, job: Job, callbacks: Sequence = ()) -> None:
    """Train the fold, or what is left of it, and write it. Every process of a data-parallel run calls this."""
    begun = context.clock()
    fold, work = job.fold, job.folder / "work"
    labels = context.model.config.labels
    if context.inner == "none":
        log, predict = _fit(context, job, fold.train, work, callbacks)
        calibration = Calibration.identity(labels, fold.seen_subjects, "no inner clips: reported at 0.5")
    elif context.inner == "holdout":
        log, predict = _fit(context, job, fold.train, work, callbacks)
        calibration, z_inner = _calibrate(context, fold, predict)
    else:
        calibration, z_inner = _chosen(context, job, work / "choose", callbacks)
        log, predict = _fit(context, job, fold.refit, work / "final", callbacks)
    trained = context.clock()
    z_test = predict(fold.test)
    tested = context.clock() + (context.views.seconds_a_clip * len(fold.test) if context.views else 0)
    if not context.training.should_save:
        return
    _write_checkpoint(context, calibration, job.folder)
    keys = [fold.subject_of_row[row] for row in fold.test]
    p_test = calibration.test_probabilities(z_test, keys)
    write_table(_table(context, job, fold.test, z_test, p_test), job.folder / "predictions.parquet")
    entry = {"fold": fold.name, "seed": job.seed, "test_subjects": sorted(fold.test_subjects)}
    if context.inner == "none":
        entry["seen_subjects"] = sorted(fold.seen_subjects)
    else:
        p_inner = calibration.probabilities(z_inner)
        write_table(_table(context, job, fold.inner, z_inner, p_inner), job.folder / "inner.parquet")
        entry |= calibration.to_dict()
    if context.parts > 1:  # batch norm saw the parts: not comparable bit for bit with folds of whole batches
        entry["batch_in_parts"] = context.parts
    write_json(log, job.folder / "log.json")
    measured = {  # by the process that finished the fold, from where it began or went on
        "train_seconds": round(trained - begun, 2),
        "test_seconds": round(tested - trained, 4),
        "seconds": round(context.clock() - begun, 2),
    }
    finish(job.folder, entry | measured)


def train_final(context: RunContext, rows: Sequence[int], seed: int, run_dir: Path, calibration: Calibration) -> None:
    """The model to ship: trained on every subject, calibrated on what the folds predicted of subjects new to them."""
    folder = run_dir / "final"
    begun = context.clock()
    log, _ = _fit(context, _Named("final", seed), rows, folder / "work", ())
    if context.training.should_save:
        _write_checkpoint(context, calibration, folder)
        write_json(log, folder / "log.json")
        entry = {"fold": "final", "seed": seed, **calibration.to_dict()}
        entry |= {"batch_in_parts": context.parts} if context.parts > 1 else {}
        finish(folder, entry | {"seconds": round(context.clock() - begun, 2)})


@dataclass(frozen=True)
class _Named:
    name: str
    seed: int


# -------------------------------------------------------------------- training


def _fit(context: RunContext, job: Job | _Named, rows: Sequence[int], work: Path, callbacks: Sequence):
    """Train on `rows` from fresh weights, or from the newest whole checkpoint; (log, a function that predicts)."""
    fold_name = job.name if isinstance(job, _Named) else job.fold.name
    training = copy.copy(context.training)
    training.output_dir, training.seed, training.save_total_limit = str(work), job.seed, None
    training.disable_tqdm, training.run_name = True, f"{context.run_name}-{job.name}"
    training.per_device_train_batch_size //= context.parts
    training.gradient_accumulation_steps *= context.parts
    training.per_device_eval_batch_size = max(training.per_device_eval_batch_size // context.parts, 1)
    training.dataloader_pin_memory = False  # batches are made where they are needed
    if "tensorboard" in training.report_to:  # beside the folds: `work` goes when the fold ends
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(context.logs / job.name)
    augmentation = Augmentation(
        flip=training.augment_flip,
        shift=training.augment_shift,
        zoom=training.augment_zoom,
        brightness=training.augment_brightness,
    )
    batches = context.views or Batches(
        context.clips,
        context.processor,
        resident=context.resident,
        seed=job.seed,
        fold=fold_name,
        augmentation=augmentation,
        only_onset=context.only_onset,
    )

    def predict(rows: Sequence[int], autocast=nullcontext) -> np.ndarray:
        z = logits_of(context.model, batches, rows, training.per_device_eval_batch_size, autocast).numpy()
        if not np.isfinite(z).all():
            names = [
                context.clips.table["clip_id"][row]
                for row, whole in zip(rows, np.isfinite(z), strict=True)
                if not whole.all()
            ]
            raise NotFinite(f"logits are nan or infinite of the clips {', '.join(names[:5])}", clips=names)
        return np.round(z, DECIMALS)

    context.model.reset_trained(job.seed)
    if isinstance(context.model, BaselineForAUDetection):
        if context.model.is_fitted:
            context.model.fit(batches.whole(rows)["pixel_values"].cpu(), context.clips.labels[list(rows)])
            return [], predict
        if context.model.teacher_names:
            context.model.learn_from(_teachers(context, fold_name, job.seed, rows, work, callbacks))
    config = context.model.config
    if getattr(config, "graph", False) and config.prior == "train":  # of this fold's training clips, and of no others
        context.model.set_prior(edges_from_labels(context.clips.labels[list(rows)], config.aus))
    if training.world_size > 1 and training.device.type == "cuda":
        share_norms(context.model)
    trainer = FoldTrainer(context.model, training, batches, rows, fold_name, list(callbacks))
    if training.should_save:
        newest_checkpoint(work)  # deletes what was cut short, before anybody looks
    trainer.accelerator.wait_for_everyone()
    resume = newest_checkpoint(work) if training.should_save else _sole_checkpoint(work)
    try:
        with STOPPER.after_a_step() if training.world_size == 1 else nullcontext():
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        trainer.refuse_bad_weights()
    finally:
        context.model.zero_grad(set_to_none=True)
        # Accelerate puts autocast around `forward` and takes the model for prepared from then on: the next fold's
        # Trainer would train without.
        for mark in ("forward", "_original_forward", "_is_accelerate_prepared"):
            context.model.__dict__.pop(mark, None)
    log = [
        {key: value for key, value in entry.items() if key in LOGGED or key.startswith("loss_")}
        for entry in trainer.state.log_history
        if "loss" in entry
    ]
    accelerator = trainer.accelerator
    del trainer
    accelerator.free_memory()  # collects: Trainer, optimizer and callbacks hold each other
    return log, partial(predict, autocast=accelerator.autocast)


def _teachers(
    context: RunContext, fold_name: str, seed: int, rows: Sequence[int], work: Path, callbacks: Sequence
) -> list:
    """Whom a student imitates: trained first, on its own training clips, and kept until the fold ends."""
    teachers = []
    for place, name in enumerate(context.model.teacher_names):
        folder = work / f"teacher{place}"
        if is_sealed(folder / "checkpoint"):
            teachers.append(BaselineForAUDetection.from_pretrained(folder / "checkpoint"))
            continue
        config = copy.deepcopy(context.model.config)
        config.architecture = name
        teacher = BaselineForAUDetection(config)
        own = _Named(f"{fold_name}-teacher{place}", seed + 1000 * (place + 1))  # two of a kind start apart
        _fit(replace(context, model=teacher), own, rows, folder, callbacks)
        if context.training.should_save:
            teacher.save_pretrained(folder / ".checkpoint.partial")
            seal(folder / ".checkpoint.partial")
            replace_folder(folder / ".checkpoint.partial", folder / "checkpoint")
            drop_checkpoints(folder, but=None)
        teachers.append(teacher)
    return teachers


def share_norms(model: torch.nn.Module) -> None:
    """Batch norm over the clips of all devices, its weights as fresh as the rest."""
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if isinstance(module, torch.nn.SyncBatchNorm):
            module.reset_parameters()


def _sole_checkpoint(work: Path) -> Path | None:
    return next(iter(work.glob("checkpoint-*")), None)


def _calibrate(context: RunContext, fold: Fold, predict) -> tuple[Calibration, np.ndarray]:
    z = predict(fold.inner)
    keys = [fold.subject_of_row[row] for row in fold.inner]
    y = context.clips.labels[list(fold.inner)]
    return fit_calibration(z, y, context.model.config.labels, subjects=keys, seen_subjects=fold.train_subjects), z


def _chosen(context: RunContext, job: Job, work: Path, callbacks: Sequence) -> tuple[Calibration, np.ndarray]:
    """The first half of `inner: refit`: a model for the calibration alone, kept so that a kill does not cost it."""
    fold, labels = job.fold, context.model.config.labels
    if not is_sealed(work):
        _, predict = _fit(context, job, fold.train, work, callbacks)
        calibration, z = _calibrate(context, fold, predict)
        if context.training.should_save:
            write_table(_table(context, job, fold.inner, z, z), work / "inner.parquet")
            write_json(calibration.to_dict(), work / "calibration.json")
            drop_checkpoints(work, but=None)
            seal(work)
        return calibration, z
    table = read_table(work / "inner.parquet").set_index("clip_id")
    names = [context.clips.table["clip_id"][row] for row in fold.inner]
    z = table.loc[names, [f"z_{label}" for label in labels]].to_numpy(dtype=np.float32)
    return Calibration.from_dict(read_json(work / "calibration.json")), z


# -------------------------------------------------------------------- writing


def _write_checkpoint(context: RunContext, calibration: Calibration, folder: Path) -> None:
    config = context.model.config
    config.calibration = {au: [calibration.scale[au], calibration.shift[au]] for au in calibration.aus}
    config.thresholds = dict(calibration.thresholds)
    partial = folder / ".checkpoint.partial"
    shutil.rmtree(partial, ignore_errors=True)
    context.model.save_pretrained(partial)
    context.processor.save_pretrained(partial)
    replace_folder(partial, folder / "checkpoint")
    config.calibration = {au: [1.0, 0.0] for au in calibration.aus}
    config.thresholds = dict.fromkeys(calibration.aus, 0.5)


def _table(context: RunContext, job: Job, rows: Sequence[int], z: np.ndarray, p: np.ndarray) -> pd.DataFrame:
    rows, labels = list(rows), context.model.config.labels
    known = context.clips.table
    table = pd.DataFrame({key: [known[key][row] for row in rows] for key in ("clip_id", "dataset", "subject")})
    columns = {f"z_{au}": z[:, i].astype("float32") for i, au in enumerate(labels)}
    columns |= {f"p_{au}": p[:, i].astype("float64") for i, au in enumerate(labels)}
    columns |= {f"y_{au}": context.clips.labels[rows, i].astype("int8") for i, au in enumerate(labels)}
    return table.assign(fold=job.fold.name, seed=job.seed, **columns)
