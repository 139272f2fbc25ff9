"""Many at once give what one alone gives: processes that build one data set, threads that share one model."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Thread

import numpy as np
import pytest
import torch

from aullm_hf.inference import AUDetector
from aullm_hf.model import AULLMVideoProcessor
from support.clip_trees import casme2_tree
from support.tiny import clips, tiny_model

THREADS, ROUNDS = 8, 3
BUILD = """
import hashlib, sys
import numpy as np
from aullm_hf import load_clips
name, root, cache = sys.argv[1:]
made = {"subjects": 2, "clips_per_subject": 2, "size": 16}
options = made if name == "synthetic" else {"root": root, "face": "none"}
rows = load_clips(name, cache_dir=cache, **options)
print(len(rows), hashlib.sha256(b"".join(np.asarray(row["frames"], np.uint8).tobytes() for row in rows)).hexdigest())
"""


@pytest.mark.slow  # two of them: tests/data/test_cache.py
@pytest.mark.parametrize(("name", "processes"), [("casme2", 4), ("synthetic", 4)])
def test_processes_that_build_the_same_data_set(name, processes, tmp_path):
    root = casme2_tree(tmp_path / "CASME2")
    command = [sys.executable, "-c", BUILD, name, str(root)]
    together = [
        subprocess.Popen([*command, str(tmp_path / "one")], stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    said = [process.communicate(timeout=300)[0].split()[-2:] for process in together]
    alone = subprocess.run([*command, str(tmp_path / "other")], capture_output=True, text=True).stdout.split()[-2:]
    assert said == [alone] * processes
    left = [path.name for path in (tmp_path / "one" / "aullm_clips" / name).iterdir()]
    assert len([one for one in left if not one.endswith(".lock")]) == 1, left  # no half-built folder


@pytest.fixture(scope="module", params=[{}, {"mge": True, "graph": True}], ids=["AU-LLM", "AULLM++"])
def model(request):
    return tiny_model(**request.param)


@pytest.fixture
def busy(model):
    """Another thread keeps calling eval() and explain() on the same model, and drops what it has kept."""
    stop, failed = Event(), []

    def disturb():
        try:
            while not stop.is_set():
                model.eval()
                model.explain(clips(1), "all")
        except Exception as error:
            failed.append(error)

    thread = Thread(target=disturb)
    thread.start()
    yield
    stop.set()
    thread.join()
    assert not failed


def in_threads(call, items):
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, items))


def test_threads_share_a_model(model, busy):
    batches = [clips(1 + at % 5, seed=at) for at in range(THREADS * ROUNDS)]

    @torch.no_grad()
    def predict(batch):
        return model(batch).logits

    alone = [predict(batch) for batch in batches]
    model.eval()  # what was kept is dropped: the threads find it missing at once
    for one, other in zip(alone, in_threads(predict, batches), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_threads_explain(model):
    batches = [clips(1, seed=at) for at in range(THREADS)]

    def falls(batch):
        return [(one.probability, one.counterfactual) for one in model.explain(batch, "all")[0].evidence]

    alone = [falls(batch) for batch in batches]
    np.testing.assert_allclose(in_threads(falls, batches), alone, atol=1e-5)


def test_threads_share_a_detector_and_its_processor(model, busy):
    detector = AUDetector(model, processor=AULLMVideoProcessor.for_config(model.config), batch_size=2, workers=1)
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (7 + at % 4, 30, 30), np.uint8) for at in range(THREADS * ROUNDS)]

    def detect(array):
        (table,) = detector.detect(array)
        return table[[f"p_{label}" for label in detector.labels]].to_numpy()

    alone = [detect(array) for array in arrays]
    assert np.isfinite(alone).all()
    np.testing.assert_allclose(in_threads(detect, arrays), alone, atol=1e-6)
