"""`--dry_run`: what a run would do and need, without data at hand and without doing it."""

import re
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from transformers import PreTrainedModel

from ..baselines import BaselineForAUDetection
from ..model import AULLMConfig, AULLMForAUDetection
from ..model.checkpointing import llm_config_of
from ..tiny_llm import build_tiny_llm
from .data import SYNTHETIC, aus_of_run, load_run_data, needs_root
from .jobs import assigned_jobs, jobs_of, steps_of, trainings
from .memory import activation_bytes, step_memory, weights_of
from .model import LICENCES, TINY, check_llm, is_baseline, is_tiny, model_config, processor_of, tiny_sizes
from .optimizer import GROUPS, group_of
from .settings import ConfigError, RunConfig
from .stand_in import has_au_counts, join, stand_in_table, synthetic_table

LARGE = 10**9  # bytes of frozen weights from which other ways to hold them are worth a line


def print_plan(config: RunConfig, launch) -> int:
    """The plan on the screen."""
    print("\n".join(plan_lines(config, launch)))
    return 0


def plan_lines(config: RunConfig, launch) -> list[str]:
    aus = aus_of_run(config.data)
    table, said = plan_table(config)
    model, model_said = model_on_meta(config, aus)
    jobs = jobs_of(config, table, aus)
    own = assigned_jobs(jobs, launch)
    lines = [f"Plan of {config.name} (nothing is run)", "", *said]
    lines += [
        f"clips       {len(table['clip_id'])} of "
        f"{len(set(zip(table['dataset'], table['subject'], strict=True)))} subjects",
        f"positives   {_positives(config, table, aus)}",
        f"folds       {len(jobs)} ({config.protocol.protocol}, inner: {config.protocol.inner}, "
        f"{len(config.seeds)} seed{'s' * (len(config.seeds) > 1)}), of which this launch takes {len(own)}",
        f"a fold      {_span([len(job.fold.train) for job in jobs])} clips to train on, "
        f"{_span([len(job.fold.inner) for job in jobs])} held out inside, "
        f"{_span([len(job.fold.test) for job in jobs])} to test",
        f"steps       {steps_of(config, jobs)} a fold, {sum(steps_of(config, [job]) for job in own)} in all, "
        f"{_batch(config)}",
        f"model       {model_said}",
        *_parameters(config, model),
        *_needs(config, model, table, jobs),
        f"run folder  {config.folder}",
    ]
    return lines


def plan_table(config: RunConfig) -> tuple[dict[str, list], list[str]]:
    """The run's clips, real where they are at hand, and what must be said about them."""
    missing = needs_root(config.data)
    if not missing and any(name not in SYNTHETIC for name in config.data.datasets):
        clips = load_run_data(config.data, config.model.image_size).clips
        table = {key: list(clips[key]) for key in ("clip_id", "dataset", "subject", "aus", "onset", "offset")}
        ends = zip(table.pop("onset"), table.pop("offset"), strict=True)
        return table | {"frames": [last - first + 1 for first, last in ends]}, [_data_line(config)]
    tables = []
    for name in config.data.datasets:
        table = synthetic_table(config.data, name) if name in SYNTHETIC else stand_in_table(name)
        if table is None:
            raise ConfigError(f"Nothing is known of the data set {name!r} without its files; give --root FOLDER.")
        tables.append(table)
    said = [_data_line(config)]
    if missing:
        said += [
            f"STAND-IN    no --root was given for {', '.join(missing)}: numbers of clips and subjects are those of "
            "the public tables, who shows what is made up",
        ]
    return join(tables), said


def model_on_meta(config: RunConfig, aus: list[int]) -> tuple[PreTrainedModel, str]:
    """The model without its numbers, and what it is: of a baseline its kind, otherwise where the LLM comes from."""
    wanted = model_config(config.model, aus)
    if is_baseline(config.model):
        with torch.device("meta"):
            model = BaselineForAUDetection(wanted)
        taught = f", taught by {' and '.join(model.teacher_names)}" if model.teacher_names else ""
        return model, f"{config.model.model_kind} (sees: {model.view}){taught}"
    name = config.model.llm_name_or_path
    if is_tiny(config.model):
        with TemporaryDirectory() as folder:
            build_tiny_llm(Path(folder), family=name.removeprefix(TINY), **tiny_sizes(config.model))
            wanted.text_config = llm_config_of(folder, None)
        said = f"{name}, random weights"
    else:
        try:
            wanted.text_config = llm_config_of(name, config.model.llm_revision, local_files_only=True)
            said = name
        except OSError as error:
            if name not in LICENCES:
                check_llm(config.model, local_files_only=True, advice=" A plan needs the shape of the LLM.")
                raise ConfigError(str(error)) from error
            said = f"{name} (not on this machine; its published shape: 28 layers, 1536 wide)"
    said = f"around the LLM {said}"
    # The plan needs no tokenizer: about a token for four and a half letters.
    parts = re.split(r"\{(\w+)\}", wanted.prompt_template)
    parts = [part if index % 2 else [0] * round(len(part) / 4.5) for index, part in enumerate(parts)]
    wanted.prompt_segments = [part for part in parts if part]
    wanted.llm_dtype = wanted.llm_dtype or ("float32" if is_tiny(config.model) else "bfloat16")
    with torch.device("meta"):
        return AULLMForAUDetection(wanted), said


def _data_line(config: RunConfig) -> str:
    data = config.data
    kind = f", {data.difficulty}" if any(name in SYNTHETIC for name in data.datasets) else ""
    controls = [f"labels: {data.labels}"] * (data.labels != "annotated") + ["first frames only"] * (
        data.frames != "all"
    )
    return f"data        {', '.join(data.datasets)}{kind}" + "".join(f"; CONTROL {one}" for one in controls)


def _positives(config: RunConfig, table: dict[str, list], aus: list[int]) -> str:
    unknown = [name for name in needs_root(config.data) if not has_au_counts(name)]
    counts = Counter(au for row in table["aus"] for au in row)
    said = "  ".join(f"AU{au} {counts[au]}" for au in aus)
    return said + (f"  (and those of {', '.join(unknown)}: not known without the data)" if unknown else "")


def _batch(config: RunConfig) -> str:
    training = config.training
    parts = [f"{training.per_device_train_batch_size} clips"]
    if training.gradient_accumulation_steps > 1:
        parts.append(f"{training.gradient_accumulation_steps} times accumulated")
    if training.world_size > 1:
        parts.append(f"on {training.world_size} processes")
    return "a step is " + " ".join(parts)


def _parameters(config: RunConfig, model) -> list[str]:
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


def _needs(config: RunConfig, model, table: dict[str, list], jobs) -> list[str]:
    """Rough sums: weights, gradients and Adam's two moments; activations; the clips."""
    settings, c = config.training, model.config
    trained = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    frozen = sum(p.numel() * p.element_size() for p in model.parameters() if not p.requires_grad)
    of_a_clip = _baseline_activations(config, model) if is_baseline(config.model) else _aullm_activations(c)
    activations = settings.per_device_train_batch_size * of_a_clip
    clips = sum(table["frames"]) * c.image_size**2
    checkpoint = trained + (frozen if getattr(c, "save_base_weights", False) else 0)
    return [
        f"memory      about {_size(frozen + 4 * trained + activations)} on the device (frozen "
        f"{_size(frozen)}, trained {_size(4 * trained)} with gradients and Adam, activations {_size(activations)}); "
        f"the clips take {_size(clips)} of "
        "main memory in every process",
        *_other_ways(model, activations, frozen),
        f"disk        {_size(checkpoint)} a fold, {_size(checkpoint * len(jobs))} at the end; up to "
        f"{_size(2 * (checkpoint + 2 * trained))} more for every fold while it trains",
        *([f"            each fold trains twice (inner: refit), on {_span(trainings(config, jobs[0].fold))} clips"]
          if config.protocol.inner == "refit" else []),
    ]  # fmt: skip


def _other_ways(model, activations: int, frozen: int) -> list[str]:
    """For an LLM of some size: what a device would hold if it were quantised, or shared out (training/README.md)."""
    if frozen < LARGE:
        return []
    weights, each = weights_of(model), model.base_model.llm.dtype.itemsize
    four_bit = step_memory(weights, activations, bytes_each=each, four_bit=True)
    shared = step_memory(weights, activations, bytes_each=each, devices=8)
    return [
        f"            {_size(four_bit.total)} with the LLM in 4 bits, {_size(shared.total)} on each of 8 that share it"
    ]


def _baseline_activations(config: RunConfig, model: BaselineForAUDetection) -> int:
    """Bytes that a step keeps of a clip: what every layer gives out, of the tested network alone."""
    kept: list[int] = []

    def keep(_module, _inputs, output) -> None:
        kept.append(output.numel() * output.element_size() if isinstance(output, torch.Tensor) else 0)

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(keep)
    size = model.config.image_size
    clip = np.zeros((8, size, size), dtype=np.uint8)
    pixels = processor_of(model.config, config.training, None)(clip)["pixel_values"]
    with torch.no_grad():
        model.to_empty(device="cpu").eval()(pixels)
    return sum(kept)


def _aullm_activations(c: AULLMConfig) -> int:
    """Bytes that a step keeps of a clip: of the 3D-CNN and of the LLM's pass over the clip's own tokens."""
    low, mid = c.backbone_channels
    after_first = c.image_size - 4
    after_second = after_first // 3 - 2
    vision = 4 * (3 * low * (c.num_frames - 1) * after_first**2 + 6 * mid * (c.num_frames - 2) * after_second**2)
    text = c.text_config
    first_slot = next(i for i, part in enumerate(c.prompt_segments) if isinstance(part, str))
    tokens = sum(1 if isinstance(part, str) else len(part) for part in c.prompt_segments[first_slot:])  # of a clip
    return vision + activation_bytes(text, tokens)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _span(numbers: list[int]) -> str:
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"
