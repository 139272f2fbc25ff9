"""The run's folds and seeds as jobs: which there are, which are ours, how many steps each takes."""

import math
from collections.abc import Sequence
from typing import Any

from ..evaluation import Calibration, Fold, cross_domain, fit_calibration, leave_one_dataset_out, leave_one_subject_out
from ..evaluation.protocols import subject_keys
from ..evaluation.run_folder import FOLD_TABLES, DamagedFold, read_table, refuse_damaged
from .fold import Job
from .model import trainings_by_gradient
from .settings import ConfigError, RunConfig


def folds_of(config: RunConfig, table: dict[str, list], aus: Sequence[int], seed: int) -> list[Fold]:
    """The protocol's folds; `seed` chooses who is held out inside them."""
    protocol = config.protocol
    shared: dict[str, Any] = {
        "inner": protocol.inner,
        "inner_fraction": protocol.inner_fraction,
        "seed": seed,
        "aus": aus,
    }
    try:
        if protocol.protocol == "cross_domain":
            return cross_domain(table, protocol.source, protocol.target, **shared)
        if protocol.protocol == "leave_one_dataset_out":
            return leave_one_dataset_out(table, **shared)
        return leave_one_subject_out(table, **shared)
    except ValueError as error:
        raise ConfigError(f"The protocol does not fit the data: {error}") from error


def jobs_of(config: RunConfig, table: dict[str, list], aus: Sequence[int]) -> list[Job]:
    """A job a fold and seed, in the order in which they are taken."""
    several = len(config.seeds) > 1
    return [
        Job(fold, seed, config.folder / "folds" / (f"{fold.name}-seed{seed}" if several else fold.name))
        for seed in config.seeds
        for fold in folds_of(config, table, aus, seed)
    ]


def assigned_jobs(jobs: list[Job], launch) -> list[Job]:
    """Those that this launch was told to take."""
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
    if launch.fold_parallel and launch.place.count > 1:  # everybody begins elsewhere, and takes what is left
        begin = launch.place.rank * len(jobs) // launch.place.count
        jobs = jobs[begin:] + jobs[:begin]
    return jobs


def jobs_to_inspect(own: list[Job], launch) -> list[Job]:
    """Those of its launch's jobs that a process looks through for damage: each is one process's.

    `own` has them in another order in each process.
    """
    if not launch.fold_parallel:
        return own
    return sorted(own, key=lambda job: job.name)[launch.place.rank :: launch.place.count]


def steps_of(config: RunConfig, jobs: Sequence[Job]) -> int:
    """Optimizer steps of a job, of the longest."""
    longest = max((sum(_steps(config, clips) for clips in trainings(config, job.fold)) for job in jobs), default=0)
    return longest * trainings_by_gradient(config.model)


def trainings(config: RunConfig, fold: Fold) -> list[int]:
    """How many clips each training of a fold has: one training, or two with `inner: refit`."""
    return [len(fold.train)] + ([len(fold.refit)] if config.protocol.inner == "refit" else [])


def _steps(config: RunConfig, clips: int) -> int:
    training = config.training
    if training.max_steps > 0:
        return training.max_steps
    batches = math.ceil(clips / (training.per_device_train_batch_size * max(training.world_size, 1)))
    return math.ceil(math.ceil(batches / training.gradient_accumulation_steps) * training.num_train_epochs)


def final_calibration(jobs: Sequence[Job], config: RunConfig, labels: Sequence[str]) -> Calibration:
    """For the model trained on everybody: fitted on the folds' test predictions, each of a subject new to its model.

    No figure comes of it, so no test is spoiled. Without finished folds, or as published, it changes nothing.
    """
    everybody = {key for job in jobs for key in job.fold.subject_of_row}
    own = [job for job in jobs if job.seed == config.seeds[0]]
    tables = [job.folder / "predictions.parquet" for job in own]
    if config.protocol.inner == "none":
        return Calibration.identity(labels, everybody, "as published: no calibration")
    if not all(path.is_file() for path in tables):
        print("The folds are not finished, so the final fit is not calibrated: its thresholds stay at 0.5.")
        return Calibration.identity(labels, everybody, "no finished folds to calibrate on")
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
    return fit_calibration(z, y, labels, subjects=keys, seen_subjects=everybody)
