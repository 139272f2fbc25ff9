"""What people name in the place of a model: every command says in one line what is wrong with it, and ends with 2."""

import json
import shutil

import pytest

from aullm_hf.baselines import BaselineConfig
from aullm_hf.commands.main import main
from aullm_hf.inference import AUDetector

COMMANDS = {
    "predict": ["clip.mp4", "--out", "aus.csv", "--model"],
    "explain": ["clip.mp4", "--out", "pictures", "--model"],
    "info": [],
    "demo": ["--model"],
}


@pytest.fixture
def place(tmp_path, checkpoint, monkeypatch):
    """A folder to be in, with wrong models of every kind."""
    monkeypatch.chdir(tmp_path)
    for name in ("cut", "headless", "runs/a/folds/sub01/checkpoint"):
        shutil.copytree(checkpoint, tmp_path / name)
    weights = (checkpoint / "model.safetensors").read_bytes()
    (tmp_path / "cut" / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    (tmp_path / "headless" / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    for name, config in (
        ("torn", "{"),
        ("bert", '{"model_type": "bert"}'),
        ("baseline", json.dumps(BaselineConfig(architecture="sssnet").to_dict())),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


WRONG = {
    "no/such/folder": "model is 'no/such/folder': there is no folder",
    "/no-such-folder": "model is '/no-such-folder': there is no such folder, and no repository can have that name",
    "": "model is ''; give a folder, or a repository on the Hub",
    "file": "model is 'file', a file; give the folder that holds it",
    "empty": "model is 'empty', a folder without a config.json, so no checkpoint",
    "runs/a": "such as 'runs/a/folds/sub01/checkpoint'. Its folds are sub01",
    "runs/aa": "Did you mean 'runs/a'?",
    "me/unheard-of": "no repository of that name in the cache; the Hub was not asked, because HF_HUB_OFFLINE is set",
    "torn": "the checkpoint 'torn' could not be read: ",
    "bert": "'bert' holds a model of type 'bert', not an AU-LLM checkpoint",
    "baseline": "'baseline' holds a model of type 'aullm-baseline', not an AU-LLM checkpoint",
    "cut": "the checkpoint 'cut' could not be read: ",
    "headless": "the checkpoint 'headless' could not be read: ",
}


@pytest.mark.parametrize("named", WRONG)
def test_every_command_says_in_one_line_what_is_wrong(named, place, capsys):
    for command, arguments in COMMANDS.items():
        assert main([command, *arguments, named]) == 2
        out, err = capsys.readouterr()
        *before, said = err.splitlines()
        assert out == "" and said.startswith(f"aullm {command}: ") and WRONG[named] in said
        assert all(not line or "Loading weights" in line for line in before)  # of the LLM, which was whole
        assert named not in ("cut", "headless") or ("damaged" in said and "again" in said)
    assert not (place / "aus.csv").exists() and not (place / "pictures").exists()


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_nothing_is_built_around_a_baseline(command, place, capsys):
    assert main([command, *COMMANDS[command], "baseline"]) == 2
    err = capsys.readouterr().err
    assert "It is there to be compared with: its figures are in its run." in err and "from_base_llm" not in err
    assert main([command, *COMMANDS[command], "bert"]) == 2
    assert "use AULLMForAUDetection.from_base_llm" in capsys.readouterr().err


def test_a_folder_has_no_revisions(checkpoint, capsys):
    """Or every row would name one that nobody looked at."""
    for command, arguments in COMMANDS.items():
        assert main([command, *arguments, str(checkpoint), "--revision", "fold-sub01"]) == 2
        assert "revision='fold-sub01' is not allowed" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_while_a_model_is_loaded_is_no_traceback(command, checkpoint, monkeypatch, capsys):
    from aullm_hf.model import AULLMConfig

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(AUDetector, "__init__", stopped)
    monkeypatch.setattr(AULLMConfig, "from_pretrained", stopped)
    assert main([command, *COMMANDS[command], str(checkpoint)]) == 130
    assert capsys.readouterr().err.strip() == f"aullm {command}: stopped"


def test_a_warning_is_one_line_without_code(face_checkpoint, tmp_path, capsys):
    clip = str(tmp_path / "gone.mp4")
    assert main(["predict", clip, "--model", str(face_checkpoint), "--no_face"]) == 1
    warned = [line for line in capsys.readouterr().err.splitlines() if "aligned faces" in line]
    assert len(warned) == 1 and warned[0].startswith("aullm predict: warning: the model was trained on aligned faces")


def test_a_face_detector_that_is_none_is_told_once(checkpoint, tmp_path, capsys):
    (tmp_path / "yunet.onnx").write_bytes(b"no model")
    wrong = ["--face", "align", "--face_model", str(tmp_path / "yunet.onnx")]
    assert main(["predict", "clip.mp4", "--model", str(checkpoint), *wrong]) == 2
    assert "yunet.onnx is not a YuNet model OpenCV can load" in capsys.readouterr().err
