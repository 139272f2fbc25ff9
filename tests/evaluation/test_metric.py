from pathlib import Path

import numpy as np
import pytest

import aullm_hf.evaluation
from aullm_hf.evaluation import read_run, score_predictions
from aullm_hf.evaluation.thresholds import sigmoid
from support.fake_run import fake_run


@pytest.fixture(scope="module")
def metric(tmp_path_factory):
    evaluate = pytest.importorskip("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.config, "HF_MODULES_CACHE", str(tmp_path_factory.mktemp("modules")))
        folder = Path(aullm_hf.evaluation.__file__).parent / "au_f1"
        yield evaluate.load(str(folder), cache_dir=str(tmp_path_factory.mktemp("cache")))


def test_the_same_numbers_as_scoring(metric, tmp_path):
    table = read_run(fake_run(tmp_path / "run")).predictions
    scores = score_predictions(table, resamples=0)
    aus = scores.results["aus"]
    p = sigmoid(table[[f"z_{au}" for au in aus]].to_numpy())
    y = table[[f"y_{au}" for au in aus]].to_numpy()
    result = metric.compute(predictions=p, references=y, aus=aus)
    assert result["f1"] == pytest.approx(scores.mean("at_0.5", "f1"), abs=1e-6)
    assert result["f1_macro"] == pytest.approx(scores.mean("at_0.5", "f1_macro"), abs=1e-6)
    assert result["average_precision"] == pytest.approx(scores.mean("ranking", "ap"), abs=1e-6)
    for au in aus:
        assert result["per_au"][au]["f1"] == pytest.approx(scores.au(au, "at_0.5", "f1"), abs=1e-6)
        assert result["per_au"][au]["support"] == scores.results["per_au"][au]["support"]


def test_thresholds_absent_classes_and_bad_input(metric):
    p, y = [[0.2, 0.9], [0.8, 0.1], [0.7, 0.2]], [[0, 0], [1, 0], [0, 0]]
    assert metric.compute(predictions=p, references=y, thresholds=[0.75, 0.5])["f1"] == 1.0
    result = metric.compute(predictions=p, references=y)
    assert np.isnan(result["per_au"]["1"]["f1"]) and result["f1"] == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match=r"references hold \[2\]; allowed are 0 and 1"):
        metric.compute(predictions=[[0.1]], references=[[2]])
    with pytest.raises(ValueError, match="1 names in aus for 2 columns"):
        metric.compute(predictions=p, references=y, aus=["AU1"])
