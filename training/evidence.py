r"""Is the evidence evidence? A model's maps against the true place of each AU's motion, on synthetic clips.

    python training/train.py --config hub_configs/quickstart-aullmpp.yaml --aus cd6me --subjects 10 \
        --clips_per_subject 40 --inner none --folds none --final_fit --output_dir runs/evidence
    python training/evidence.py runs/evidence/final/checkpoint
    python training/evidence.py runs/aullmpp/folds/sub01/checkpoint --domain samm --clips 30 --out runs/evidence

Clips that show one AU alone are drawn of people whom no run has seen, so it is known where the face moved. An AU's
region is where it moves the face by at least a quarter of its peak; a map without knowledge would have the region's
share of the picture inside it. Per AU, the table has how many times that share of the AU's own map is inside the
region (the map of its node; for models without a graph Grad-CAM). It also has in how many clips the probability of the
shown AU falls most when each AU's own evidence is removed (`model.explain`'s counterfactual effect).
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aullm_hf.data.facs import au_name
from aullm_hf.data.synthetic.clips import draw_clips, motion_map, synthetic_plans
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.model.evidence import pixel_map

UNSEEN = 4_000_000  # seeds from here on are for judging
REGION = 0.25  # of the peak motion
ENOUGH = 2.0  # times its share of the area


def single_au_plans(au: int, difficulty: str, domain: str, subjects: int, clips: int) -> list:
    """`clips` plans of clips that show this AU and no other."""
    plans, seed = [], UNSEEN + au
    while len(plans) < clips:
        drawn = synthetic_plans(
            difficulty=difficulty, domain=domain, subjects=subjects, clips_per_subject=30, aus=[au], seed=seed
        )
        alone = [plan for plan in drawn if {action.au for action in plan.actions} == {au}]
        if not alone:
            raise ValueError(f"No clip of the {domain} domain, {difficulty}, shows AU {au} alone.")
        plans += alone[:: max(len(alone) // clips, 1)]  # of as many people as there are
        seed += 1000
    return plans[:clips]


def judge_au(model: AULLMForAUDetection, processor: AULLMVideoProcessor, au: int, plans: list) -> dict[str, Any]:
    """How much of the maps is where the AU moves, over clips that show it alone."""
    label, size = f"AU{au}", model.config.image_size
    frames = draw_clips(plans, size=size)
    pixels = torch.cat([processor(clip)["pixel_values"] for clip in frames])
    shares: dict[str, list[float]] = {"area": [], "inside": [], "largest": [], "probability": []}
    for plan, clip in zip(plans, pixels, strict=True):
        motion = motion_map(plan, au, size=size)
        region = torch.from_numpy(motion >= REGION * motion.max())
        explained = model.explain(clip[None], "all")[0]
        effects = {one.au: one.counterfactual for one in explained.evidence}
        own = next(one for one in explained.evidence if one.au == label)
        shares["area"].append(float(region.float().mean()))
        shares["inside"].append(_inside(own.cells, region))
        others = max((effect for name, effect in effects.items() if name != label), default=0.0)
        shares["largest"].append(float(effects[label] > others))
        shares["probability"].append(own.probability)
    means = {name: float(np.mean(values)) for name, values in shares.items()}
    return {"au": au, "clips": len(plans), "method": own.method, **means, "ratio": means["inside"] / means["area"]}


def _inside(cells: torch.Tensor, region: torch.Tensor) -> float:
    """The share of a map (T', H', W') that is inside the region (H, W)."""
    pixels = pixel_map(cells, region.shape[0]).sum(dim=0)
    return float(pixels[region].sum() / pixels.sum())


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, with a summary."""
    lines = [
        "SYNTHETIC clips of one AU each, of unseen people. Shares of a map inside the AU's true region.",
        "",
        f"| AU | clips | p | area | {rows[0]['method']} inside | effect largest for this AU |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {au_name(row['au'])} | {row['clips']} | {row['probability']:.2f} | {row['area']:.1%} | "
        f"{row['ratio']:.1f} x | {row['largest']:.0%} |"
        for row in rows
    ]
    enough = sum(row["ratio"] >= ENOUGH for row in rows)
    lines += ["", f"{rows[0]['method']}: at least {ENOUGH:g} times the area's share for {enough} of {len(rows)} AUs."]
    clips = sum(row["clips"] for row in rows)
    hits = sum(row["clips"] * row["largest"] for row in rows)
    return "\n".join([*lines, "", f"effect: largest for the shown AU in {hits / clips:.0%} of {clips} clips."])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="a folder or a Hub repository with a trained model")
    parser.add_argument("--domain", choices=("casme2", "samm"), default="casme2")
    parser.add_argument("--difficulty", choices=("easy", "standard", "hard"), default="easy")
    parser.add_argument("--subjects", type=int, default=10)
    parser.add_argument("--clips", type=int, default=20, help="clips per AU")
    parser.add_argument("--out", type=Path, help="folder for evidence.json and evidence.md")
    args = parser.parse_args(argv)
    model = AULLMForAUDetection.from_pretrained(args.checkpoint)
    processor = AULLMVideoProcessor.from_pretrained(args.checkpoint)
    rows = []
    for au in model.config.aus:
        plans = single_au_plans(au, args.difficulty, args.domain, args.subjects, args.clips)
        rows.append(judge_au(model, processor, au, plans))
    print(table(rows))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "evidence.json").write_text(json.dumps(rows, indent=2), encoding="utf-8")
        (args.out / "evidence.md").write_text(table(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
