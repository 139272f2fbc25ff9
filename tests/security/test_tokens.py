"""A token that is planted wherever a person may put one: it comes out nowhere."""

import io
import json
import logging

import pytest
import yaml

from aullm_hf.evaluation.redacting import redact
from support.tiny_run import tiny_yaml, train

TOKEN = "hf_plantedtokenthatnobodymaysee"


def holding(folder):
    return [path for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("section", "field"), [("training", "hub_token"), ("training", "run_name"), ("training", "hub_model_id"),
                           ("model", "llm_revision")]
)  # fmt: skip
def test_a_token_in_a_recipe_is_refused_and_not_shown(section, field, tmp_path, capsys, caplog):
    caplog.set_level(logging.DEBUG)
    path = tiny_yaml(tmp_path, **{section: {field: TOKEN}})
    assert train(path, tmp_path / "run") == 2
    said = "".join(capsys.readouterr()) + caplog.text
    assert TOKEN not in said and holding(tmp_path) == [path]
    if field != "llm_revision":
        assert f"training.{field} holds a token (not shown)" in said


@pytest.mark.parametrize("given", [["--hub_token", TOKEN], [f"--hub_token={TOKEN}"], [f"--hub_tokn={TOKEN}"]])
def test_a_token_on_the_command_line_is_refused_and_not_shown(given, tmp_path, capsys):
    assert train(tiny_yaml(tmp_path), tmp_path / "run", *given) == 2
    assert TOKEN not in "".join(capsys.readouterr()) and holding(tmp_path) == []


def test_a_run_does_not_push_itself(tmp_path, capsys):
    path = tiny_yaml(tmp_path, training={"push_to_hub": True})
    assert train(path, tmp_path / "run") == 2
    assert "aullm push RUN --repo" in capsys.readouterr().err


def test_what_is_published_of_a_configuration_holds_no_secret():
    secrets = {"hub_token": TOKEN, "api_key": "x", "nested": [{"password": "y", "note": f"Bearer {TOKEN}"}], "lr": 1}
    shown = redact(secrets)
    assert TOKEN not in json.dumps(shown) and shown == {"nested": [{}], "lr": 1}


def test_the_environments_token_stays_there(tmp_path, monkeypatch, capsys, caplog):
    """One fold, with a tracker's files and every log on: the token of the environment is in none of them."""
    caplog.set_level(logging.DEBUG)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY"):
        monkeypatch.setenv(name, TOKEN)
    settings = {"num_train_epochs": 1, "report_to": "tensorboard", "logging_steps": 1, "save_steps": 1}
    try:
        assert train(tiny_yaml(tmp_path, training=settings), tmp_path / "run", "--folds", "sub01") == 0
    finally:
        logging.getLogger().removeHandler(handler)
    assert list((tmp_path / "run").rglob("events.out.tfevents*")), "no tracker's files: the test would prove nothing"
    assert holding(tmp_path) == []
    assert TOKEN not in "".join(capsys.readouterr()) + caplog.text + stream.getvalue()
    assert TOKEN not in yaml.safe_dump(yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))


def test_an_llm_that_is_not_there_is_one_line_without_the_token(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    path = tiny_yaml(tmp_path, model={"llm_name_or_path": "nobody/unheard-of", "tiny_llm": None})
    assert train(path, tmp_path / "run") == 2
    said = capsys.readouterr().err.strip()
    assert "nobody/unheard-of" in said and TOKEN not in said and "Traceback" not in said
