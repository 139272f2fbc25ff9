"""The run's model and its processor: the LLM loaded once, for every fold to share, with what is trained around it."""

import dataclasses
from pathlib import Path

import torch
import yaml
from run_config import ConfigError
from run_files import locked, replace_folder

from aullm_hf.model import AULLMConfig, AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.tiny_llm import build_tiny_llm

TINY = "tiny:"
# What the owners state for the LLMs of the published recipes.
LICENCES = {
    "Qwen/Qwen2-1.5B": "apache-2.0",
    "Qwen/Qwen2.5-1.5B": "apache-2.0",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": "mit",
}


def model_config(settings, aus: list[int]) -> AULLMConfig:
    """The configuration that the run's model section describes."""
    if settings.model_kind != "aullm":
        raise ConfigError(f"model_kind is {settings.model_kind!r}; allowed: 'aullm'.")
    if settings.llm_name_or_path is None:
        raise ConfigError("llm_name_or_path is missing in the model section: a Hub name, a folder, or tiny:qwen2.")
    chosen = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    for ours in ("model_kind", "tiny_llm"):
        chosen.pop(ours)
    try:
        return AULLMConfig(aus=aus, **chosen)
    except ValueError as error:
        raise ConfigError(f"The model section: {error}") from error


def is_tiny(settings) -> bool:
    return settings.llm_name_or_path.startswith(TINY)


def tiny_sizes(settings) -> dict:
    sizes = settings.tiny_llm or {}
    return yaml.safe_load(sizes) if isinstance(sizes, str) else dict(sizes)


def build_model(settings, aus: list[int], run_dir: Path, seed: int) -> AULLMForAUDetection:
    """The model, on the CPU, its trained weights fresh from `seed`.

    A tiny LLM is built beside the run, once; where the checkpoint holds the LLM too (`save_base_weights`), it goes by
    its name, so that no folder of this machine is named in what may be published.
    """
    config = model_config(settings, aus)
    if not is_tiny(settings):
        return AULLMForAUDetection.from_base_llm(config, seed=seed)
    folder = run_dir.resolve() / "base_llm"
    with locked(run_dir, "base_llm", wait=True):
        if not folder.exists():
            partial = folder.with_name(".base_llm.partial")
            build_tiny_llm(partial, family=settings.llm_name_or_path.removeprefix(TINY), **tiny_sizes(settings))
            replace_folder(partial, folder)
    model = AULLMForAUDetection.from_base_llm(config, str(folder), seed=seed)
    if config.save_base_weights:
        model.config.llm_name_or_path = settings.llm_name_or_path
        model.config.text_config._name_or_path = settings.llm_name_or_path
    return model


def base_llm_of(settings, model: AULLMForAUDetection) -> dict:
    """The LLM as run.json and the card name it."""
    name = settings.llm_name_or_path
    said = {"name": name, "revision": model.config.llm_revision}
    if is_tiny(settings):
        return said | {"licence": "none: random weights, made on the spot"}
    return said | ({"licence": LICENCES[name]} if name in LICENCES else {})


def processor_of(config: AULLMConfig, training, face: dict | None) -> AULLMVideoProcessor:
    """How clips become pixel values, as it is saved with every checkpoint."""
    return AULLMVideoProcessor.for_config(
        config, value_range=training.value_range, include_last=training.include_last, face=face
    )


@torch.no_grad()
def logits_of(model: AULLMForAUDetection, batches, rows, batch_size: int, autocast) -> torch.Tensor:
    """The logits of whole clips, (n, n_AU) float32, in the order of `rows` and always in the same batches."""
    model.eval()
    device = model.classifier.weight.device
    found = []
    for start in range(0, len(rows), batch_size):
        pixels = batches.whole(rows[start : start + batch_size])["pixel_values"].to(device)
        with autocast():
            found.append(model(pixels).logits.float().cpu())
    return torch.cat(found)
