"""The smallest whole run, and what to try next.

    make quickstart
    python training/quickstart.py --num_train_epochs 2        (any field of the recipe, as for aullm train)

Synthetic faces, a tiny random language model, six subjects each tested by a model that never saw them. No network.
"""

import sys

from aullm_hf.training.launch import main as train

NEXT = """
Worth trying next:
  make controls
      the same with labels shuffled, and without motion: both must come out at chance
  aullm train quickstart --difficulty standard --output_dir runs/standard
      harder faces: weak and one-sided movements, head motion, changing light, wrong labels
  aullm train casme2-deepseek-r1-code --dry_run
      the plan of a published run: folds, steps, memory, disk"""


def main() -> int:
    code = train(["quickstart", *sys.argv[1:]])
    if code == 0:
        print(NEXT)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
