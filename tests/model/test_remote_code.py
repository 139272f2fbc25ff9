"""A stranger's view: a process with torch, transformers and peft, elsewhere, that cannot import this package."""

import json
import shutil

import numpy as np
import pytest
import torch

from aullm_hf.model import AULLMVideoProcessor
from support.stranger import run_as_stranger
from support.tiny import SUBSETS, clips, tiny_model

STRANGER = """
import json, sys
import numpy as np, torch

import transformers
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor, pipeline

path, out = sys.argv[1:]
try:
    AutoModel.from_pretrained(path, trust_remote_code=False)
except ValueError as error:
    assert "trust_remote_code" in str(error), error
else:
    raise SystemExit("loaded without trust_remote_code")

frames = np.load(out + "/frames.npy")
config = AutoConfig.from_pretrained(path, trust_remote_code=True)
try:
    config.projector = 5
except ValueError as error:
    assert "AULLMConfig.projector is 5; allowed: one of 'efp'" in str(error), error
else:
    raise SystemExit("a wrong assignment passes: the types of the fields are text here")
processor = AutoProcessor.from_pretrained(path, trust_remote_code=True)
model = AutoModel.from_pretrained(path, trust_remote_code=True)
again = AutoModelForVideoClassification.from_pretrained(path, trust_remote_code=True)
assert type(model).__name__ == type(again).__name__ == "AULLMForAUDetection"
assert not model.training and "aullm_hf" not in sys.modules
pixel_values = processor(list(frames))["pixel_values"]
with torch.no_grad():
    logits = model(pixel_values).logits
    assert torch.equal(again(pixel_values).logits, logits)
au = pipeline(model=path, trust_remote_code=True)
assert au.task == "au-detection"
one, many = au(frames[0]), au(list(frames), batch_size=2)
assert len(many) == len(frames)
assert all(abs(a["score"] - b["score"]) < 1e-6 for a, b in zip(one, many[0], strict=True))
model.save_pretrained(out + "/again")  # and pass it on
processor.save_pretrained(out + "/again")
relayed = AutoModel.from_pretrained(out + "/again", trust_remote_code=True)
with torch.no_grad():
    assert torch.equal(relayed(pixel_values).logits, logits)
assert [one.au for one in model.explain(pixel_values[:1], "all")[0].evidence] == config.labels
json.dump({"logits": logits.tolist(), "scores": many, "trained": len(model.trained_parameters()),
           "aus": config.aus, "size": processor.size}, open(out + "/out.json", "w"))
"""


ALL_MODULES = SUBSETS["mge+graph+ccr"]


@pytest.mark.parametrize(
    ("way", "fields"),
    [
        ("saved", {}),
        ("copied", {}),
        ("merged", {}),
        ("copied", ALL_MODULES),
        pytest.param("merged", ALL_MODULES, marks=pytest.mark.slow),
    ],
    ids=["saved", "copied", "merged", "AULLM++ copied", "AULLM++ merged"],
)
def test_a_saved_fold_loads_anywhere(way, fields, tmp_path):
    model = tiny_model(**fields)
    model.config.calibration["AU4"] = [1.5, -0.25]
    model.config.thresholds["AU4"] = 0.31
    processor = AULLMVideoProcessor.for_config(model.config)
    path = tmp_path / "fold"
    if way == "merged":
        model.merge_and_export(path)
    else:
        model.save_pretrained(path)
    processor.save_pretrained(path)
    if way == "copied":
        shutil.copytree(path, tmp_path / "elsewhere" / "another-name")
        shutil.rmtree(path)
        path = tmp_path / "elsewhere" / "another-name"
    frames = np.random.default_rng(0).integers(0, 256, (3, 11, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "frames.npy", frames)
    with torch.no_grad():
        logits = model(processor(list(frames))["pixel_values"]).logits
        expected = model.probabilities(logits)

    run_as_stranger(STRANGER, tmp_path, path, tmp_path)
    found = json.loads((tmp_path / "out.json").read_text())
    torch.testing.assert_close(torch.tensor(found["logits"]), logits, atol=1e-6 if way != "merged" else 1e-5, rtol=0)
    assert found["aus"] == [1, 4, 12] and found["size"] == 32
    for clip, scores in zip(found["scores"], expected, strict=True):
        assert [entry["label"] for entry in clip] == ["AU1", "AU4", "AU12"]
        assert [entry["threshold"] for entry in clip] == [0.5, 0.31, 0.5]
        for entry, score in zip(clip, scores.tolist(), strict=True):
            assert abs(entry["score"] - score) < 1e-5
            assert entry["active"] == (entry["score"] >= entry["threshold"])


def test_the_built_in_video_pipeline_serves_too(tmp_path):
    """`video-classification` needs a video file; it knows nothing of calibration, so it gives plain sigmoids."""
    import av
    from transformers import pipeline

    model = tiny_model()
    model.save_pretrained(tmp_path / "fold")
    processor = AULLMVideoProcessor.for_config(model.config)
    processor.save_pretrained(tmp_path / "fold")
    path = str(tmp_path / "clip.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=200)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "bgr0"
        for frame in np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    serve = pipeline("video-classification", model=str(tmp_path / "fold"), trust_remote_code=True)
    found = serve(path, top_k=3, function_to_apply="sigmoid")  # transformers before 5.23 would take a softmax
    with torch.no_grad():
        expected = model(processor(path)["pixel_values"]).logits[0].sigmoid()
    by_label = {entry["label"]: entry["score"] for entry in found}
    for label, score in zip(model.config.labels, expected.tolist(), strict=True):
        assert abs(by_label[label] - score) < 1e-6


def test_the_pipeline_takes_one_clip_or_many(tmp_path):
    from transformers import pipeline

    model = tiny_model()
    model.save_pretrained(tmp_path)
    au = pipeline("au-detection", model=str(tmp_path), trust_remote_code=True)  # without a saved processor
    frames = list(np.random.default_rng(0).integers(0, 256, (9, 32, 32), dtype=np.uint8))
    single = au(frames)
    assert [entry["label"] for entry in single] == ["AU1", "AU4", "AU12"]
    assert au([frames]) == [single] == [au(np.stack(frames))]
    assert au([frames, frames, np.stack(frames)], batch_size=3)[2][0]["score"] == pytest.approx(
        single[0]["score"], abs=1e-6
    )
    batch = np.stack([np.stack(frames)] * 3)
    for form in (tuple(batch), torch.from_numpy(batch)[:, :, None], batch[..., None]):
        assert len(au(form)) == 3  # nothing is dropped, whatever holds the clips
    assert au([]) == []
    assert len(list(au(iter([frames, frames])))) == len(list(au(f for f in [frames, frames]))) == 2
    with pytest.raises(ValueError, match="one flat list of clips"):
        au([[batch[0], batch[1]]])
    with pytest.raises(TypeError, match="top_k"):
        au(frames, top_k=2)


def test_the_pipeline_says_what_the_model_was_trained_on(tmp_path, caplog):
    from transformers import pipeline

    tiny_model(training_data="synthetic-casme2, SYNTHETIC faces", clips_cropped=True).save_pretrained(tmp_path)
    with caplog.at_level("WARNING"):
        for _ in range(2):
            pipeline("au-detection", model=str(tmp_path), trust_remote_code=True)
    (line,) = [record.message for record in caplog.records if "SYNTHETIC" in record.message]
    assert line == (
        f"{tmp_path}: the model was trained on synthetic-casme2, SYNTHETIC faces; it expects clips cropped to the "
        "face, which this pipeline does not do (`aullm predict` does)."
    )


def test_what_the_processor_resolves_through(tmp_path):
    """AutoProcessor everywhere; the AutoVideoProcessor of transformers' front page only beside torchvision."""
    import transformers
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor

    AULLMVideoProcessor(size=32).save_pretrained(tmp_path)
    tiny_model().save_pretrained(tmp_path)
    for auto in (transformers.AutoProcessor, AutoVideoProcessor):
        processor = auto.from_pretrained(tmp_path, trust_remote_code=True)
        assert type(processor).__name__ == "AULLMVideoProcessor" and processor.size == 32
    if not transformers.utils.is_torchvision_available():
        with pytest.raises(ImportError, match="Torchvision"):
            transformers.AutoVideoProcessor.from_pretrained(tmp_path, trust_remote_code=True)


def test_clips_of_a_batch_are_as_alone(tmp_path):
    model = tiny_model()
    x = clips(4)
    with torch.no_grad():
        torch.testing.assert_close(model(x).logits[2:3], model(x[2:3]).logits, atol=1e-6, rtol=1e-6)
