"""The run's model and its processor. The LLM is loaded once for all folds."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from .. import real_llm
from ..baselines import ARCHITECTURES, BaselineConfig, BaselineForAUDetection, BaselineVideoProcessor
from ..baselines.linear_svm import LinearSVM
from ..hub_client import UNREACHABLE, be_patient
from ..model import AULLMConfig, AULLMForAUDetection, AULLMVideoProcessor
from ..model.local_llms import resolve_llm
from ..model.locating import check_location
from ..tiny_llm import build_tiny_llm
from .checkpoints import is_sealed, replace_folder, seal
from .run_state import locked
from .settings import ConfigError

TINY = "tiny:"
AUGMENTATIONS = ("augment_flip", "augment_shift", "augment_zoom", "augment_brightness", "augment_animate")
# As their owners state for the LLMs of the published recipes.
LICENCES = {
    "Qwen/Qwen2-1.5B": "apache-2.0",
    "Qwen/Qwen2.5-1.5B": "apache-2.0",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "mit",
}


def model_config(settings, aus: list[int]) -> AULLMConfig | BaselineConfig:
    """The configuration that the run's model section describes."""
    kind = settings.model_kind
    if kind != "aullm" and kind not in ARCHITECTURES:
        raise ConfigError(f"model_kind is {kind!r}; allowed: 'aullm', {', '.join(map(repr, ARCHITECTURES))}.")
    baseline = is_baseline(settings)
    config = BaselineConfig if baseline else AULLMConfig
    given = {"architecture": kind} if baseline else {}
    elsewhere = ("model_kind",) if baseline else ("model_kind", "tiny_llm", "init")
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in config.__dataclass_fields__:
            given[field.name] = value
        elif field.name not in elsewhere and value != _default_of(field):
            raise ConfigError(f"{field.name} is {value!r}, which {kind} has no use for: take it out of the recipe.")
    if not baseline and settings.llm_name_or_path is None:
        raise ConfigError("llm_name_or_path is missing in the model section: a Hub name, a folder, or tiny:qwen2.")
    try:
        return config(aus=aus, **given)
    except ValueError as error:
        raise ConfigError(f"The model section: {error}") from error


def _default_of(field: dataclasses.Field):
    return field.default_factory() if field.default is dataclasses.MISSING else field.default


def is_baseline(settings) -> bool:
    return settings.model_kind in ARCHITECTURES


def is_tiny(settings) -> bool:
    return settings.llm_name_or_path.startswith(TINY)


def tiny_sizes(settings) -> dict:
    sizes = settings.tiny_llm or {}
    return yaml.safe_load(sizes) if isinstance(sizes, str) else dict(sizes)


def check_llm(settings, **hub: Any) -> None:
    """Refuse an LLM that is neither here nor on the Hub, before clips are built for it.

    Args:
        hub: local_files_only and the like, as for `from_pretrained`.
    """
    if is_baseline(settings) or settings.llm_name_or_path is None or is_tiny(settings):
        return
    be_patient()
    try:
        place = resolve_llm(settings.llm_name_or_path)
        check_location("llm_name_or_path", place, revision=settings.llm_revision, **hub)
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from error


def build_model(settings, aus: list[int], run_dir: Path, seed: int) -> AULLMForAUDetection | BaselineForAUDetection:
    """The model, on the CPU, its trained weights fresh from `seed`.

    A tiny LLM is built once, in the run folder. Where checkpoints hold the LLM too (`save_base_weights`), they name
    the recipe's LLM and not that folder, since they may be published.
    """
    config = model_config(settings, aus)
    if is_baseline(settings):
        model = BaselineForAUDetection(config)
        model.reset_trained(seed)
        return model
    if not is_tiny(settings):
        be_patient()
        try:
            return AULLMForAUDetection.from_base_llm(config, seed=seed)
        except UNREACHABLE as error:  # no such LLM, no right to it, no network
            raise ConfigError(f"llm_name_or_path: {settings.llm_name_or_path!r}: {error}") from error
    folder = run_dir.resolve() / "base_llm"
    with locked(run_dir, "base_llm", wait=True):
        if not is_sealed(folder):
            partial = folder.with_name(".base_llm.partial")
            shutil.rmtree(partial, ignore_errors=True)
            build_tiny_llm(partial, family=settings.llm_name_or_path.removeprefix(TINY), **tiny_sizes(settings))
            seal(partial)
            replace_folder(partial, folder)
    model = AULLMForAUDetection.from_base_llm(config, str(folder), seed=seed)
    if config.save_base_weights:
        model.config.llm_name_or_path = settings.llm_name_or_path
    return model


def base_llm_of(settings, model) -> dict | None:
    """The LLM as run.json and the card name it; None for a baseline."""
    if is_baseline(settings):
        return None
    name = settings.llm_name_or_path
    described = {"name": name, "revision": model.config.llm_revision}
    if is_tiny(settings):
        return described | {"licence": "none: random weights, made by this package"}
    licences = LICENCES | {real_llm.NAME: real_llm.LICENCE}
    return described | ({"licence": licences[name]} if name in licences else {})


def processor_of(config, training, face: dict | None) -> AULLMVideoProcessor:
    """How clips become pixel values; saved with every checkpoint."""
    settings = {"value_range": training.value_range, "include_last": training.include_last, "face": face}
    if isinstance(config, BaselineConfig):
        processor = BaselineVideoProcessor.for_config(config, view=ARCHITECTURES[config.architecture].view, **settings)
        if has_fixed_views(processor) and (given := [name for name in AUGMENTATIONS if getattr(training, name)]):
            raise ConfigError(
                f"{given[0]} is {getattr(training, given[0])}, but {config.architecture} sees the same of a clip in "
                "every step (it reads no frames): leave it at 0."
            )
        return processor
    return AULLMVideoProcessor.for_config(config, **settings)


def has_fixed_views(processor: AULLMVideoProcessor) -> bool:
    """Whether the model sees the same of a clip in every step, so that it can be computed once."""
    return isinstance(processor, BaselineVideoProcessor) and processor.view != "frames"


def gradient_trainings(settings) -> int:
    """How many networks are trained for one that is tested: its teachers too; none where a solver fits it."""
    if not is_baseline(settings):
        return 1
    network = ARCHITECTURES[settings.model_kind]
    return 0 if issubclass(network, LinearSVM) else 1 + len(getattr(network, "teachers", ()))


@torch.no_grad()
def predict_clips(model, batches, rows, batch_size: int, autocast) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The logits of whole clips, and their intensities where the model has that output; (n, n_AU) float32 each.

    In the order of `rows`, and always in the same batches.
    """
    model.eval()
    device = model.classifier.weight.device
    logits, levels = [], []
    for start in range(0, len(rows), batch_size):
        pixels = batches.whole(rows[start : start + batch_size])["pixel_values"].to(device)
        with autocast():
            output = model(pixels)
        logits.append(output.logits.float().cpu())
        if output.intensity is not None:
            levels.append(output.intensity.float().cpu())
    return torch.cat(logits), torch.cat(levels) if levels else None
