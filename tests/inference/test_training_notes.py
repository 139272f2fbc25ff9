"""What a model was trained on is said wherever it is used, and a picture that is no crop of a face says so."""

import json

import numpy as np
import pandas as pd
import pytest

from aullm_hf.commands.main import main
from aullm_hf.data import faces
from aullm_hf.inference import AUDetector
from aullm_hf.inference.training_note import training_note
from aullm_hf.model import AULLMVideoProcessor
from support.tiny import tiny_model
from support.videos import moving, noise, write_video

DRAWN = "synthetic-casme2 v2 (easy), SYNTHETIC faces"
NOTE = f"the model was trained on drawn faces ({DRAWN}): means nothing on real ones"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A checkpoint of a model that has seen drawn faces only."""
    model = tiny_model()
    model.config.training_data, model.config.clips_cropped = DRAWN, True
    folder = tmp_path_factory.mktemp("drawn")
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mkv", noise(8, 32, 32))


def test_the_note_is_for_models_that_have_not_seen_real_faces_only():
    assert training_note(None) == training_note("casme2, samm") == ""
    assert training_note(DRAWN) == NOTE
    assert training_note(DRAWN, brief=True) == "Trained on drawn faces: means nothing on real ones"
    wild = "synthetic-casme2 v2 (wild), SYNTHETIC faces"
    assert training_note(wild, brief=True).endswith("on no labelled micro-expression: no evidence about a person")
    assert "trained partly on drawn faces" in training_note("synthetic, casme2, partly SYNTHETIC faces")
    assert "means nothing on any face" in training_note("casme2; CONTROL: labels shuffled")


def test_predict_says_it_once_and_in_a_column(drawn, clip, tmp_path, capsys):
    out = tmp_path / "aus.csv"
    assert main(["predict", str(clip), str(clip), "--model", str(drawn), "--out", str(out), "--no_face"]) == 0
    assert capsys.readouterr().err.count(NOTE) == 1
    assert pd.read_csv(out)["trained_on"].tolist() == [DRAWN, DRAWN]
    assert main(["predict", str(clip), "--model", str(drawn), "--no_face"]) == 0
    printed = capsys.readouterr()
    assert printed.err.count(NOTE) == 1 and NOTE not in printed.out


def test_info_says_it(drawn, checkpoint, capsys):
    assert main(["info", str(drawn)]) == 0
    printed = capsys.readouterr().out
    assert f"Trained on: {DRAWN}" in printed and f"Note: {NOTE}" in printed
    assert main(["info", str(drawn), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["trained_on"] == DRAWN and facts["clips_cropped"] is True
    assert main(["info", str(checkpoint)]) == 0
    assert "Trained on: not recorded" in capsys.readouterr().out


def test_explain_says_it_in_words_in_json_and_in_the_pictures(drawn, clip, tmp_path, capsys):
    command = ["explain", str(clip), "--model", str(drawn), "--out", str(tmp_path), "--format", "svg", "--no_face"]
    assert main(command) == 0
    assert capsys.readouterr().err.count(NOTE) == 1
    assert json.loads((tmp_path / "explanation.json").read_text())["trained_on"] == DRAWN
    pictures = list(tmp_path.rglob("*.svg"))
    assert len(pictures) == 4
    for picture in pictures:
        assert "Trained on drawn faces" in picture.read_text()


def test_python_callers_are_told(drawn):
    with pytest.warns(UserWarning, match="means nothing on real ones"):
        AUDetector(drawn, face="none")


# -------------------------------------------------------------------- crops and other pictures


def test_without_a_face_detector_clips_are_taken_as_they_are_and_that_is_said(drawn, clip, capsys):
    assert main(["predict", str(clip), "--model", str(drawn)]) == 0
    assert capsys.readouterr().err.count("nothing says whether these clips are: they are taken as they are") == 1
    assert main(["predict", str(clip), "--model", str(drawn), "--no_face"]) == 0
    assert "taken as they are" not in capsys.readouterr().err


def test_pictures_that_are_no_crops_say_so_by_their_shape(make_detector):
    wide, square = np.stack(noise(8, 36, 64)), np.stack(noise(8, 32, 32))
    rows = pd.concat(make_detector().detect([wide, square]))
    assert rows["warning"].tolist() == ["was taken as the crop of a face, but its frames have 64 x 36 pixels", ""]


def test_pictures_that_are_no_crops_say_so_by_what_the_detector_sees(make_detector, face_model, photo):
    detector = make_detector(face_model=face_model)
    crop = [photo[20:260, 120:340]] * 6
    far = [np.pad(photo[:380, :380][::4, ::4], ((0, 240), (0, 240), (0, 0)), mode="edge")] * 6
    (good,), (small,), (empty,) = (detector.read(clip) for clip in (crop, far, [np.full((64, 64), 90, np.uint8)] * 6))
    assert good.warning == "" and not good.reason
    assert small.warning.startswith("was taken as the crop of a face, which fills ")
    assert empty.warning == "was taken as the crop of a face, but no face was found in it"


def test_clips_are_aligned_unless_they_are_known_to_be_crops(model, processor, photo, face_model, monkeypatch):
    """A model of crops, told nothing: with the face detector at hand, faces are cut out as in alignment."""
    monkeypatch.setenv(faces.MODEL_VARIABLE, str(face_model))
    with pytest.warns(UserWarning, match="faces were cut out here"):
        detector = AUDetector(model, processor=processor)
    clip = moving(photo, [(step, 0) for step in range(8)])
    (aligned,), (asked,) = detector.read(clip), AUDetector(model, processor=processor, face="align").read(clip)
    assert aligned.face_found and np.array_equal(aligned.frames, asked.frames)
    (nobody,) = detector.read([np.full((360, 640), 90, np.uint8)] * 8)
    assert nobody.reason.startswith("no face in its first 8 frames")
    (crop,) = detector.read(np.stack(noise(8, 32, 32)))  # of the size that the model reads
    assert crop.face_found is None and not crop.reason and np.array_equal(crop.frames[0], noise(8, 32, 32)[0])


def test_all_faces_need_to_be_looked_for(drawn, clip, model, processor, face_model, photo, tmp_path, capsys):
    """A checkpoint without a face recipe: faces are looked for, or a clear refusal; never a crash."""
    every = {
        "predict": ["--faces", "all", "--face_model", str(face_model)],
        "explain": ["--faces", "all", "--face_model", str(face_model), "--out", str(tmp_path / "pictures")],
    }
    video = write_video(tmp_path / "v.mkv", [photo] * 6)
    for verb, options in every.items():
        assert main([verb, str(video), "--model", str(drawn), *options]) == 0, capsys.readouterr()
        assert main([verb, str(video), "--model", str(drawn), *options, "--no_face"]) == 2
        assert "faces='all' looks for faces, but face='none' takes clips as crops" in capsys.readouterr().err
    with pytest.raises(ValueError, match="give one of both"):
        AUDetector(model, processor=processor, faces="all", face="none")
    with pytest.raises(faces.FaceError, match="could not be had"):  # told before any clip is read
        AUDetector(model, processor=processor, faces="all")
    (read,) = AUDetector(model, processor=processor, faces="all", face_model=face_model).read(video)
    assert read.face_found
