r"""What AULLM++ costs beside AU-LLM: LLM tokens and time of a whole training step. Random weights of the real shapes.

    python training/benchmarks/modules.py --shape 0.1b --batch 32 128
    python training/benchmarks/modules.py --shape 1.5b --batch 32 --repeats 3          # 7 GB of memory in float32

A step is what the Trainer does: forward from the pixels, backward, the runner's Adam on everything trained. All models
stand around one LLM with one set of adapters and take turns. Tokens are the rows that the LLM's layers see, text
included. The default texts have 9 tokens or so of Qwen2's tokenizer each. The shape `tiny` has a tiny 3D-CNN as well:
it is there to try the script.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModel

from aullm_hf.model import AULLMConfig, AULLMForAUDetection
from aullm_hf.training.optimizer import adam_with_l2
from benchmarks.passes import PUBLISHED
from benchmarks.shapes import SHAPES, SMALL_VISION, llm_config
from benchmarks.timing import by_turns, write_rows

TEXT = 9  # tokens of either default template
# Without dropout, whose noise CCR pairs by the batch of its own model: here the adapters are everybody's.
LORA = {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}
PLUS = {"projector": "mge", "graph": True}
KINDS = {
    "AU-LLM, EFP": {},
    "AULLM++, CCR off": PLUS,
    "AULLM++, CCR 0.25": {**PLUS, "ccr_weight": 1.0, "ccr_fraction": 0.25},
    "AULLM++, CCR 1.0": {**PLUS, "ccr_weight": 1.0, "ccr_fraction": 1.0},
}


def models(shape: str, dtype: str) -> dict[str, AULLMForAUDetection]:
    """Every kind around the same LLM."""
    text = llm_config(shape)
    llm = AutoModel.from_config(text, dtype=getattr(torch, dtype))
    made = {}
    for name, fields in KINDS.items():
        fields = fields | (SMALL_VISION if shape == "tiny" else {})
        lora = None if made else LORA
        config = AULLMConfig(text_config=text.to_dict(), llm_dtype=dtype, lora=lora, **fields)
        config.prompt_segments = [list(range(TEXT)), *config.token_slots]
        made[name] = AULLMForAUDetection(config, llm=llm).train()
    return made


def stepper(model: AULLMForAUDetection, batch: int, seen: dict[str, int], name: str):
    """A function that does one training step, and notes how many tokens the LLM saw."""
    config = model.config
    pixels = torch.rand(batch, config.num_frames, 1, config.image_size, config.image_size)
    labels = (torch.rand(batch, config.num_labels) < 0.2).float()
    optimizer = adam_with_l2(model.trained_parameters(), PUBLISHED)

    def count(module, args, kwargs):
        seen[name] = kwargs["inputs_embeds"].shape[:2].numel()

    def step() -> None:
        hook = model.model.llm.register_forward_pre_hook(count, with_kwargs=True)
        model(pixels, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        hook.remove()

    return step


def measure(shape: str, dtype: str, batches: list[int], repeats: int) -> list[dict]:
    made, rows = models(shape, dtype), []
    for batch in batches:
        tokens: dict[str, int] = {}
        seconds = by_turns({name: stepper(model, batch, tokens, name) for name, model in made.items()}, repeats)
        first = next(iter(made))
        rows += [
            {
                "shape": shape,
                "dtype": dtype,
                "batch": batch,
                "model": name,
                "projector": sum(p.numel() for p in made[name].model.projector.parameters()),
                "trained": sum(p.numel() for p in made[name].trained_parameters().values()),
                "tokens": tokens[name],
                "tokens_ratio": tokens[name] / tokens[first],
                "seconds": seconds[name],
                "seconds_ratio": seconds[name] / seconds[first],
            }
            for name in made
        ]
    return rows


def table(rows: list[dict]) -> str:
    lines = [
        "| LLM | batch | model | projector | trained | LLM tokens | x AU-LLM | seconds a step | x AU-LLM |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['shape']} {row['dtype']} | {row['batch']} | {row['model']} | {row['projector'] / 1e6:.1f} M | "
        f"{row['trained'] / 1e6:.1f} M | {row['tokens']} | {row['tokens_ratio']:.2f} | {row['seconds']:.2f} | "
        f"{row['seconds_ratio']:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="0.1b")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, nargs="+", default=[32])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for step.json and step.md")
    args = parser.parse_args(argv)
    rows = measure(args.shape, args.dtype, args.batch, args.repeats)
    print(table(rows))
    if args.out:
        write_rows(args.out, "step", rows, table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
