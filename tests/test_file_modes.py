"""The umask decides who may read what is written: safetensors 0.8 alone would let only the owner."""

import os
import stat

import pytest
import torch

from aullm_hf import AULLMVideoProcessor, build_tiny_llm
from aullm_hf.training.checkpoints import save_state
from support.tiny import tiny_model
from support.tiny_baselines import tiny_baseline


def save_merged(folder):
    tiny_model().merge_and_export(folder, max_shard_size="100KB")


def save_detector(folder):
    model = tiny_model()
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)


WRITERS = {
    "detector": save_detector,
    "body": lambda folder: tiny_model().model.save_pretrained(folder),
    "merged": save_merged,
    "baseline": lambda folder: tiny_baseline("led-sssnet").save_pretrained(folder),
    "tiny LLM": build_tiny_llm,
    "optimizer": lambda folder: save_state({"step": torch.ones(2)}, folder / "optimizer.safetensors"),
}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
@pytest.mark.parametrize("writer", WRITERS)
def test_the_umask_decides(writer, umask, tmp_path):
    before = os.umask(umask)
    try:
        WRITERS[writer](tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir() if path.is_file()}
    assert any(name.endswith(".safetensors") for name in modes)
    assert set(modes.values()) == {0o666 & ~umask}, modes
