"""One fold: training, calibration on the inner clips, predictions, and all of it written.

work/            the Trainer's checkpoints while it trains (`work/choose`, `work/final` with `inner: refit`), and a
                 student's teachers
checkpoint/      what AutoModel.from_pretrained loads, calibration and thresholds inside
predictions.parquet, inner.parquet, log.json
fold.json        last of all
"""

import copy
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..evaluation import Calibration, Fold, fit_calibration
from ..evaluation.run_folder import read_json, read_table, write_json, write_table
from .checkpoints import drop_checkpoints, is_sealed, replace_folder, seal
from .context import RunContext
from .data import training_data
from .fitting import Fitted, Task, fit
from .run_state import finish


@dataclass(frozen=True)
class Job:
    """A fold and a seed, and the folder they go to."""

    fold: Fold
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def task(self) -> Task:
        return Task(name=self.name, key=self.fold.name, seed=self.seed)


def train_fold(context: RunContext, job: Job, callbacks: Sequence = ()) -> None:
    """Train the fold, or what is left of it, and write it. Every process of a data-parallel run calls this."""
    begun = time.perf_counter()
    fold, work, inner = job.fold, job.folder / "work", context.inner
    if inner == "refit":
        calibration, z_inner = _calibrate_apart(context, job, work / "choose", callbacks)
        fitted = fit(context, job.task, fold.refit, work / "final", callbacks)
    else:
        fitted = fit(context, job.task, fold.train, work, callbacks)
        if inner == "holdout":
            calibration, z_inner = _calibrate(context, fold, fitted)
        else:
            labels = context.model.config.labels
            calibration = Calibration.identity(labels, fold.seen_subjects, "no inner clips: reported at 0.5")
    trained = time.perf_counter()
    z_test, levels = fitted.predict(fold.test)
    test_seconds = time.perf_counter() - trained
    if context.views is not None:  # made once, for all folds
        test_seconds += context.views.seconds_per_clip * len(fold.test)
    if not context.training.should_save:
        return
    write_checkpoint(context, calibration, fold.refit if inner == "refit" else fold.train, job.folder)
    keys = [fold.subject_of_row[row] for row in fold.test]
    p_test = calibration.test_probabilities(z_test, keys)
    write_table(_table(context, job, fold.test, z_test, p_test, levels), job.folder / "predictions.parquet")
    entry = {"fold": fold.name, "seed": job.seed, "test_subjects": sorted(fold.test_subjects)}
    if inner == "none":
        entry["seen_subjects"] = sorted(fold.seen_subjects)
    else:
        p_inner = calibration.probabilities(z_inner)
        write_table(_table(context, job, fold.inner, z_inner, p_inner), job.folder / "inner.parquet")
        entry |= calibration.to_dict()
    write_json(fitted.log, job.folder / "log.json")
    measured = {  # by the process that finished the fold, from where it began or went on
        "train_seconds": round(trained - begun, 2),
        "test_seconds": round(test_seconds, 4),
        "seconds": round(time.perf_counter() - begun, 2),
    }
    finish(job.folder, entry | _batch_note(context) | measured)


def train_final(context: RunContext, rows: Sequence[int], seed: int, run_dir: Path, calibration: Calibration) -> None:
    """The model to publish: trained on every subject, calibrated on what the folds predicted for unseen subjects."""
    folder, begun = run_dir / "final", time.perf_counter()
    fitted = fit(context, Task(name="final", key="final", seed=seed), rows, folder / "work")
    if context.training.should_save:
        write_checkpoint(context, calibration, rows, folder)
        write_json(fitted.log, folder / "log.json")
        entry = {"fold": "final", "seed": seed, **calibration.to_dict(), **_batch_note(context)}
        finish(folder, entry | {"seconds": round(time.perf_counter() - begun, 2)})


def _batch_note(context: RunContext) -> dict[str, int]:
    """Batch norm saw the parts of a batch: such a fold is not comparable bit for bit with one of whole batches."""
    return {"batch_in_parts": context.batch_parts} if context.batch_parts > 1 else {}


# -------------------------------------------------------------------- calibration


def _calibrate(context: RunContext, fold: Fold, fitted: Fitted) -> tuple[Calibration, np.ndarray]:
    """The fold's calibration, and the logits of its inner clips that it was fitted to."""
    z, _ = fitted.predict(fold.inner)
    keys = [fold.subject_of_row[row] for row in fold.inner]
    y, labels = context.clips.labels[list(fold.inner)], context.model.config.labels
    alarms = context.false_alarms
    calibration = fit_calibration(z, y, labels, subjects=keys, seen_subjects=fold.train_subjects, false_alarms=alarms)
    return calibration, z


def _calibrate_apart(context: RunContext, job: Job, work: Path, callbacks: Sequence) -> tuple[Calibration, np.ndarray]:
    """The first half of `inner: refit`: a model for the calibration alone, kept so that a kill does not cost it."""
    fold, labels = job.fold, context.model.config.labels
    if not is_sealed(work):
        calibration, z = _calibrate(context, fold, fit(context, job.task, fold.train, work, callbacks))
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


def write_checkpoint(context: RunContext, calibration: Calibration, rows: Sequence[int], folder: Path) -> None:
    """`checkpoint/`: the model with its processor; its configuration says how it is calibrated and trained on what."""
    partial = folder / ".checkpoint.partial"
    shutil.rmtree(partial, ignore_errors=True)
    context.model.save_pretrained(partial)
    config = copy.deepcopy(context.model.config)  # the next fold's begins without
    config.calibration = {au: [calibration.scale[au], calibration.shift[au]] for au in calibration.aus}
    config.thresholds = dict(calibration.thresholds)
    datasets = context.clips.table["dataset"]
    config.training_data = training_data(context.data, sorted({datasets[row] for row in rows}))
    if context.training.augment_animate:
        config.training_data += ", with animated copies of training clips"
    if context.begun_from:
        config.begun_from = context.begun_from
    config.clips_cropped = context.clips_cropped
    config.save_pretrained(partial)
    context.processor.save_pretrained(partial)
    replace_folder(partial, folder / "checkpoint")


def _table(
    context: RunContext, job: Job, rows: Sequence[int], z: np.ndarray, p: np.ndarray, levels: np.ndarray | None = None
) -> pd.DataFrame:
    """The rows' table: who they are, then z_, p_ and y_ of every AU, and intensity_ and y_intensity_ where asked."""
    rows, labels, known = list(rows), context.model.config.labels, context.clips.table
    table = pd.DataFrame({key: [known[key][row] for row in rows] for key in ("clip_id", "dataset", "subject")})
    columns = {f"z_{au}": z[:, i].astype("float32") for i, au in enumerate(labels)}
    columns |= {f"p_{au}": p[:, i].astype("float64") for i, au in enumerate(labels)}
    columns |= {f"y_{au}": context.clips.labels[rows, i].astype("int8") for i, au in enumerate(labels)}
    if levels is not None:
        columns |= {f"intensity_{au}": levels[:, i].astype("float32") for i, au in enumerate(labels)}
        columns |= {f"y_intensity_{au}": context.clips.intensities[rows, i] for i, au in enumerate(labels)}
    return table.assign(fold=job.fold.name, seed=job.seed, **columns)
