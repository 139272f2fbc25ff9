"""A launch from its settings to the report: data, model, every assigned fold, the final fit, the tables."""

import gc
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import datasets
import transformers

from ..arguments import first_few
from ..data import DataError
from ..evaluation import assemble_run, write_report
from ..evaluation.run_folder import DamagedFold
from . import distributed
from .batches import Batches, Views
from .clips import Resident, clips_of
from .compiling import compile_parts
from .context import RunContext
from .cpu import keep_freed_memory
from .data import aus_of_run, data_name, load_run_data, refuse_unmarked
from .dry_run import print_plan
from .failures import NOT_WRITABLE, Failures, attempt, os_error_behind
from .fold import Job, train_final, train_fold
from .initial import initial_provenance, initial_weights, refuse_seen
from .jobs import assigned_jobs, final_calibration, jobs_of, jobs_to_inspect, steps_of
from .launch import PROG, Launch
from .model import build_model, check_llm, has_fixed_views, model_config, processor_of
from .motion import Motions, reads_fixed_motion
from .parsing import load_run_config
from .progress import Progress
from .run_info import run_info
from .run_state import (
    clear_report_partials,
    is_finished,
    is_reported,
    lock_of,
    locked,
    mark_reported,
    open_run,
    set_damaged_aside,
)
from .settings import ConfigError, RunConfig
from .signals import STOPPER, Stopped

RESUME = "Finished work is kept: give the same command again, and the run continues where it was."


def main(launch: Launch, overrides: Sequence[str]) -> int:
    """The whole launch; the exit status, with every refusal in one line."""
    silence_libraries()
    try:
        with STOPPER.listening():
            config = load_run_config(launch.config, overrides)
            return print_plan(config, launch) if launch.dry_run else run(config, launch)
    except (ConfigError, DataError) as error:
        return refuse(error, 2)
    except KeyboardInterrupt:
        return refuse(f"interrupted. {RESUME}", 130)
    except Stopped as stop:
        return refuse(f"stopped by {stop}. {RESUME}", 128 + stop.number)
    except Exception as error:
        if (cause := os_error_behind(error)) is None:
            raise
        place = f": '{cause.filename}'" if cause.filename else ""
        status = 2 if cause.errno in NOT_WRITABLE else 1
        return refuse(f"{cause.strerror}{place}. Fix that first. {RESUME}", status)


def run(config: RunConfig, launch: Launch) -> int:
    """Train what this launch takes of the run, and report once every fold is there."""
    if launch.process.rank == 0 and not launch.fold_parallel:
        distributed.warn_if_alone(launch.process)
    context, jobs = prepare(config, launch)
    assigned = assigned_jobs(jobs, launch)
    if config.training.process_index == 0:
        folders = [job.folder for job in jobs_to_inspect(assigned, launch)]
        folders += [config.folder / "final"] * config.protocol.final_fit
        set_damaged_aside(config.folder, folders, retrain=launch.retrain_damaged)
    failures = Failures([job.folder for job in assigned] + [config.folder / "final"])
    train_jobs(context, assigned, failures, config, launch)
    if config.protocol.final_fit:
        fit_final(context, jobs, config, launch)
    if not config.training.should_save:
        return 0
    status = report(jobs, config)
    if not (failed := failures.reasons()):
        return status
    tried = f"{len(assigned)} folds" + (" and the final fit" if config.protocol.final_fit else "")
    reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
    return refuse(
        f"{len(failed)} of {tried} failed: {reasons}. The same command tries them again, from their last good "
        "checkpoint.",
        1,
    )


def prepare(config: RunConfig, launch: Launch) -> tuple[RunContext, list[Job]]:
    """Load data and model, and write run.json or join the run that is there; after all that can be refused was."""
    aus = aus_of_run(config.data)
    model_config(config.model, aus)  # for its errors, before clips are built
    check_llm(config.model)
    with config.training.main_process_first(desc="data, LLM and run.json"):
        data = load_run_data(config.data, config.model.image_size)
        clips = clips_of(data.clips, aus, intensities=config.model.intensity)
        jobs = jobs_of(config, clips.table, aus)
        if clips.intensities is not None:
            refuse_unmarked(clips.intensities, [job.fold for job in jobs])
        assigned = assigned_jobs(jobs, launch)
        begun_from = initial_provenance(config.model.init) if config.model.init else []
        if begun_from:
            tested = {clips.table["dataset"][row] for job in assigned for row in job.fold.test}
            refuse_seen(config.model.init, begun_from, {data_name(config.data, name) for name in tested})
        config.folder.mkdir(parents=True, exist_ok=True)
        model = build_model(config.model, aus, config.folder, config.seeds[0])
        initial = initial_weights(config.model.init, model) if config.model.init else {}
        processor = processor_of(model.config, config.training, data.face)
        fixed_motion = reads_fixed_motion(model.config, config.training, int(clips.lengths.max()))
        training = config.training
        changes_motion = training.augment_gain > 1 or training.augment_turn or training.augment_warp
        if changes_motion and not fixed_motion and not has_fixed_views(processor):
            raise ConfigError(
                "augment_gain, augment_turn and augment_warp change optical flow that is computed once per run, which "
                f"needs motion: flow, clips of at most {processor.num_frames + 1} frames (difficulty: wild) and no "
                "augment_shift, augment_zoom or augment_brightness. Leave them out."
            )
        open_run(config.folder, run_info(config, data, clips, aus, model, begun_from), config.plain, config.identity)
    compile_parts(model, config.training)
    context = RunContext(
        model=model,
        processor=processor,
        clips=clips,
        data=config.data,
        training=config.training,
        inner=config.protocol.inner,
        clips_cropped=data.clips_cropped,
        run_name=config.name,
        initial=initial,
        begun_from=begun_from,
        false_alarms=config.protocol.false_alarms,
        logs=config.folder / "logs",
    )
    device = config.training.device
    if has_fixed_views(processor):
        context.views = Views(clips, processor, device=device, only_onset=context.only_onset)
    else:
        context.resident = Resident.of(clips, device)
        if fixed_motion:
            frames = Batches(clips, processor, resident=context.resident, only_onset=context.only_onset)
            context.motions = Motions(frames, model.config.flow_smoothing)
    return context, jobs


def train_jobs(
    context: RunContext, jobs: Sequence[Job], failures: Failures, config: RunConfig, launch: Launch
) -> None:
    """Take free folds until none is left.

    Folds that other processes had are tried a second time, in case those processes died. Processes that were launched
    together wait for each other.
    """
    if config.training.device.type == "cpu":
        keep_freed_memory()
    gc.collect()
    gc.freeze()  # what is there by now stays, and need not be collected after every fold
    first = config.training.process_index == 0 and launch.process.rank == 0
    progress = Progress(len(jobs), steps_of(config, jobs), enabled=first)
    take = partial(take_jobs, context, config=config, failures=failures, progress=progress)
    taken = take(deque(jobs))
    take(taken, second_pass=True, wait=launch.fold_parallel and launch.process.world_size > 1)
    progress.close()


def take_jobs(
    context: RunContext,
    left: deque[Job],
    *,
    config: RunConfig,
    failures: Failures,
    progress: Progress,
    second_pass: bool = False,
    wait: bool = False,
) -> deque[Job]:
    """Train the jobs that are free, and return those that other processes have taken.

    The first process of a data-parallel run chooses for all of them.
    """
    chooses = config.training.process_index == 0
    taken: deque[Job] = deque()
    while left:
        job = left.popleft()
        with lock_if(chooses, config, lock_of(job.folder), wait=wait) as free:
            begun, failed = time.perf_counter(), None
            takes = chooses and free and not is_finished(job.folder) and not failures.has(job.folder)
            takes = distributed.broadcast_from_first(int(takes))
            if takes:
                callbacks = [progress.start(job.name)]
                failed = attempt(partial(train_fold, job=job, callbacks=callbacks), context, job.folder)
            if not distributed.broadcast_from_first(int(bool(free))) and not second_pass:
                taken.append(job)
                continue
            progress.finish(job.name, time.perf_counter() - begun, skipped=not takes or failed is not None)
    return taken


def fit_final(context: RunContext, jobs: Sequence[Job], config: RunConfig, launch: Launch) -> None:
    """Train once more, on all subjects, when the folds are there to calibrate it."""
    now = launch.final_fit and (config.protocol.inner == "none" or launch.folds == ["none"])  # asked for
    chooses = config.training.process_index == 0
    unfinished = chooses and not now and any(not is_finished(job.folder) for job in jobs)
    if distributed.broadcast_from_first(int(unfinished)):
        print(
            "The final fit waits for the last fold, whose predictions it is calibrated on. "
            "`--folds none --final_fit` trains it now, without calibration."
        )
        return
    with lock_if(chooses, config, "final", wait=False) as free:
        if distributed.broadcast_from_first(int(chooses and free and not is_finished(config.folder / "final"))):
            calibration = final_calibration(jobs, config, context.model.config.labels)
            train = partial(
                train_final,
                rows=range(len(context.clips)),
                seed=config.seeds[0],
                run_dir=config.folder,
                calibration=calibration,
            )
            attempt(train, context, config.folder / "final")


def report(jobs: Sequence[Job], config: RunConfig) -> int:
    """Put the tables together and write the report where every fold is there; once, unless something has changed."""
    missing = [job.name for job in jobs if not is_finished(job.folder)]
    if missing:
        print(
            f"{len(jobs) - len(missing)} of {len(jobs)} folds are finished; still to come, or with other processes: "
            f"{first_few(missing)}. The process that finishes the last fold "
            f"writes the tables; `aullm evaluate {config.folder}` scores the folds that are there."
        )
        return 0
    folders = [job.folder for job in jobs]
    with locked(config.folder, "report", wait=True):
        clear_report_partials(config.folder)
        if not is_reported(config.folder, folders):
            try:
                assemble_run(config.folder)
            except DamagedFold as error:
                return refuse(error, 2)
            write_report(config.folder)
            mark_reported(config.folder, folders)
    print((config.folder / "tables" / "results.txt").read_text(encoding="utf-8"))
    print(
        f"\nEverything is in {config.folder}: predictions, tables, figures, card (README.md), one checkpoint per fold."
    )
    return 0


def lock_if(chooses: bool, config: RunConfig, name: str, *, wait: bool):
    """The run's lock for the process that chooses; the others of a data-parallel run need none."""
    return locked(config.folder, name, wait=wait) if chooses else nullcontext(False)


def refuse(message: object, status: int) -> int:
    print(f"{PROG}: {message}", file=sys.stderr, flush=True)
    return status


def silence_libraries() -> None:
    """Show no progress bars and messages of the libraries, only the run's own."""
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
