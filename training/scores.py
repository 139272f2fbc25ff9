r"""The scores of a list of runs: a row of a CSV for each finished run and seed, and the table that is made of them.

    aullm sweep llm                            # runs what is not finished yet
    python training/scores.py llm              # takes up what is finished, then prints the table and what is missing

The CSV, docs/results/scores/NAME.csv, is committed: it grows as runs end, on whatever machine, and the table needs
nothing else. Each row names its command, the commit that ran and the seed. A run that is made again replaces its row.
"""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from aullm_hf.evaluation import read_run, score_predictions
from aullm_hf.evaluation.tables import markdown_table
from aullm_hf.training.recipes import find_recipe
from aullm_hf.training.sweep import Planned, plan, read_sweep

SCORES = Path(__file__).parents[1] / "docs" / "results" / "scores"
KEY = ["method", "variation", "seed"]
METRICS = {"ap": "mean AP", "f1": "F1, the fold's own thresholds", "f1_at_0.5": "F1 at 0.5"}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", help="the list of runs, as for `aullm sweep`")
    parser.add_argument("--csv", type=Path, help="default: docs/results/scores/NAME.csv")
    parser.add_argument("--metric", choices=METRICS, default="ap")
    args = parser.parse_args(argv)
    path = find_recipe(args.sweep, "sweeps")
    content = read_sweep(path)
    planned = list(plan(content, path))
    csv = args.csv or SCORES / f"{path.stem}.csv"
    scores = taken_up(planned, csv)
    if scores.empty:
        print(f"No run of {path} is finished, and {csv} does not exist.")
        return 1
    csv.parent.mkdir(parents=True, exist_ok=True)
    scores.to_csv(csv, index=False, lineterminator="\n", float_format="%.4f")
    print(markdown_table(table_of(scores, args.metric)))
    print(f"\n{METRICS[args.metric]} in %, mean over seeds ± their standard deviation (number of seeds).")
    for line in missing_runs(scores, planned, content.get("seeds") or []):
        print(f"Not run: {line}")
    return 0


def taken_up(planned: list[Planned], csv: Path) -> pd.DataFrame:
    """The committed rows, and those of the runs that are finished here, which come in their place."""
    new = pd.DataFrame([row for run in planned for row in rows_of(run)])
    old = pd.read_csv(csv, dtype={"variation": str}, keep_default_na=False) if csv.is_file() else new[:0]
    scores = pd.concat([frame for frame in (old, new) if len(frame)] or [old])
    if scores.empty:
        return scores
    order = {(run.name, variation_of(run)): place for place, run in enumerate(planned)}
    place = [order.get(key, len(order)) for key in zip(scores["method"], scores["variation"], strict=True)]
    scores = scores.assign(place=place).drop_duplicates(KEY, keep="last").sort_values(["place", "seed"], kind="stable")
    return scores.drop(columns="place").reset_index(drop=True)


def rows_of(run: Planned) -> Iterator[dict]:
    """One row per seed of a finished run; none of one that is not finished."""
    if not (run.folder / "results.json").is_file():
        return
    finished = read_run(run.folder)
    inner = finished.info["inner"]
    for seed, table in finished.predictions.groupby("seed"):
        folds = [entry for entry in finished.folds if entry["seed"] == seed]
        results = score_predictions(table, folds, inner=inner, resamples=1000).results["mean"]
        ranking, own = results["ranking"], results.get("calibrated") or {}
        ap = ranking.get("ap_calibrated") or ranking["ap"]
        yield {
            "method": run.name,
            "variation": variation_of(run),
            "seed": int(seed),
            "ap": 100 * ap["value"],
            "ap_low": 100 * ap["low"],
            "ap_high": 100 * ap["high"],
            "f1": 100 * own["f1"]["value"] if own else "",
            "f1_at_0.5": 100 * results["at_0.5"]["f1"]["value"],
            "prevalence": 100 * results["prevalence"],
            "train_seconds": round(sum(entry["train_seconds"] for entry in folds)),
            "commit": (finished.info.get("git_commit") or "")[:12],
            "command": shlex.join(command_of(run)),
        }


def command_of(run: Planned) -> list[str]:
    """The run as one gives it by hand."""
    words = run.command([])
    at = words.index("--config")
    return ["aullm", "train", Path(words[at + 1]).stem, *words[at + 4 :]]  # without its output folder


def variation_of(run: Planned) -> str:
    return " ".join(map(str, run.variation.values()))


def table_of(scores: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Methods down, variations across."""
    scores = scores.assign(**{metric: pd.to_numeric(scores[metric])}).dropna(subset=[metric])
    rows = []
    for method in dict.fromkeys(scores["method"]):
        own = scores[scores["method"] == method]
        cells = {}
        for variation in dict.fromkeys(scores["variation"]):
            values = own.loc[own["variation"] == variation, metric]
            spread = f" ± {values.std():.1f}" if len(values) > 1 else ""
            cells[variation or "score"] = f"{values.mean():.1f}{spread} ({len(values)})" if len(values) else "-"
        seconds = own["train_seconds"].astype(float).mean()
        rows.append({"method": method, **cells, "training, seconds": f"{seconds:.0f}"})
    if metric == "ap":
        chance = scores.groupby("variation")["prevalence"].mean()
        rows.append({"method": "chance", **{name or "score": f"{value:.1f}" for name, value in chance.items()}})
    return pd.DataFrame(rows).fillna("")


def missing_runs(scores: pd.DataFrame, planned: list[Planned], seeds: list[int]) -> Iterator[str]:
    """What the list asks for and no row has."""
    had = set(zip(scores["method"], scores["variation"], scores["seed"], strict=True))
    for run in planned:
        variation = variation_of(run)
        if lacking := [seed for seed in seeds if (run.name, variation, seed) not in had]:
            yield f"{run.name}" + (f", {variation}" if variation else "") + f": seeds {', '.join(map(str, lacking))}"


if __name__ == "__main__":
    raise SystemExit(main())
