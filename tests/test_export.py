"""`aullm export`: one folder that needs neither the base LLM nor this package."""

import json
import shutil

import numpy as np
import pytest
import torch

from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.tiny_llm import build_tiny_llm
from support.commands import aullm
from support.stranger import run_as_stranger
from support.tiny import clips, tiny_config, tiny_model

STRANGER = """
import json
import numpy as np, torch
from transformers import AutoModel, AutoProcessor

path, frames, out = sys.argv[1:]
model = AutoModel.from_pretrained(path, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(path, trust_remote_code=True)
with torch.no_grad():
    logits = model(processor([np.load(frames)])["pixel_values"]).logits
found = {"logits": logits.tolist(), "thresholds": model.config.thresholds, "llm": model.config.llm_name_or_path}
json.dump(found, open(out, "w"))
"""


def test_an_exported_checkpoint_needs_neither_the_package_nor_the_llm(tmp_path):
    llm = build_tiny_llm(tmp_path / "llm", "qwen2")
    model = AULLMForAUDetection.from_base_llm(tiny_config(), str(llm), seed=0).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # fresh adapters change nothing
                parameter.normal_(std=0.2)
    model.config.thresholds["AU4"] = 0.31
    processor = AULLMVideoProcessor.for_config(model.config)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "fold")
    frames = np.random.default_rng(0).integers(0, 256, (11, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    with torch.no_grad():
        logits = model(processor([frames])["pixel_values"]).logits

    assert aullm("export", tmp_path / "fold", tmp_path / "exported") == 0
    for gone in ("fold", "llm"):
        shutil.rmtree(tmp_path / gone)
    run_as_stranger(STRANGER, tmp_path, tmp_path / "exported", tmp_path / "frames.npy", tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text())
    torch.testing.assert_close(torch.tensor(found["logits"]), logits, atol=1e-5, rtol=0)
    assert found["thresholds"]["AU4"] == 0.31 and found["llm"] == "llm"


def test_what_is_there_is_not_replaced_and_a_failure_leaves_nothing(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("mine")
    assert aullm("export", tmp_path / "fold", tmp_path / "mine") == 2
    assert "which is there already; give a new or an empty folder" in capsys.readouterr().err
    assert aullm("export", tmp_path / "nowhere", tmp_path / "out") == 2
    assert "nowhere" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_the_llm_inside_has_the_type_that_was_asked_for(tmp_path, dtype):
    model = tiny_model()
    for part in (model, AULLMVideoProcessor.for_config(model.config)):
        part.save_pretrained(tmp_path / "fold")
    (tmp_path / "out").mkdir()  # an empty folder will do
    assert aullm("export", tmp_path / "fold", tmp_path / "out", "--dtype", dtype) == 0
    exported = AULLMForAUDetection.from_pretrained(tmp_path / "out")
    assert exported.config.llm_dtype == dtype and next(exported.model.llm.parameters()).dtype == torch.bfloat16
    assert exported(clips(1)).logits.shape == (1, 3)
