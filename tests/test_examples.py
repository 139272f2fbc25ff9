"""The examples in the docstrings of the public calls run as they stand, in a folder that holds what they name."""

import doctest
import shutil
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest

import aullm_hf
from aullm_hf import AULLMVideoProcessor
from support.tiny import tiny_model
from support.tool_tables import write_tool_table
from support.videos import write_video

# Public calls of the rooms, beside the names of the package itself.
OF_ROOMS = {
    "aullm_hf.data": (
        "report_of", "push_clips", "to_parquet", "check_clips", "parse_aus", "aus_of", "multi_hot", "label_matrix",
        "frames_only", "animate", "load_intervals", "read_tool_table",
    ),
    "aullm_hf.inference": ("AUDetector", "ExpressionSpotter", "name_aus", "explain_clips", "write_explained_video"),
    "aullm_hf.evaluation": ("compare_with_tool", "score_spotting"),
    "aullm_hf.model.pipeline_aullm": ("AUDetectionPipeline",),
}  # fmt: skip
METHODS = ("from_base_llm", "from_pretrained", "forward", "explain", "merge_and_export")


def public_calls() -> dict[str, Callable]:
    names = {"aullm_hf": tuple(aullm_hf._HOME_OF), **OF_ROOMS}
    calls = {f"{room}.{name}": getattr(import_module(room), name) for room in names for name in names[room]}
    detector = aullm_hf.AULLMForAUDetection
    return calls | {f"{detector.__name__}.{name}": getattr(detector, name) for name in METHODS}


CALLS = public_calls()


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    """What the examples name in capitals."""
    folder = tmp_path_factory.mktemp("examples")
    model = tiny_model()
    model.save_pretrained(folder / "CHECKPOINT_FOLDER")
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder / "CHECKPOINT_FOLDER")
    frames = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
    for name in ("VIDEO.mp4", "TALKS/talk.mp4"):
        write_video(folder / name, frames, codec="libx264", pixels="yuv420p")
    write_tool_table(folder / "OPENFACE.csv", "OpenFace 2")
    return folder


@pytest.mark.parametrize("name", CALLS)
def test_the_example_of_a_public_call_runs(name, furnished, tmp_path, monkeypatch):
    shutil.copytree(furnished, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    call = CALLS[name]
    (example,) = doctest.DocTestFinder(recurse=False).find(call, name, globs={})
    assert example.examples, f"{name} has no example"
    assert "Args:" in call.__doc__
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example).failed == 0
