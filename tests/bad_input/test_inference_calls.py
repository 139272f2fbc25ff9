"""Every argument of the detector, with values that it does not take; and things that are no clips."""

import warnings

import pytest
from hypothesis import given

from aullm_hf import detect_aus
from aullm_hf.inference import AUDetector
from support.refusals import outcome
from support.tiny import tiny_model
from support.wrong_values import TRIED, wrong_values

MODEL = tiny_model()
OPTIONS = ("model", "processor", "device", "face", "faces", "window", "stride", "fps", "face_model", "batch_size",
           "workers", "unknown")  # fmt: skip


@pytest.mark.parametrize("argument", OPTIONS)
@TRIED
@given(value=wrong_values(-1.0, "cuda:99", "Align", 1e9))
def test_options(argument, value):
    def make():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            AUDetector(**{"model": MODEL, argument: value})

    outcome(make, argument, "YuNet", "window", "checkpoint", "folder")


@TRIED
@given(value=wrong_values())
def test_what_is_no_clip_is_refused_or_a_row_with_its_reason(value):
    def detect():
        table = detect_aus(value, MODEL, workers=1)
        assert (table["reason"].astype(bool) | table["p_AU4"].notna()).all()

    outcome(detect, "clip", "table", "file", "folder", "path", "frame")
