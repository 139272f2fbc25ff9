"""Where no model is named, the checkpoint that comes with the package is used, and that is said."""

import json

import pandas as pd
import pytest

from aullm_hf import detect_aus, packaged
from aullm_hf.commands.main import main
from aullm_hf.inference import AUDetector
from support.videos import noise, write_video

SAID = "no model is named: the one that comes with the package is used"


@pytest.fixture
def shipped(checkpoint, monkeypatch):
    monkeypatch.setattr(packaged, "PACKAGED", checkpoint)
    return checkpoint


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return str(write_video(tmp_path_factory.mktemp("clips") / "clip.mkv", noise(8, 32, 32)))


def test_python_and_the_command_read_a_clip_without_a_model(shipped, clip, tmp_path, capsys):
    with pytest.warns(UserWarning, match=SAID):
        table = detect_aus(clip, face="none")
    named = detect_aus(clip, shipped, face="none")
    numbers = [name for name in table if name.startswith("p_")]
    assert len(numbers) == 3 and table[numbers].equals(named[numbers])
    assert table["model"].tolist() == [packaged.PACKAGED_NAME]  # not the folder of this machine
    out = tmp_path / "aus.csv"
    assert main(["predict", clip, "--out", str(out), "--no_face"]) == 0
    assert capsys.readouterr().err.count(SAID) == 1
    assert pd.read_csv(out)["p_AU12"].tolist() == pytest.approx(table["p_AU12"].tolist())
    assert main(["predict", clip, "--no_face", "--model", str(shipped)]) == 0
    assert SAID not in capsys.readouterr().err


def test_results_are_continued_only_with_the_same_weights(shipped, monkeypatch, tmp_path):
    before = AUDetector(face="none").settings
    assert before["weights"] and before["model"] == packaged.PACKAGED_NAME
    assert AUDetector(face="none").settings == before
    other = tmp_path / "other"
    AUDetector(shipped, face="none").model.save_pretrained(other)
    AUDetector(shipped, face="none").processor.save_pretrained(other)
    monkeypatch.setattr(packaged, "PACKAGED", other)
    assert AUDetector(face="none").settings["weights"] != before["weights"]


def test_explain_info_and_export_take_it_too(shipped, clip, tmp_path, capsys):
    assert main(["explain", clip, "--out", str(tmp_path / "pictures"), "--no_face"]) == 0
    assert SAID in capsys.readouterr().err
    assert main(["info", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["model"] == packaged.PACKAGED_NAME and len(facts["aus"]) == 3
    assert main(["export", str(tmp_path / "exported")]) == 0
    assert (tmp_path / "exported" / "modeling_aullm.py").is_file()  # the code, for whoever has no package


def test_a_copy_of_the_package_without_it_says_what_to_do(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packaged, "PACKAGED", tmp_path)
    assert main(["predict", clip, "--no_face"]) == 2
    said = capsys.readouterr().err
    assert "no model is named" in said and "--model" in said and len(said.splitlines()) == 1
