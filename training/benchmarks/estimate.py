"""An ESTIMATE of a whole leave-one-subject-out run on a GPU that is not here, from counted operations.

Operations are counted, of a training step as the package and as the reference do it; nothing is measured. What is
assumed stands in `Assumed`, and in every row.
"""

from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM

from aullm_hf.data import aus_of
from aullm_hf.evaluation import leave_one_subject_out
from aullm_hf.model import AULLMForAUDetection
from aullm_hf.training.memory import weights_of
from aullm_hf.training.stand_in import stand_in_table
from benchmarks.flops import counted, llm_flops
from benchmarks.passes import Pair, package_tokens, pair_around, tokens_of
from benchmarks.shapes import detector_config


@dataclass(frozen=True)
class Assumed:
    """One H200: dense bfloat16 products as measured on such cards, and what is reached of them in a real step."""

    bfloat16_rate: float = 790e12
    float32_rate: float = 50e12  # vision, projector and optimizer stay in float32
    share: float = 0.3  # of either rate
    bandwidth: float = 4.0e12  # bytes a second, for Adam: 7 reads and writes of every trained float32
    launch: float = 6e-6  # seconds a kernel: what a step of small kernels takes at least
    epochs: int = 350


class _Kernels(TorchDispatchMode):
    """Counts operations that would start a kernel: all but those that only look at a tensor in another way."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.count += not operation.is_view
        return operation(*args, **(kwargs or {}))


def estimate_rows(shape: str, prompt: int, projector: str, assumed: Assumed = Assumed()) -> list[dict]:
    """CASME II, a step an epoch of all training clips."""
    folds = leave_one_subject_out(stand_in_table("casme2"), inner="none", seed=1, aus=aus_of("casme2"))
    batch = round(sum(len(fold.train) for fold in folds) / len(folds))
    steps = len(folds) * assumed.epochs
    rows = []
    for who in ("reference", "package"):
        work = step_work(shape, prompt, projector, who, batch)
        arithmetic = (work.llm / assumed.bfloat16_rate + work.vision / assumed.float32_rate) / assumed.share
        adam = 7 * 4 * work.trained / assumed.bandwidth
        step = max(arithmetic + adam, work.kernels * assumed.launch)
        rows.append(
            {
                "ESTIMATE of": f"LOSO, CASME II's shape, {shape} bfloat16, {projector}, {who}",
                "folds x steps": f"{len(folds)} x {assumed.epochs}",
                "clips a step": batch,
                "TFLOP a step, LLM": work.llm / 1e12,
                "TFLOP a step, vision and projector": work.vision / 1e12,
                "kernels a step": work.kernels,
                "ms a step, arithmetic and Adam": 1000 * (arithmetic + adam),
                "ms a step, launches": 1000 * work.kernels * assumed.launch,
                "assumed": f"{assumed.share:.0%} of {assumed.bfloat16_rate / 1e12:.0f} TFLOP/s bfloat16 and of "
                f"{assumed.float32_rate / 1e12:.0f} float32, {1e6 * assumed.launch:.0f} us a kernel",
                "minutes": steps * step / 60,
            }
        )
    return rows


@dataclass(frozen=True)
class Work:
    """Of a training step: operations in the LLM and outside of it, kernels started, weights that Adam moves."""

    llm: int
    vision: int
    kernels: int
    trained: int


def step_work(shape: str, prompt: int, projector: str, who: str, batch: int) -> Work:
    """The LLM's operations by the formula. The rest is counted in a step of two clips around an LLM of the same width
    with one layer, and with two, which tells what a layer adds to the kernels."""
    few = 2
    thin = [_thin_pair(shape, prompt, projector, layers) for layers in (1, 2)]
    counts = [_kernels_of(pair, who, few) for pair in thin]
    outside = counted(lambda: _step(thin[0], who, few)) - counted(lambda: _read(thin[0], who, few))

    config = detector_config(shape, "bfloat16", prompt, projector=projector)
    with torch.device("meta"):
        model = AULLMForAUDetection(config)
    text, rank = config.text_config, config.lora["r"]
    if who == "package":
        sequences, length, _ = package_tokens(model, batch, kept=False)
        llm = llm_flops(text, sequences, length, rank=rank, read=batch, backward=True)
    else:
        llm = llm_flops(text, batch, tokens_of(model), rank=rank, head=True, backward=True)
    kernels = counts[0] + (text.num_hidden_layers - 1) * (counts[1] - counts[0])
    return Work(llm, outside * batch // few, kernels, weights_of(model).trained)


def _thin_pair(shape: str, prompt: int, projector: str, layers: int) -> Pair:
    config = detector_config(shape, "float32", prompt, projector=projector)
    text = config.text_config
    text.num_hidden_layers, text.intermediate_size, text.vocab_size = layers, 64, 258
    text.layer_types = text.layer_types[:layers]
    return pair_around(config, AutoModelForCausalLM.from_config(text))


def _step(pair: Pair, who: str, batch: int) -> None:
    config = pair.package.config
    pixels = torch.zeros(batch, config.num_frames, 1, config.image_size, config.image_size)
    labels = torch.zeros(batch, config.num_labels)
    model = pair.package if who == "package" else pair.reference
    model(pixels, labels=labels)["loss"].backward()


def _read(pair: Pair, who: str, batch: int) -> None:
    token = torch.zeros(batch, pair.package.config.text_config.hidden_size, requires_grad=True)
    body = pair.package.model
    if who == "reference":
        state = pair.reference.read(token)
    else:
        state = body.prompt(body.llm, {"visual": token}, batch).last_hidden
    state.sum().backward()


def _kernels_of(pair: Pair, who: str, batch: int) -> int:
    pair.train(True)
    with _Kernels() as kernels:
        _step(pair, who, batch)
    return kernels.count
