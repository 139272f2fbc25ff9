r"""Fit the network that spots expressions, on synthetic recordings, and write its weights into the package.

    python training/fit_spotter.py                                     # a few minutes on one core
    python training/fit_spotter.py --recordings 40 --steps 100 --out spotter.safetensors     # to try it

The network is tested on drawn recordings only (`training/benchmark.py spotting`), of other seeds. On annotated
recordings it is fitted and tested by `spot_subjects.py`.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from spotters.drawn import drawn_examples
from spotters.fitting import fit

from aullm_hf.inference.spotting.network import WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each recording")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--rows", type=int, default=12, help="of a batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.perf_counter()
    examples = list(drawn_examples(args.recordings, args.seconds))
    print(f"{args.recordings} recordings in {time.perf_counter() - begun:.0f} s", flush=True)
    network = fit(examples, steps=args.steps, rows=args.rows, seed=args.seed)
    save_file({name: value.half() for name, value in network.state_dict().items()}, args.out)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
