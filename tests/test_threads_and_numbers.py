"""The figures of one thread are those of two: within 1e-5 in a logit of the same weights, 1e-3 after training.

Trained by plain gradient descent: Adam divides small gradients by their own size, and makes of a rounding a step.
"""

import subprocess
import sys

import numpy as np
import pytest

TOLERANCE = 1e-5
PREDICT = """
import sys
import numpy as np, torch
torch.set_num_threads(int(sys.argv[1]))
sys.path.insert(0, "tests")
from support.tiny import clips, labels, tiny_model
found = []
for fields in ({}, {"mge": True, "graph": True, "ccr_weight": 1.0}):
    model = tiny_model(**fields)
    with torch.no_grad():
        found.append(model(clips(5)).logits)
    optimizer = torch.optim.SGD(model.trained_parameters().values(), lr=0.05)
    for step in range(4):
        model.train()
        torch.manual_seed(step)
        model(clips(5, seed=step), labels=labels(5, seed=step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found.append(model.eval()(clips(5)).logits)
np.save(sys.argv[2], torch.stack(found).numpy())
"""


def figures(threads: int, path) -> np.ndarray:
    subprocess.run([sys.executable, "-c", PREDICT, str(threads), str(path)], check=True, capture_output=True)
    return np.load(path)


@pytest.mark.slow
def test_one_thread_and_two_predict_and_train_alike(tmp_path):
    one, two = figures(1, tmp_path / "1.npy"), figures(2, tmp_path / "2.npy")
    np.testing.assert_allclose(one[::2], two[::2], rtol=0, atol=TOLERANCE)  # as made
    np.testing.assert_allclose(one[1::2], two[1::2], rtol=0, atol=100 * TOLERANCE)  # after four steps
    assert np.abs(one[1] - one[0]).max() > 1e-2  # and the steps changed something
