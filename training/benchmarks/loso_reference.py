"""The reference's side of benchmarks/loso.py: every fold a plain Trainer run, one after the other in this process.

    python training/benchmarks/loso_reference.py --config hub_configs/quickstart.yaml --inner none --output_dir FOLDER

Takes the fields of a run's configuration, as train.py does, and leaves a fold.json and the test clips' logits a fold.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, TrainingArguments

from aullm_hf.model.checkpointing import llm_config_of
from aullm_hf.model.prompting import compile_prompt
from aullm_hf.tiny_llm import build_tiny_llm
from aullm_hf.training.batches import clips_of
from aullm_hf.training.data import aus_of_run, load_run_data
from aullm_hf.training.jobs import folds_of
from aullm_hf.training.model import TINY, model_config, tiny_sizes
from aullm_hf.training.settings import RunConfig, load_run_config
from benchmarks.reference import train_fold


def arguments_of(config: RunConfig, folder: Path) -> TrainingArguments:
    """What the recipe asks for, as plain TrainingArguments."""
    given = config.training
    names = (
        *("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "learning_rate"),
        *("weight_decay", "lr_scheduler_type", "warmup_steps", "max_grad_norm", "logging_steps", "seed"),
    )
    same = {name: getattr(given, name) for name in names}
    return TrainingArguments(output_dir=str(folder), save_strategy="no", report_to="none", disable_tqdm=True, **same)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    given, overrides = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    config = load_run_config(given.config, overrides)
    aus, run = aus_of_run(config.data), config.folder
    clips = clips_of(load_run_data(config.data, config.model.image_size).clips, aus)
    family = config.model.llm_name_or_path.removeprefix(TINY)
    base = build_tiny_llm(run / "base_llm", family=family, **tiny_sizes(config.model))
    for fold in folds_of(config, clips.table, aus, config.seeds[0]):
        begun, folder = time.perf_counter(), run / "folds" / fold.name
        folder.mkdir(parents=True)
        wanted = model_config(config.model, aus)
        wanted.text_config = llm_config_of(str(base), None)
        wanted.prompt_segments = compile_prompt(wanted.prompt_template, AutoTokenizer.from_pretrained(base))
        logits = train_fold(wanted, base, clips, fold.train, fold.test, arguments_of(config, folder), folder)
        np.save(folder / "logits.npy", logits)
        said = {"fold": fold.name, "seconds": time.perf_counter() - begun}
        (folder / "fold.json").write_text(json.dumps(said), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
