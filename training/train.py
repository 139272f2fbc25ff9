"""Train and test an AU detector, fold by fold: the command of a clone. The runner itself is `aullm_hf.training`.

    python training/train.py --config hub_configs/quickstart.yaml
    accelerate launch training/train.py --config hub_configs/casme2-deepseek-r1-code.yaml --root CASME2_FOLDER

`--help` lists every option, and every field of a run that the command line can override.
"""

from aullm_hf.training.launch import main

if __name__ == "__main__":
    raise SystemExit(main())
