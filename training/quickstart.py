"""The smallest whole run, and what to try next.

    make quickstart
    python training/quickstart.py --num_train_epochs 2        (fields of hub_configs/quickstart.yaml, as for train.py)

Synthetic faces, a tiny random language model, six subjects each tested by a model that never saw them. No network.
"""

import sys
from pathlib import Path

import train

CONFIG = Path(__file__).parent.parent / "hub_configs" / "quickstart.yaml"

NEXT = """
Worth trying next:
  make controls
      the same with labels shuffled, and without motion: both must come out at chance
  python training/train.py --config hub_configs/quickstart.yaml --difficulty standard --output_dir runs/standard
      harder faces: weak and one-sided movements, head motion, changing light, wrong labels
  python training/train.py --config hub_configs/casme2-deepseek-r1-code.yaml --dry_run
      the plan of a published run: folds, steps, memory, disk"""


def main() -> int:
    code = train.main(["--config", str(CONFIG), *sys.argv[1:]])
    if code == 0:
        print(NEXT)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
