"""The examples in the docstrings of the public calls run as they stand."""

import doctest

import pytest

from aullm_hf import data

CALLS = ("load_clips", "report_of", "push_clips", "to_parquet", "check_clips", "parse_aus", "aus_of", "multi_hot",
         "label_matrix", "frames_only")  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_example_of_a_public_call_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    call = getattr(data, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(call, name, globs={})
    assert example.examples, f"{name} has no example"
    assert "Args:" in call.__doc__
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    assert runner.run(example).failed == 0
