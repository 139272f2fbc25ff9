"""`accelerate launch -m aullm_hf.training --config NAME`: train.py without a clone."""

from .launch import main

if __name__ == "__main__":
    raise SystemExit(main())
