"""The benchmark of PyTorch and onnxruntime: both give the same logits, and the ratio is that of their speeds."""

import json

import benchmark
import pytest

import support.tiny_run  # noqa: F401  finds `benchmarks`
from aullm_hf.model import AULLMVideoProcessor
from support.tiny import tiny_model


def test_one_run_gives_both_speeds_and_their_ratio(tmp_path):
    pytest.importorskip("onnxscript")
    model = tiny_model(layers=1)  # every layer is the same code, and is traced again
    model.save_pretrained(tmp_path / "checkpoint")
    AULLMVideoProcessor.for_config(model.config).save_pretrained(tmp_path / "checkpoint")
    options = ["--model", str(tmp_path / "checkpoint"), "--batch", "2", "--repeats", "1", "--threads", "1"]
    assert benchmark.main(["onnx", *options, "--out", str(tmp_path)]) == 0
    ((row,),) = json.loads((tmp_path / "onnx.json").read_text()).values()
    assert row["batch"] == 2 and row["largest difference of a logit"] < 1e-4
    assert row["ratio"] == pytest.approx(row["clips/s onnxruntime"] / row["clips/s PyTorch"])
