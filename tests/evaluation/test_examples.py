"""The examples in the docstrings of the public calls run as they stand."""

import doctest

import pytest

import aullm_hf


@pytest.mark.parametrize("name", ["leave_one_subject_out", "cross_domain", "score_predictions"])
def test_the_example_of_a_public_call_runs(name):
    call = getattr(aullm_hf, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(call, name, globs={})
    assert example.examples and "Args:" in call.__doc__
    assert doctest.DocTestRunner().run(example).failed == 0
