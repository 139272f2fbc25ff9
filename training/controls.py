r"""Two runs that must come out at chance: if one does better, something other than motion gives the labels away.

    make controls
    python training/controls.py --num_train_epochs 10          (fields of hub_configs/quickstart.yaml)

`labels`: the labels are shuffled over all clips. `onset`: every clip shows its first frame only. The rest is as in the
quickstart; the mean ROC-AUC must have 0.5, which is chance, inside its 95 % interval. (Average precision has no such
line: with few positives it lies above their share by itself, by 0.015 for a tenth of 300 clips.) Wild clips:

    python training/controls.py --difficulty wild --datasets synthetic-casme2 synthetic-samm --protocol cross_domain \
        --source synthetic-casme2 --target synthetic-samm --subjects 30 --clips_per_subject 10 --motion flow
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
    auc, ap = mean["ranking"]["roc_auc"], mean["ranking"]["ap"]["value"]
    passed = auc["low"] <= 0.5 <= auc["high"]
    figures = f"mean ROC-AUC {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}], chance 0.5; "
    figures += f"mean AP {ap:.3f}, prevalence {mean['prevalence']:.3f}"
    return f"{'at chance' if passed else 'NOT AT CHANCE'}: {folder.name}: {figures}", passed


if __name__ == "__main__":
    raise SystemExit(main())
