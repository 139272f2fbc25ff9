"""Every argument of the data room, with values that it does not take."""

import pytest
from hypothesis import given

from aullm_hf import data, load_clips
from support.refusals import outcome
from support.wrong_values import TRIED, wrong_values

READING = (
    "name_or_path", "root", "on_error", "either", "ref", "static", "corrections", "face", "size", "fit", "face_model",
    "table", "images", "dataset_name", "workers", "cache_dir", "rebuild", "unknown",
)  # fmt: skip
MAKING = ("subjects", "clips_per_subject", "size", "difficulty", "domain", "seed", "aus", "amplitude", "fps",
          "label_noise", "workers", "rebuild", "unknown")  # fmt: skip
CALLS = {
    "aus_of": (data.aus_of, "AU"),
    "au_names": (data.au_names, "AU"),
    "au_info": (data.au_info, "AU"),
    "au_name": (data.au_name, "AU"),
    "parse_aus": (data.parse_aus, "AU"),
    "clip_features": (data.clip_features, "size"),
    "frames_only": (data.frames_only, "dataset"),
    "report_of": (data.report_of, "dataset"),
    "label_matrix": (lambda value: data.label_matrix(value, [1, 4]), "dataset", "AU", "aus"),
    "multi_hot": (lambda value: data.multi_hot(value, [1, 4]), "AU"),
    "push_clips": (lambda value: data.push_clips(value, "me/clips"), "dataset"),
    "to_parquet": (lambda value: data.to_parquet(value, "no-such-folder/x.parquet"), "dataset"),
    "FaceFinder": (data.FaceFinder, "face_model", "detector"),
    "FaceRecipe.from_dict": (data.FaceRecipe.from_dict, "recipe", "face"),
    "check_clips": (lambda value: data.check_clips("casme2", value), "root", "folder"),
}


@pytest.mark.parametrize("argument", READING)
@TRIED
@given(value=wrong_values())
def test_clips_of_a_folder(argument, value, tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    options = {"name_or_path": "casme2", "root": base / "none", "face": "none", "cache_dir": base / "cache"}
    said = (argument, "is not a folder", "table", "name_or_path", "data set", "root", "size", "YuNet", "detector")
    outcome(lambda: load_clips(**{**options, argument: value}), *said)


@pytest.mark.parametrize("argument", MAKING)
@TRIED
@given(value=wrong_values().filter(lambda value: type(value) is not int or value < 3))
def test_synthetic_clips(argument, value, tmp_path_factory):
    options = {"subjects": 1, "clips_per_subject": 1, "size": 16, "workers": 1}
    cache = tmp_path_factory.getbasetemp() / "cache"
    outcome(lambda: load_clips("synthetic", cache_dir=cache, **{**options, argument: value}), argument, "AU", "FACS")


@pytest.mark.parametrize("call", CALLS)
@TRIED
@given(value=wrong_values())
def test_calls(call, value):
    function, *names = CALLS[call]
    outcome(lambda: function(value), *names, "FACS")


@pytest.mark.parametrize("name", ["face", "size", "fit", "detector", "min_score", "tries", "template"])
@TRIED
@given(value=wrong_values())
def test_face_recipes(name, value):
    outcome(lambda: data.FaceRecipe(**{name: value}), name)
