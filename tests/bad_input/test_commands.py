"""Every command, told something wrong: exit status 2 and one line, never a traceback."""

import pytest

from support.commands import verb

WRONG = {
    "no such option": ["--nonsense"],
    "no such file": ["no-such-folder/run"],
    "an empty name": [""],
    "text that is no name": ["{}[]"],
    "a very long name": ["x" * 5000],
}
VERBS = ("train", "evaluate", "compare", "sweep", "push", "export")


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("script", VERBS)
def test_verbs_of_runs(script, wrong, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    needed = {"push": ["--repo", "me/x"], "export": ["out"]}.get(script, [])
    _refused(verb(script), [*WRONG[wrong], *needed], capsys)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["predict", "explain", "info"])
def test_aullm(command, wrong, capsys, tmp_path, monkeypatch):
    from aullm_hf.commands.main import main

    monkeypatch.chdir(tmp_path)
    model = ["--model", WRONG[wrong][0]] if wrong != "no such option" else WRONG[wrong]
    _refused(main, [command, *(["x.mp4"] if command != "info" else []), *model], capsys)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("command", ["check", "build"])
def test_data(command, wrong, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _refused(verb("data"), [command, "casme2", *WRONG[wrong]], capsys, allowed=(1, 2))  # 1: the data is what is wrong


def _refused(main, arguments, capsys, allowed=(2,)):
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse ends so
        status = stop.code
    said = capsys.readouterr().err.strip()
    assert status in allowed, f"{status}: {said!a}"
    assert "Traceback" not in said and len(said) < 8000
