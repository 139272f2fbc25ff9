r"""What AULLM++ costs beside AU-LLM: LLM tokens and time of a whole training step. Random weights of the real shapes.

    python training/benchmark.py modules --shape 0.1b --batch 32 128
    python training/benchmark.py modules --shape 1.5b --batch 32              # 7 GB of memory in float32

A step is what the Trainer does: forward from the pixels, backward, the runner's Adam on everything trained. All models
stand around one LLM with one set of adapters and run alternately. Tokens are those that the LLM's layers see, text
included. The default texts have 9 tokens or so of Qwen2's tokenizer each. The shape `tiny` has a tiny 3D-CNN as well:
it is there to try the script.
"""

import argparse
from collections.abc import Callable

import torch
from transformers import AutoModel

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.training.optimizer import adam_with_l2
from benchmarks.shapes import SHAPES, SMALL_VISION, llm_config
from benchmarks.step import PUBLISHED
from benchmarks.timing import median_seconds

TEXT = 9  # tokens of either default template
# Without dropout, whose noise CCR pairs by the batch of its own model: here the adapters are everybody's.
LORA = {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}
PLUS = {"mge": True, "graph": True}
KINDS = {
    "AU-LLM, EFP": {},
    "AULLM++, CCR off": PLUS,
    "AULLM++, CCR 0.25": {**PLUS, "ccr_weight": 1.0, "ccr_fraction": 0.25},
    "AULLM++, CCR 1.0": {**PLUS, "ccr_weight": 1.0, "ccr_fraction": 1.0},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", choices=SHAPES, default="0.1b", help="size of the LLM")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the LLM's weights")
    parser.add_argument("--batch", type=int, nargs="+", default=[32], help="clips at once")
    parser.set_defaults(repeats=5)


def measure(args: argparse.Namespace) -> dict[str, list[dict]]:
    models, rows = build_models(args.shape, args.dtype), []
    for batch in args.batch:
        tokens: dict[str, int] = {}
        steps = {name: training_step(model, batch, tokens, name) for name, model in models.items()}
        seconds = median_seconds(steps, args.repeats)
        first = next(iter(models))
        rows += [
            {
                "LLM": f"{args.shape} {args.dtype}",
                "batch": batch,
                "model": name,
                "projector, M": sum(p.numel() for p in model.model.projector.parameters()) / 1e6,
                "trained, M": sum(p.numel() for p in model.trained_parameters().values()) / 1e6,
                "tokens": tokens[name],
                "tokens / AU-LLM's": tokens[name] / tokens[first],
                "s a step": seconds[name],
                "s / AU-LLM's": seconds[name] / seconds[first],
            }
            for name, model in models.items()
        ]
    return {"a whole step": rows}


def build_models(shape: str, dtype: str) -> dict[str, AULLMForAUDetection]:
    """Every kind around the same LLM."""
    text = llm_config(shape)
    llm = AutoModel.from_config(text, dtype=getattr(torch, dtype))
    models = {}
    for name, fields in KINDS.items():
        fields = fields | (SMALL_VISION if shape == "tiny" else {})
        lora = None if models else LORA
        config = AULLMConfig(text_config=text.to_dict(), llm_dtype=dtype, lora=lora, **fields)
        config.prompt_segments = [list(range(TEXT)), *config.token_slots]
        models[name] = AULLMForAUDetection(config, llm=llm).train()
    return models


def training_step(model: AULLMForAUDetection, batch: int, tokens: dict[str, int], name: str) -> Callable[[], None]:
    """A function that does one training step, and counts the LLM's tokens in `tokens[name]`."""
    config = model.config
    pixels = torch.rand(batch, config.num_frames, 1, config.image_size, config.image_size)
    labels = (torch.rand(batch, config.num_labels) < 0.2).float()
    optimizer = adam_with_l2(model.trained_parameters(), PUBLISHED)

    def count(module, args, kwargs):
        tokens[name] = kwargs["inputs_embeds"].shape[:2].numel()

    def step() -> None:
        hook = model.model.llm.register_forward_pre_hook(count, with_kwargs=True)
        model(pixels, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        hook.remove()

    return step
