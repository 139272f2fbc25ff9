"""transformers' pipeline and `detect_aus` make the same pixels of a video, so they give the same probabilities."""

import numpy as np
import pytest
from transformers import pipeline

from aullm_hf import AULLMVideoProcessor, detect_aus
from support.tiny import tiny_model
from support.videos import write_video


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    model = tiny_model(image_size=64)
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("shape", [(64, 64), (96, 128), (90, 70), (40, 50), (200, 120)], ids=str)
@pytest.mark.parametrize("colours", [(), (3,)], ids=["gray", "colour"])
def test_the_pipeline_and_detect_aus_agree(shape, colours, checkpoint, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (9, *shape, *colours), dtype=np.uint8)
    path = str(write_video(tmp_path / "clip.mkv", frames))
    table = detect_aus(path, checkpoint, face="none")
    found = {one["label"]: one["score"] for one in pipeline("au-detection", checkpoint, trust_remote_code=True)(path)}
    for label, score in found.items():
        assert abs(table[f"p_{label}"].iloc[0] - score) < 1e-5
