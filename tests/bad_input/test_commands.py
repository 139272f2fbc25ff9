"""Every command, told something wrong: exit status 2 and one line, never a traceback."""

import pytest

import support.tiny_run  # noqa: F401  (puts training/ on the path)
from support.scripts import load_script

WRONG = {
    "no such option": ["--nonsense"],
    "no such file": ["/nonexistent/run"],
    "an empty name": [""],
    "text that is no name": ["{}[]"],
    "a very long name": ["x" * 5000],
}
SCRIPTS = ("train", "evaluate", "compare", "sweep", "push")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts(script, wrong, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["--config", *WRONG[wrong]] if script == "train" and wrong != "no such option" else WRONG[wrong]
    arguments = [*arguments, "--repo", "me/x"] if script == "push" else arguments
    _refused(load_script(script).main, arguments, capsys)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["predict", "explain", "info"])
def test_aullm(command, wrong, capsys, tmp_path, monkeypatch):
    from aullm_hf.inference.command import main

    monkeypatch.chdir(tmp_path)
    model = ["--model", WRONG[wrong][0]] if wrong != "no such option" else WRONG[wrong]
    _refused(main, [command, *(["x.mp4"] if command != "info" else []), *model], capsys)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["check", "build"])
def test_data(command, wrong, capsys, tmp_path, monkeypatch):
    from aullm_hf.data.__main__ import main

    monkeypatch.chdir(tmp_path)
    _refused(main, [command, "casme2", *WRONG[wrong]], capsys, allowed=(1, 2))  # 1: the data is what is wrong


def _refused(main, arguments, capsys, allowed=(2,)):
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse ends so
        status = stop.code
    said = capsys.readouterr().err.strip()
    assert status in allowed, f"{status}: {said!a}"
    assert "Traceback" not in said and len(said) < 8000
