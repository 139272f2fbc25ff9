"""The smallest whole run, and what to try next.

    make quickstart
    python training/quickstart.py --num_train_epochs 2        (any field of the recipe, as for aullm train)

Synthetic faces, a tiny random language model, six subjects each tested by a model that never saw them. No network.
"""

import sys

from aullm_hf.training.launch import main as train
from aullm_hf.training.launch import parse

NEXT = """
Worth trying next. The models have seen drawn faces only: what they say of a real face means nothing.
  aullm predict VIDEO.mp4 --model {model}
      a table: for every AU a probability, and whether it is active
  aullm explain VIDEO.mp4 --model {model} --out pictures
      where on the face, when, and why
  aullm demo --model {model}
      a page on this machine to try the model on
  aullm train quickstart --output_dir {run} --final_fit
      one more training, on all subjects: the model to publish, in {run}/final/checkpoint
  aullm push {run} --repo YOU/REPOSITORY
      the run to the Hub, private unless you say otherwise
  make controls
      the same with labels shuffled, and without motion: both must come out at chance
  aullm train quickstart --difficulty standard --output_dir runs/standard
      harder faces: weak and one-sided movements, head motion, changing light, wrong labels
  aullm train casme2-deepseek-r1-code --dry_run
      the plan of a published run: folds, steps, memory, disk"""


def main(options: list[str] | None = None) -> int:
    words = ["quickstart", *(sys.argv[1:] if options is None else options)]
    if code := train(words):
        return code
    from aullm_hf.training.parsing import load_run_config  # imports what a launch must not import before train

    run = load_run_config("quickstart", parse(words)[1]).folder
    checkpoints = sorted(run.glob("folds/*/checkpoint"))
    if checkpoints:
        print(NEXT.format(run=run, model=checkpoints[0]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
