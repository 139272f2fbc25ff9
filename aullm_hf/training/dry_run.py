"""`--dry_run`: what a run would do and need, also without its data, its LLM or a GPU at hand."""

import re
from collections import Counter
from collections.abc import Sequence
from math import gcd
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import PreTrainedModel

from ..baselines import BaselineForAUDetection
from ..data.published.counts import PUBLISHED_COUNTS
from ..data.synthetic.domains import DOMAINS
from ..data.synthetic.plans import synthetic_plans
from ..data.synthetic.wild_plans import wild_plans
from ..model import AULLMForAUDetection
from ..model.base_llm import llm_config_of
from ..tiny_llm import build_tiny_llm
from .data import SYNTHETIC, as_config_errors, aus_of_run, load_run_data, needs_root, synthetic_arguments
from .fold import Job
from .jobs import assigned_jobs, jobs_of, steps_of, trainings
from .launch import Launch
from .memory import aullm_activations, baseline_activations, step_memory, weights_of
from .model import LICENCES, TINY, check_llm, is_baseline, is_tiny, model_config, processor_of, tiny_sizes
from .optimizer import GROUPS, group_of
from .settings import ConfigError, DataSettings, RunConfig

LARGE = 10**9  # bytes of frozen weights from which other ways to hold them are worth a line


def print_plan(config: RunConfig, launch: Launch) -> int:
    """Print the plan; the exit status."""
    print("\n".join(plan_lines(config, launch)))
    return 0


def plan_lines(config: RunConfig, launch: Launch) -> list[str]:
    aus = aus_of_run(config.data)
    table, data_lines = plan_table(config)
    model, model_text = model_on_meta(config, aus)
    jobs = jobs_of(config, table, aus)
    assigned = assigned_jobs(jobs, launch)
    subjects = set(zip(table["dataset"], table["subject"], strict=True))
    seeds = f"{len(config.seeds)} seed{'s' * (len(config.seeds) > 1)}"
    train, inner, test = (_span([len(getattr(job.fold, part)) for job in jobs]) for part in ("train", "inner", "test"))
    return [
        f"Plan of {config.name} (nothing is run)",
        "",
        *data_lines,
        f"clips       {len(table['clip_id'])} of {len(subjects)} subjects",
        f"positives   {_positives(config, table, aus)}",
        f"folds       {len(jobs)} ({config.protocol.protocol}, inner: {config.protocol.inner}, {seeds}), of which "
        f"this launch takes {len(assigned)}",
        f"a fold      {train} clips to train on, {inner} held out inside, {test} to test",
        f"steps       {steps_of(config, jobs)} per fold, {sum(steps_of(config, [job]) for job in assigned)} in all, "
        f"{_batch(config)}",
        f"model       {model_text}",
        *_parameters(config, model),
        *(["final fit   one more training, on all clips"] if config.protocol.final_fit else []),
        *_needs(config, model, table, jobs),
        f"run folder  {config.folder}",
    ]


# -------------------------------------------------------------------- the clips


def plan_table(config: RunConfig) -> tuple[dict[str, list], list[str]]:
    """The run's clips, real where they are at hand, and the lines that say what they are."""
    missing = needs_root(config.data)
    lines = [_data_line(config.data)]
    if not missing and any(name not in SYNTHETIC for name in config.data.datasets):
        clips = load_run_data(config.data, config.model.image_size).clips
        table = {key: list(clips[key]) for key in ("clip_id", "dataset", "subject", "aus", "onset", "offset")}
        ends = zip(table.pop("onset"), table.pop("offset"), strict=True)
        return table | {"frames": [last - first + 1 for first, last in ends]}, lines
    tables = []
    for name in config.data.datasets:
        table = synthetic_table(config.data, name) if name in SYNTHETIC else placeholder_table(name)
        if table is None:
            raise ConfigError(f"Nothing is known of the data set {name!r} without its files; give --root FOLDER.")
        tables.append(table)
    if missing:
        lines.append(
            f"NO DATA     no --root is given for {', '.join(missing)}: the numbers of clips and subjects are those of "
            "the public tables, which clip shows which AU is made up"
        )
    return {key: [value for table in tables for value in table[key]] for key in tables[0]}, lines


def synthetic_table(settings: DataSettings, name: str) -> dict[str, list]:
    """The clips that the run will draw, without drawing them."""
    asked = synthetic_arguments(settings, name)
    with as_config_errors():
        if asked["difficulty"] == "wild":
            plans = wild_plans(**{key: value for key, value in asked.items() if key != "difficulty"})
        else:
            plans = synthetic_plans(**asked)
    return {key: [getattr(plan, key) for plan in plans] for key in ("clip_id", "dataset", "subject", "aus", "frames")}


def placeholder_table(name: str) -> dict[str, list] | None:
    """Rows that agree with the published counts, as far as these go; None for a data set without any.

    For CASME II and SAMM the clips of every subject and the positives of every AU are right. No frame exists.
    """
    counts = PUBLISHED_COUNTS.get(name)
    if counts is None or counts.usual_frames is None:
        return None
    clips, domain = counts.rows, DOMAINS.get(name)
    if domain is not None:
        subjects = [subject for subject, count in domain.clips_per_subject.items() for _ in range(count)]
        active = [combination for combination, count in domain.combinations.items() for _ in range(count)]
        step = next(step for step in range(97, 10_000) if gcd(step, clips) == 1)  # spreads them over the subjects
        aus = [[int(au) for au in active[row * step % clips].split("+")] for row in range(clips)]
    else:
        subjects = [f"{row * counts.subjects // clips + 1:02d}" for row in range(clips)]
        aus = [[] for _ in range(clips)]
    return {
        "clip_id": [f"{name}/{subject}/{row}" for row, subject in enumerate(subjects)],
        "dataset": [name] * clips,
        "subject": subjects,
        "aus": aus,
        "frames": [counts.usual_frames] * clips,
    }


def _data_line(data: DataSettings) -> str:
    difficulty = f", {data.difficulty}" if any(name in SYNTHETIC for name in data.datasets) else ""
    controls = [f"labels: {data.labels}"] * (data.labels != "annotated")
    controls += ["first frames only"] * (data.frames != "all")
    return f"data        {', '.join(data.datasets)}{difficulty}" + "".join(f"; CONTROL {one}" for one in controls)


def _positives(config: RunConfig, table: dict[str, list], aus: list[int]) -> str:
    unknown = [name for name in needs_root(config.data) if name not in DOMAINS]
    counts = Counter(au for row in table["aus"] for au in row)
    text = "  ".join(f"AU{au} {counts[au]}" for au in aus)
    return text + (f"  (and those of {', '.join(unknown)}: not known without the data)" if unknown else "")


# -------------------------------------------------------------------- the model


def model_on_meta(config: RunConfig, aus: list[int]) -> tuple[PreTrainedModel, str]:
    """The model without its weights' values, and a line about it: a baseline's kind, or where the LLM comes from."""
    settings = model_config(config.model, aus)
    if is_baseline(config.model):
        with torch.device("meta"):
            model = BaselineForAUDetection(settings)
        teachers = f", taught by {' and '.join(model.teacher_names)}" if model.teacher_names else ""
        return model, f"{config.model.model_kind} (sees: {model.view}){teachers}"
    name = config.model.llm_name_or_path
    if is_tiny(config.model):
        with TemporaryDirectory() as folder:
            build_tiny_llm(Path(folder), family=name.removeprefix(TINY), **tiny_sizes(config.model))
            settings.text_config = llm_config_of(folder, None)
        text = f"{name}, random weights"
    else:
        try:
            settings.text_config = llm_config_of(name, config.model.llm_revision, local_files_only=True)
            text = name
        except OSError as error:
            if name not in LICENCES:
                check_llm(config.model, local_files_only=True, advice=" A plan needs the shape of the LLM.")
                raise ConfigError(str(error)) from error
            text = f"{name} (not on this machine; its published shape: 28 layers, 1536 wide)"
    # The plan needs no tokenizer: about a token for four and a half letters.
    parts = re.split(r"\{(\w+)\}", settings.prompt_template)
    parts = [part if index % 2 else [0] * round(len(part) / 4.5) for index, part in enumerate(parts)]
    settings.prompt_segments = [part for part in parts if part]
    settings.llm_dtype = settings.llm_dtype or ("float32" if is_tiny(config.model) else "bfloat16")
    with torch.device("meta"):
        return AULLMForAUDetection(settings), f"around the LLM {text}"


def _batch(config: RunConfig) -> str:
    training = config.training
    parts = [f"{training.per_device_train_batch_size} clips"]
    if training.gradient_accumulation_steps > 1:
        parts.append(f"{training.gradient_accumulation_steps} times accumulated")
    if training.world_size > 1:
        parts.append(f"on {training.world_size} processes")
    return "a step is " + " ".join(parts)


def _parameters(config: RunConfig, model: PreTrainedModel) -> list[str]:
    training = config.training
    counts, rates = Counter(), {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            group = group_of(name)
            counts[group] += parameter.numel()
            rate = getattr(training, f"{group}_learning_rate", None)
            rates[group] = training.learning_rate if rate is None else rate
    groups = ", ".join(f"{group} {counts[group]:,} at {rates[group]:g}" for group in GROUPS if counts[group])
    return [
        f"trained     {sum(counts.values()):,} parameters: {groups}",
        f"frozen      {sum(p.numel() for p in model.parameters() if not p.requires_grad):,} parameters",
    ]


def _needs(config: RunConfig, model: PreTrainedModel, table: dict[str, list], jobs: Sequence[Job]) -> list[str]:
    """Rough sums: weights, gradients and Adam's two moments; activations; the clips."""
    training, fields = config.training, model.config
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    checkpoint = trained + (frozen if getattr(fields, "save_base_weights", False) else 0)
    checkpoints = len(jobs) + config.protocol.final_fit
    if is_baseline(config.model):
        per_clip = baseline_activations(model, processor_of(fields, training, None))
    else:
        per_clip = aullm_activations(fields)
    activations = training.per_device_train_batch_size * per_clip
    lines = [
        f"memory      about {_size(frozen + 4 * trained + activations)} on the device (frozen {_size(frozen)}, "
        f"trained {_size(4 * trained)} with gradients and Adam, activations {_size(activations)}); the clips take "
        f"{_size(sum(table['frames']) * fields.image_size**2)} of main memory in every process",
        f"disk        {_size(checkpoint)} per fold, {_size(checkpoint * checkpoints)} at the end; up to "
        f"{_size(2 * (checkpoint + 2 * trained))} more for every fold while it trains",
    ]
    if frozen >= LARGE:  # a large LLM could also be quantised, or sharded (training/README.md)
        weights, each = weights_of(model), model.base_model.llm.dtype.itemsize
        four_bit = step_memory(weights, activations, bytes_each=each, four_bit=True)
        sharded = step_memory(weights, activations, bytes_each=each, devices=8)
        lines.insert(
            1,
            f"            {_size(four_bit.total)} with the LLM in 4 bits, {_size(sharded.total)} on each of 8 devices "
            "that share it",
        )
    if config.protocol.inner == "refit":
        clips = _span(trainings(config, jobs[0].fold))
        lines.append(f"            each fold trains twice (inner: refit), on {clips} clips")
    return lines


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _span(numbers: list[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
