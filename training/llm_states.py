r"""Where a clip's signal goes inside the LLM of a trained checkpoint: layer by layer, at the prompt's last position.

    python training/llm_states.py runs/sweeps/llm/smollm2-pretrained-...         # a run, its first fold

For each layer: the norm of its states, the share of their mean square that differs between clips, and how well AUs are
read off them by ridge regression (fitted to the fold's training clips, mean AP on its test clips). Then how far LoRA
has moved each adapted layer, as a share of the weight's norm.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from peft.tuners.lora import LoraLayer

from aullm_hf.data.labels import label_matrix
from aullm_hf.evaluation.counting import average_precision
from aullm_hf.evaluation.tables import markdown_table
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.training.data import aus_of_run, load_run_data
from aullm_hf.training.jobs import jobs_of
from aullm_hf.training.parsing import load_run_config

RIDGE = 1e-2  # of the states' mean square


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    options = parser.parse_args(argv)
    model, states, labels = read_states(options.run)
    layers = zip(states["train"], states["test"], strict=True)
    print(markdown_table(pd.DataFrame([layer_row(number, *layer, labels) for number, layer in enumerate(layers)])))
    print(f"\n{moved(model)}")
    return 0


def read_states(run: Path) -> tuple[AULLMForAUDetection, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The trained model, and of the fold's training and test clips the states (layers, clips, d) and labels."""
    config = load_run_config(run / "config.yaml", [])
    data = load_run_data(config.data, config.model.image_size).clips
    (first, *_) = jobs_of(
        config, {name: list(data[name]) for name in ("dataset", "subject", "aus")}, aus_of_run(config.data)
    )
    model = AULLMForAUDetection.from_pretrained(run / "folds" / first.name / "checkpoint").eval()
    processor = AULLMVideoProcessor.from_pretrained(run / "folds" / first.name / "checkpoint")
    states, labels = {}, {}
    for part, rows in (("train", first.fold.train), ("test", first.fold.test)):
        clips = data.select(rows).with_format("numpy")
        pixels = processor(list(clips["frames"]), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            batches = [model(batch, output_hidden_states=True).hidden_states for batch in pixels.split(16)]
        states[part] = torch.cat(
            [torch.stack([layer[:, -1].float() for layer in batch]) for batch in batches], 1
        ).numpy()
        labels[part] = label_matrix(clips, model.config.aus)
    return model, states, labels


def layer_row(number: int, train: np.ndarray, test: np.ndarray, labels: dict[str, np.ndarray]) -> dict[str, str]:
    """What one layer's states (clips, d) hold of the clips."""
    mean_square = (train**2).mean()
    share = train.var(axis=0).mean() / mean_square
    centre = train.mean(axis=0)
    x, y = train - centre, labels["train"] - labels["train"].mean(axis=0)
    kernel = x @ x.T
    weights = x.T @ np.linalg.solve(kernel + RIDGE * np.trace(kernel) / len(x) * np.eye(len(x)), y)  # (d, n_AU)
    scores = (test - centre) @ weights
    ap = np.mean([average_precision(*pair) for pair in zip(scores.T, labels["test"].T, strict=True)])
    return {
        "layer": str(number),
        "norm": f"{np.linalg.norm(train, axis=1).mean():.3g}",
        "differs between clips, %": f"{100 * share:.3g}",
        "AP of a ridge regression": f"{100 * ap:.1f}",
    }


def moved(model: AULLMForAUDetection) -> str:
    """How far LoRA has moved the weights it adapts."""
    shares = []
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            change = sum(layer.get_delta_weight(name).float().norm() for name in layer.active_adapters)
            shares.append((change / layer.get_base_layer().weight.float().norm()).item())
    if not shares:
        return "There are no adapters."
    return (
        f"LoRA moved its {len(shares)} layers by {100 * min(shares):.2g} to {100 * max(shares):.2g} % of their norm."
    )


if __name__ == "__main__":
    raise SystemExit(main())
