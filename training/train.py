"""Train and test an AU detector, fold by fold. One YAML file is one run.

    python training/train.py --config hub_configs/quickstart.yaml
    python training/train.py --config hub_configs/casme2-deepseek-r1-code.yaml --dry_run
    accelerate launch training/train.py --config hub_configs/casme2-deepseek-r1-code.yaml --root /data/CASME2
    accelerate launch --num_processes 4 training/train.py --config .. --fold_parallel
    python training/train.py --config .. --folds_per_step 4         (together through the LLM they share)
    python training/train.py --config .. --fold_shard 3/26          (a job array; or --folds sub01,sub02)
    python training/train.py --config .. --final_fit                (the model to ship)

Any field of the file can be overridden by its name: `--num_train_epochs 3 --projector mid`; `--help` lists them all.
A run that was stopped, however rudely, goes on where it was when the same command is given again.
"""

import argparse
import gc
import sys
from collections import deque
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import processes

OPTIONS = "options of this launch (the run itself stays the same)"


@dataclass
class Launch:
    """How this process takes part in the run."""

    config: Path
    folds: list[str] | None
    shard: tuple[int, int] | None
    fold_parallel: bool
    folds_per_step: int
    final_fit: bool
    retrain_damaged: bool
    dry_run: bool
    place: processes.Place


def main(argv: list[str] | None = None) -> int:
    launch, overrides = parse(sys.argv[1:] if argv is None else argv)
    from run_config import ConfigError, load_run_config  # imports transformers, which reads the rank's variables

    from aullm_hf.data import DataError

    quiet()
    from failures import NOT_WRITABLE, file_trouble
    from stopping import STOPPER, Stopped

    again = "Nothing that was finished is lost: give the same command again, and it goes on where it was."
    try:
        with STOPPER.listening():
            config = load_run_config(launch.config, overrides)
            if launch.folds_per_step > 1:
                from joint_llm import refuse_what_cannot_be_joined

                refuse_what_cannot_be_joined(config, launch)
            if launch.dry_run:
                from plan import print_plan

                return print_plan(config, launch)
            return run(config, launch)
    except (ConfigError, DataError) as error:
        return said(error, 2)
    except KeyboardInterrupt:
        return said(f"interrupted. {again}", 130)
    except Stopped as asked:
        return said(f"stopped by {asked}. {again}", 128 + asked.number)
    except Exception as error:
        if (trouble := file_trouble(error)) is None:
            raise
        place = f": '{trouble.filename}'" if trouble.filename else ""
        return said(f"{trouble.strerror}{place}. Mend that first. {again}", 2 if trouble.errno in NOT_WRITABLE else 1)


def said(message: object, status: int) -> int:
    print(f"train.py: {message}", file=sys.stderr, flush=True)
    return status


def run(config, launch: Launch) -> int:
    from clips_in_memory import Resident, Views, clips_of
    from compiling import compile_parts
    from jobs import jobs_of, looked_through, ours
    from run_data import aus_of_run, load_run_data
    from run_files import open_run, set_damaged_aside
    from run_info import run_info
    from run_model import build_model, draws_nothing, processor_of

    first = launch.place.rank == 0
    if first and not launch.fold_parallel:
        processes.warn_if_alone(launch.place)

    aus = aus_of_run(config.data)
    with config.training.main_process_first(desc="data, LLM and run.json"):
        data = load_run_data(config.data, config.model.image_size)
        clips = clips_of(data.clips, aus)
        config.folder.mkdir(parents=True, exist_ok=True)
        model = build_model(config.model, aus, config.folder, config.seeds[0])
        open_run(config.folder, run_info(config, data, clips, aus, model), config.plain, config.identity)

    compile_parts(model, config.training)
    jobs = jobs_of(config, clips.table, aus)
    own = ours(jobs, launch)
    if config.training.process_index == 0:
        folders = [job.folder for job in looked_through(own, launch)] + [config.folder / "final"] * launch.final_fit
        set_damaged_aside(config.folder, folders, retrain=launch.retrain_damaged)
    from failures import Failures
    from fold import Workshop

    processor = processor_of(model.config, config.training, data.face)
    only_onset, device = config.data.frames == "onset", config.training.device
    fixed = draws_nothing(processor)
    shop = Workshop(
        model=model,
        processor=processor,
        clips=clips,
        training=config.training,
        inner=config.protocol.inner,
        only_onset=only_onset,
        run_name=config.name,
        logs=config.folder / "logs",
        resident=None if fixed else Resident.of(clips, device),
        views=Views(clips, processor, device=device, only_onset=only_onset) if fixed else None,
    )
    failures = Failures([job.folder for job in own] + [config.folder / "final"])
    train_jobs(shop, own, failures, config, launch)
    if launch.final_fit:
        fit_final(shop, jobs, config, launch)
    if not config.training.should_save:
        return 0
    code = report(jobs, config)
    if not (failed := failures.reasons()):
        return code
    tried = f"{len(own)} folds" + (" and the final fit" if launch.final_fit else "")
    return said(
        f"{len(failed)} of {tried} failed: " + "; ".join(f"{name}: {why}" for name, why in failed.items())
        + ". The same command tries them again, from their last good checkpoint.", 1,
    )  # fmt: skip


def train_jobs(shop, jobs, failures, config, launch: Launch) -> None:
    """Take free folds until none is left: one at a time, or several in step.

    Those that others held are looked at a second time, in case that they died: processes that were launched together
    wait for each other.
    """
    from jobs import steps_of
    from progress import Progress

    chooses = config.training.process_index == 0
    gc.collect()
    gc.freeze()  # what is there by now stays; collecting after every fold need not look at it again
    progress = Progress(len(jobs), steps_of(config, jobs), speak=chooses and (launch.place.rank == 0))
    left, held = deque(jobs), deque()
    take = partial(take_folds, config=config, failures=failures, progress=progress)
    if (together := min(launch.folds_per_step, len(jobs))) > 1:
        take_folds_together(shop, left, partial(take, held=held), config.training.device, together)
        gc.collect()  # the folds' models and their meeting place hold each other
    else:
        take(shop, left, held=held)
    take(shop, held, wait=launch.fold_parallel and launch.place.count > 1)
    progress.close()


def take_folds(shop, left: deque, *callbacks, config, failures, progress, held: deque | None = None, wait=False):
    """The first process of a data-parallel run chooses for all of them. `held` is given those in others' hands."""
    from failures import attempt
    from fold import train_fold
    from run_files import is_finished, locked

    chooses = config.training.process_index == 0
    while left:
        job = left.popleft()
        with locked(config.folder, job.name, wait=wait) if chooses else nothing() as free:
            begun, failed = shop.clock(), None
            go = processes.agree(
                int(chooses and free and not is_finished(job.folder) and not failures.has(job.folder))
            )
            if go:
                followed = [progress.start(job.name), *callbacks]
                failed = attempt(partial(train_fold, job=job, callbacks=followed), shop, job.folder)
            if not processes.agree(int(bool(free))) and held is not None:
                held.append(job)
                continue
            progress.finish(job.name, shop.clock() - begun, skipped=not go or failed is not None)


def take_folds_together(shop, left: deque, take_folds, device, count: int) -> None:
    """The same by `count` threads in step, each with a model of its own around the one LLM."""
    from joint_llm import JointLLM

    joint = JointLLM(shop.model, count, device)

    def take(member: int) -> None:
        own = replace(shop, model=joint.models[member], clock=partial(joint.lockstep.clock, member))
        try:
            take_folds(own, left, joint.places[member])
        except BaseException as error:
            if left and isinstance(error, Exception):
                print(f"{type(error).__name__}: no further fold is begun; those in training are finished first.")
            left.clear()
            raise

    joint.run(take)


def fit_final(shop, jobs, config, launch: Launch) -> None:
    """One more training, on every subject, once the folds are there to calibrate it."""
    from failures import attempt
    from fold import train_final
    from jobs import final_calibration
    from run_files import is_finished, locked

    waits = config.protocol.inner != "none" and launch.folds != ["none"]
    chooses = config.training.process_index == 0
    if processes.agree(int(chooses and waits and any(not is_finished(job.folder) for job in jobs))):
        print(
            "The final fit waits for the last fold, whose predictions calibrate it. "
            "`--folds none --final_fit` trains it now, without calibration."
        )
        return
    with locked(config.folder, "final", wait=False) if chooses else nothing() as free:
        if processes.agree(int(chooses and free and not is_finished(config.folder / "final"))):
            calibration = final_calibration(jobs, config, shop.model.config.labels)
            everybody = range(len(shop.clips))
            attempt(
                lambda shop: train_final(shop, everybody, config.seeds[0], config.folder, calibration),
                shop,
                config.folder / "final",
            )


def report(jobs, config) -> int:
    """Whoever finishes last puts the tables together and writes the report; once, unless something has changed."""
    from run_files import is_finished, is_reported, locked, set_reported

    from aullm_hf.evaluation import assemble_run, write_report
    from aullm_hf.evaluation.run_folder import DamagedFold

    missing = [job.name for job in jobs if not is_finished(job.folder)]
    if missing:
        print(
            f"{len(jobs) - len(missing)} of {len(jobs)} folds are finished; to come, or in other hands: "
            f"{', '.join(missing[:5])}{' ..' if len(missing) > 5 else ''}. Whoever finishes last writes the tables; "
            f"`python training/evaluate.py {config.folder}` scores what is there."
        )
        return 0
    folders = [job.folder for job in jobs]
    with locked(config.folder, "report", wait=True):
        if not is_reported(config.folder, folders):
            try:
                assemble_run(config.folder)
            except DamagedFold as error:
                return said(error, 2)
            write_report(config.folder)
            set_reported(config.folder, folders)
    print((config.folder / "tables" / "results.txt").read_text(encoding="utf-8"))
    print(f"\nEverything is in {config.folder}: predictions, tables, figures, card (README.md), a checkpoint a fold.")
    return 0


# -------------------------------------------------------------------- the command line


def parse(argv: list[str]) -> tuple[Launch, list[str]]:
    """The options of this launch, and what is left for the run's configuration."""
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False, add_help=False,
    )  # fmt: skip
    parser.add_argument("-h", "--help", action="store_true", help="this text and every field of the configuration")
    parser.add_argument("--config", type=Path, help="the run: a YAML file of hub_configs/, or one of your own")
    parser.add_argument("--folds", help="only these folds, by name: sub01,sub02; `none` for none")
    parser.add_argument("--fold_shard", help="only the i-th of n parts of the folds: 3/26")
    parser.add_argument("--fold_parallel", action="store_true", help="each process takes folds of its own")
    parser.add_argument(
        "--folds_per_step",
        type=int,
        default=1,
        metavar="K",
        help="train K folds at once in this process: their batches go through the frozen LLM together",
    )
    parser.add_argument("--final_fit", action="store_true", help="also train on all subjects: the model to ship")
    parser.add_argument(
        "--retrain_damaged", action="store_true", help="train damaged folds again; what there is is kept in damaged/"
    )
    parser.add_argument("--dry_run", action="store_true", help="print the plan and do nothing")
    given, rest = parser.parse_known_args(argv)
    place = processes.stand_alone() if given.fold_parallel else processes.place_of()
    if given.help:
        from run_config import help_text

        print(parser.format_help(), help_text(), sep="\n")
        raise SystemExit(0)
    if given.folds_per_step < 1:
        parser.error(f"--folds_per_step is {given.folds_per_step}; it is 1 or more")
    if given.config is None:
        parser.error("--config is missing: --config hub_configs/quickstart.yaml is the smallest run")
    launch = Launch(
        config=given.config,
        folds=given.folds.split(",") if given.folds else None,
        shard=_shard(given.fold_shard, parser),
        fold_parallel=given.fold_parallel,
        folds_per_step=given.folds_per_step,
        final_fit=given.final_fit,
        retrain_damaged=given.retrain_damaged,
        dry_run=given.dry_run,
        place=place,
    )
    return launch, rest


def _shard(text: str | None, parser: argparse.ArgumentParser) -> tuple[int, int] | None:
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        parser.error(f"--fold_shard is {text!r}; expected i/n with i from 1 to n, such as 1/4")
    return int(part), int(parts)


def nothing():
    from contextlib import nullcontext

    return nullcontext(False)


def quiet() -> None:
    """Library chatter belongs to debugging; progress and the table are ours."""
    import datasets
    import transformers

    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


if __name__ == "__main__":
    raise SystemExit(main())
