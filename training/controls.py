"""Two runs that must come out at chance: if one does better, something other than motion gives the labels away.

    make controls
    python training/controls.py --num_train_epochs 10          (fields of hub_configs/quickstart.yaml)

`labels`: the labels are shuffled over all clips. `onset`: every clip shows its first frame only. The rest is as in the
quickstart; the mean average precision (AP) must have the prevalence, which is chance, inside its 95 % interval.
"""

import json
import sys
from pathlib import Path

from aullm_hf.training.launch import main as train

CONTROLS = {"labels": ["--labels", "shuffled"], "onset": ["--frames", "onset"]}


def main(argv: list[str] | None = None, runs: Path = Path("runs")) -> int:
    overrides = sys.argv[1:] if argv is None else argv
    failed = 0
    for name, option in CONTROLS.items():
        folder = runs / f"control-{name}"
        if code := train(["quickstart", "--output_dir", str(folder), *option, *overrides]):
            return code
        line, passed = verdict(folder)
        failed += not passed
        print(line, flush=True)
    return int(failed > 0)


def verdict(folder: Path) -> tuple[str, bool]:
    """A line about the control, and whether chance is inside its interval."""
    mean = json.loads((folder / "results.json").read_text(encoding="utf-8"))["mean"]
    ap, chance = mean["ranking"]["ap"], mean["prevalence"]
    passed = ap["low"] <= chance <= ap["high"]
    figures = f"mean AP {ap['value']:.3f} [{ap['low']:.3f}, {ap['high']:.3f}], chance {chance:.3f}"
    return f"{'at chance' if passed else 'NOT AT CHANCE'}: {folder.name}: {figures}", passed


if __name__ == "__main__":
    raise SystemExit(main())
