"""The reference and the package around one LLM with one set of adapters, and how much of it memory holds."""

import math
from dataclasses import dataclass

import psutil
import torch
from transformers import PreTrainedModel

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.training.memory import activation_bytes
from benchmarks.reference import ReferenceDetector
from benchmarks.shapes import causal_llm, detector_config


@dataclass
class Pair:
    """The same model twice: as the package has it, and in the published loop's shape."""

    package: AULLMForAUDetection
    reference: ReferenceDetector
    causal: PreTrainedModel

    @property
    def device(self) -> torch.device:
        return self.package.device

    def train(self, mode: bool) -> None:
        self.package.train(mode)
        self.reference.train(mode)


def build_pair(
    shape: str,
    dtype: str,
    prompt: int,
    layout: str,
    projector: str = "efp",
    device: str = "cpu",
    causal: PreTrainedModel | None = None,
) -> Pair:
    """Random weights, or around the LLM, adapters included, of another pair."""
    config = detector_config(shape, dtype, prompt, layout=layout, projector=projector)
    if causal is not None:
        config.lora = None
    return pair_around(config, causal or causal_llm(shape, dtype), device)


def pair_around(config: AULLMConfig, causal: PreTrainedModel, device: str = "cpu") -> Pair:
    package = AULLMForAUDetection(config, llm=causal.model).to(device)
    return Pair(package, ReferenceDetector.like(package, causal.to(device)), causal)


def parts_of_batch(pair: Pair, batch: int, train: bool) -> int:
    """In how many parts the reference takes a batch, so that three fifths of the free memory hold what it keeps."""
    text, each = pair.package.config.text_config, pair.package.model.llm.dtype.itemsize
    tokens = batch * prompt_tokens(pair.package)
    if train:
        kept = activation_bytes(text, tokens, each)
    else:
        kept = each * (text.num_hidden_layers + 8) * tokens * text.hidden_size
    needed = kept + tokens * text.vocab_size * each
    cuda = pair.device.type == "cuda"
    free = torch.cuda.mem_get_info()[0] if cuda else psutil.virtual_memory().available
    return max(1, math.ceil(needed / (0.6 * free)))


def prompt_tokens(detector: AULLMForAUDetection) -> int:
    """Tokens of one clip's whole prompt."""
    return sum(len(part) if isinstance(part, list) else 1 for part in detector.config.prompt_segments)


def packed_tokens(detector: AULLMForAUDetection, batch: int, cached: bool) -> tuple[int, int, int]:
    """(sequences, tokens of each that are run, tokens of each that stand in a cache), as the cost rule packs them."""
    segments = detector.config.prompt_segments
    prefix, total = len(segments[0]) if isinstance(segments[0], list) else 0, prompt_tokens(detector)
    k = detector.model.prompt._clips_per_sequence(detector.model.llm, batch, prefix, total - prefix)
    if k == 1:
        return batch, total, 0
    own = k * (total - prefix)
    return (-(-batch // k), own, prefix) if cached else (-(-batch // k), prefix + own, 0)
