"""The checkpoint that comes with the package: data only, small, from drawn faces alone, and it reads new people."""

import json

import numpy as np
import pytest
import torch

from aullm_hf.data.labels import label_matrix
from aullm_hf.data.synthetic.clips import synthetic_clips
from aullm_hf.evaluation.counting import mean_of_defined, roc_auc
from aullm_hf.inference import AUDetector
from aullm_hf.packaged import PACKAGED
from support.commands import aullm
from support.stranger import run_as_stranger


@pytest.fixture(scope="module")
def detector() -> AUDetector:
    return AUDetector(face="none")


def test_it_is_data_only_small_and_says_what_it_has_seen(detector):
    files = [path for path in PACKAGED.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "README.md", "config.json", "model.safetensors", "video_preprocessor_config.json"
    }  # fmt: skip
    assert sum(path.stat().st_size for path in files) <= 12e6
    config, card = detector.model.config, " ".join((PACKAGED / "README.md").read_text(encoding="utf-8").split())
    assert len(config.labels) >= 15 and config.motion == "flow" and config.save_base_weights
    assert "(wild), SYNTHETIC faces" in config.training_data and detector.processor.face["face"] == "align"
    assert "never seen a labelled micro-expression" in card and "not evidence about a person" in card
    assert all(f"| {au} |" in card for au in config.labels)


def test_it_ranks_the_clips_of_new_people_and_leaves_still_ones_alone(detector):
    clips = synthetic_clips(difficulty="wild", domain="samm", subjects=40, clips_per_subject=5, seed=1234)
    pixels = detector.processor([np.asarray(frames) for frames in clips["frames"]])["pixel_values"]
    with torch.inference_mode():
        p = detector.model.probabilities(detector.model(pixels).logits).numpy()
        frozen = detector.model(pixels[:64, :1].expand(-1, 6, -1, -1, -1)).logits
    y = label_matrix(clips, detector.model.config.aus)
    aucs = np.array([roc_auc(p[:, column], y[:, column])[0] for column in range(y.shape[1])])
    assert mean_of_defined(aucs) > 0.8, dict(zip(detector.labels, aucs.round(2), strict=True))
    thresholds = np.array(list(detector.thresholds.values()))
    assert (detector.model.probabilities(frozen).numpy() >= thresholds).any(axis=1).mean() <= 0.02


STRANGER = """
import json, torch
from transformers import AutoModel

path, pixels, out = sys.argv[1:]
model = AutoModel.from_pretrained(path, trust_remote_code=True)
with torch.no_grad():
    json.dump(model(torch.load(pixels, weights_only=True)).logits.tolist(), open(out, "w"))
"""


def test_exported_it_loads_where_the_package_is_not(detector, tmp_path):
    pixels = torch.rand(2, 6, 1, 64, 64)
    torch.save(pixels, tmp_path / "pixels.pt")
    assert aullm("export", tmp_path / "exported") == 0
    run_as_stranger(STRANGER, tmp_path, tmp_path / "exported", tmp_path / "pixels.pt", tmp_path / "out.json")
    with torch.no_grad():
        logits = detector.model(pixels).logits
    assert torch.allclose(torch.tensor(json.loads((tmp_path / "out.json").read_text())), logits, atol=1e-4)
