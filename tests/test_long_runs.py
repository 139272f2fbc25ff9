"""Memory, file handles and threads over many folds and many clips: the slope over the second half is none."""

import gc
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from aullm_hf.inference import AUDetector
from aullm_hf.model import AULLMVideoProcessor
from support.tiny import tiny_model
from support.tiny_run import tiny_yaml, train

pytestmark = pytest.mark.slow
PAGE = os.sysconf("SC_PAGESIZE")
FLAT = {"memory, KiB": 20.0, "file handles": 0.02, "threads": 0.02}  # a fold, or ten clips


def now() -> dict[str, float]:
    gc.collect()
    return {
        "memory, KiB": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1024,
        "file handles": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def slopes(measured: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """What -> (growth a step over the second half, half the width of its 95 % interval), by least squares."""
    half = measured[len(measured) // 2 :]
    steps = np.arange(len(half)) - (len(half) - 1) / 2
    found = {}
    for name in half[0]:
        values = np.array([one[name] for one in half])
        slope = steps @ values / (steps @ steps)
        rest = values - values.mean() - slope * steps
        found[name] = slope, 1.96 * float(np.sqrt(rest @ rest / (len(half) - 2) / (steps @ steps)))
    return found


def hold(what: str, measured: list[dict[str, float]]) -> None:
    for name, (slope, margin) in slopes(measured).items():
        print(f"| {what} | {name} | {measured[-1][name]:,.0f} | {slope:+.3f} ± {margin:.3f} |")
        assert slope - margin < FLAT[name], f"{what}: {name} grows by {slope:.3f} ± {margin:.3f} a step"


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """Where temporary files of this process go: nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_thousand_clips(model, temporary):
    detector = AUDetector(model, processor=AULLMVideoProcessor.for_config(model.config), batch_size=10, workers=1)
    frames = np.random.default_rng(0).integers(0, 256, (1000, 8, 32, 32), np.uint8)
    measured = []
    for first in range(0, 1000, 10):
        (table,) = detector.detect(list(frames[first : first + 10]))
        assert len(table) == 10 and not table["reason"].any()
        measured.append(now())
    assert not list(temporary.iterdir())
    hold("1,000 clips, ten a step", measured)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_hundred_folds(tmp_path, temporary, monkeypatch):
    from aullm_hf.training import fold

    measured, original = [], fold.train_fold

    def counted(*values, **named):
        original(*values, **named)
        measured.append(now())

    monkeypatch.setattr(fold, "train_fold", counted)
    data = {"subjects": 100, "clips_per_subject": 2}
    recipe = tiny_yaml(tmp_path, data=data, training={"num_train_epochs": 1, "max_steps": 1})
    assert train(recipe, tmp_path / "run") == 0
    assert len(measured) == 100
    assert not list(temporary.iterdir())
    hold("100 folds", measured)
