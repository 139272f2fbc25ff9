"""The classical baselines are scikit-learn's machines, kept as tensors."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from support.tiny_baselines import seen, tiny_baseline


@pytest.mark.parametrize("name", ["flow-svm", "lbp-top-svm"])
def test_the_logits_are_the_machines_decisions(name, tmp_path):
    model = tiny_baseline(name, svm_c=0.1)
    pixels, labels = seen(model, 24), np.random.default_rng(0).integers(0, 2, (24, 3))
    model.fit(pixels, labels)
    with torch.no_grad():
        logits = model(pixels).logits.numpy()
    features = model.model.features(pixels).double().numpy()
    for au in range(3):
        machine = make_pipeline(StandardScaler(), SVC(kernel="linear", C=0.1, class_weight="balanced"))
        expected = machine.fit(features, labels[:, au]).decision_function(features)
        assert np.allclose(logits[:, au], expected, atol=1e-3)
    model.save_pretrained(tmp_path)
    assert torch.equal(type(model).from_pretrained(tmp_path)(pixels).logits, model(pixels).logits)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_an_au_that_training_never_shows_or_always_shows_has_one_answer():
    model = tiny_baseline("flow-svm")
    labels = np.random.default_rng(0).integers(0, 2, (12, 3))
    labels[:, 0], labels[:, 1] = 0, 1
    model.fit(seen(model, 12), labels)
    with torch.no_grad():
        logits = model(seen(model, 6, seed=5)).logits
    assert (logits[:, 0] == -1).all() and (logits[:, 1] == 1).all() and logits[:, 2].std() > 0


def test_the_features_of_flow_are_the_means_of_blocks():
    model = tiny_baseline("flow-svm")
    flow = torch.randn(2, 1, 3, 32, 32)
    blocks = flow[:, 0].reshape(2, 3, 8, 4, 8, 4).mean(dim=(3, 5)).flatten(1)
    assert torch.allclose(model.model.features(flow), blocks, atol=1e-6)
