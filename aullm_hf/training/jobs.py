"""The run's folds and seeds as jobs: all of them, those of this launch, and how many steps each takes."""

import math
from collections.abc import Sequence
from typing import Any

from ..evaluation import (
    Calibration,
    Fold,
    cross_domain,
    fit_calibration,
    holdout,
    leave_one_dataset_out,
    leave_one_subject_out,
)
from ..evaluation.protocols import subject_keys
from ..evaluation.run_folder import FOLD_TABLES, DamagedFold, read_table, refuse_damaged
from .animating import animated_count
from .fold import Job
from .launch import Launch
from .model import gradient_trainings
from .settings import ConfigError, RunConfig


def folds_of(config: RunConfig, table: dict[str, list], aus: Sequence[int], seed: int) -> list[Fold]:
    """The protocol's folds; `seed` chooses the subjects that are held out inside them."""
    protocol = config.protocol
    shared: dict[str, Any] = {
        "inner": protocol.inner,
        "inner_fraction": protocol.inner_fraction,
        "seed": seed,
        "aus": aus,
    }
    try:
        if protocol.protocol == "cross_domain":
            folds = cross_domain(table, protocol.source, protocol.target, **shared)
        elif protocol.protocol == "leave_one_dataset_out":
            folds = leave_one_dataset_out(table, **shared)
        elif protocol.protocol == "holdout":
            folds = holdout(table, test_fraction=protocol.test_fraction, **shared)
        else:
            folds = leave_one_subject_out(table, **shared)
        if protocol.train_clips is not None:
            folds = [fold.with_train_clips(protocol.train_clips, seed) for fold in folds]
        return folds
    except ValueError as error:
        raise ConfigError(f"The protocol does not fit the data: {error}") from error


def jobs_of(config: RunConfig, table: dict[str, list], aus: Sequence[int]) -> list[Job]:
    """One job per fold and seed, in the order in which they are taken."""
    several = len(config.seeds) > 1
    return [
        Job(fold, seed, config.folder / "folds" / (f"{fold.name}-seed{seed}" if several else fold.name))
        for seed in config.seeds
        for fold in folds_of(config, table, aus, seed)
    ]


def assigned_jobs(jobs: list[Job], launch: Launch) -> list[Job]:
    """The jobs that this launch takes."""
    if launch.folds == ["none"]:
        return []
    if launch.folds is not None:
        known = {job.fold.name for job in jobs} | {job.name for job in jobs}
        if unknown := [name for name in launch.folds if name not in known]:
            raise ConfigError(f"--folds names {unknown[0]!r}; the folds are {', '.join(job.name for job in jobs)}.")
        jobs = [job for job in jobs if {job.fold.name, job.name} & set(launch.folds)]
    if launch.fold_shard is not None:
        part, parts = launch.fold_shard
        jobs = jobs[part - 1 :: parts]
    if launch.fold_parallel and launch.process.world_size > 1:  # each begins elsewhere, and takes what is left
        begin = launch.process.rank * len(jobs) // launch.process.world_size
        jobs = jobs[begin:] + jobs[:begin]
    return jobs


def jobs_to_inspect(assigned: list[Job], launch: Launch) -> list[Job]:
    """The part of the launch's jobs that this process checks for damage.

    Each process has `assigned` in another order.
    """
    if not launch.fold_parallel:
        return assigned
    return sorted(assigned, key=lambda job: job.name)[launch.process.rank :: launch.process.world_size]


def steps_of(config: RunConfig, jobs: Sequence[Job]) -> int:
    """Optimizer steps of the longest job."""
    longest = max((sum(_steps(config, clips) for clips in trainings(config, job.fold)) for job in jobs), default=0)
    return longest * gradient_trainings(config.model)


def trainings(config: RunConfig, fold: Fold) -> list[int]:
    """How many clips each training of a fold has: one training, or two with `inner: refit`."""
    return [len(fold.train)] + ([len(fold.refit)] if config.protocol.inner == "refit" else [])


def _steps(config: RunConfig, clips: int) -> int:
    training = config.training
    if training.max_steps > 0:
        return training.max_steps
    clips += animated_count(training.augment_animate, clips)
    batches = math.ceil(clips / (training.per_device_train_batch_size * max(training.world_size, 1)))
    return math.ceil(math.ceil(batches / training.gradient_accumulation_steps) * training.num_train_epochs)


def final_calibration(jobs: Sequence[Job], config: RunConfig, labels: Sequence[str]) -> Calibration:
    """The calibration of the final fit: on the folds' test predictions, each of a subject new to its model.

    No figure depends on it, so no test data leaks. Without finished folds, or as published, it is the identity.
    """
    subjects = {key for job in jobs for key in job.fold.subject_of_row}
    own = [job for job in jobs if job.seed == config.seeds[0]]
    tables = [job.folder / "predictions.parquet" for job in own]
    if config.protocol.inner == "none":
        return Calibration.identity(labels, subjects, "as published: no calibration")
    if not all(path.is_file() for path in tables):
        print("The folds are not finished, so the final fit is not calibrated: its thresholds stay at 0.5.")
        return Calibration.identity(labels, subjects, "no finished folds to calibrate on")
    try:
        refuse_damaged([job.folder for job in own], only=FOLD_TABLES)
    except DamagedFold as error:
        raise ConfigError(str(error)) from error
    parts = [read_table(path) for path in tables]
    z, y, keys = [], [], []
    for part in parts:
        z += part[[f"z_{label}" for label in labels]].to_numpy().tolist()
        y += part[[f"y_{label}" for label in labels]].to_numpy().tolist()
        keys += subject_keys(part)
    return fit_calibration(z, y, labels, subjects=keys, seen_subjects=subjects)
