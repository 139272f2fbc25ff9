"""The reference's side of benchmarks/loso.py: every fold a plain Trainer run, one after the other in this process.

    cd training && python -m benchmarks.loso_reference --config quickstart --inner none --output_dir FOLDER

Takes the fields of a run's configuration, as train.py does; leaves fold.json and the test clips' logits of each fold.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, TrainingArguments

from aullm_hf.model.base_llm import llm_config_of
from aullm_hf.model.prompting import compile_prompt
from aullm_hf.tiny_llm import build_tiny_llm
from aullm_hf.training.clips import clips_of
from aullm_hf.training.data import aus_of_run, load_run_data
from aullm_hf.training.jobs import folds_of
from aullm_hf.training.model import TINY, model_config, tiny_sizes
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.settings import RunConfig
from benchmarks.reference import train_fold


def arguments_of(config: RunConfig, folder: Path) -> TrainingArguments:
    """What the recipe asks for, as plain TrainingArguments."""
    names = (
        *("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "learning_rate"),
        *("weight_decay", "lr_scheduler_type", "warmup_steps", "max_grad_norm", "logging_steps", "seed"),
    )
    shared = {name: getattr(config.training, name) for name in names}
    return TrainingArguments(output_dir=str(folder), save_strategy="no", report_to="none", disable_tqdm=True, **shared)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    options, overrides = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    config = load_run_config(options.config, overrides)
    aus, run = aus_of_run(config.data), config.folder
    clips = clips_of(load_run_data(config.data, config.model.image_size).clips, aus)
    family = config.model.llm_name_or_path.removeprefix(TINY)
    base = build_tiny_llm(run / "base_llm", family=family, **tiny_sizes(config.model))
    for fold in folds_of(config, clips.table, aus, config.seeds[0]):
        begun, folder = time.perf_counter(), run / "folds" / fold.name
        folder.mkdir(parents=True)
        detector = model_config(config.model, aus)
        detector.text_config = llm_config_of(str(base), None)
        detector.prompt_segments = compile_prompt(detector.prompt_template, AutoTokenizer.from_pretrained(base))
        logits = train_fold(detector, base, clips, fold.train, fold.test, arguments_of(config, folder), folder)
        np.save(folder / "logits.npy", logits)
        entry = {"fold": fold.name, "seconds": time.perf_counter() - begun}
        (folder / "fold.json").write_text(json.dumps(entry), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
