"""A model that is neither a folder nor a repository: said at once, by every way to load one, in words that help."""

import shutil
import socket
import time

import pytest
from huggingface_hub import close_session, constants, hf_hub_download

from aullm_hf.baselines import BaselineForAUDetection
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.model.locating import check_location
from support import processes
from support.hub_server import HubServer, reach_the_server
from support.tiny import tiny_config, tiny_llm

LOADERS = {
    "model": AULLMForAUDetection.from_pretrained,
    "baseline": BaselineForAUDetection.from_pretrained,
    "processor": AULLMVideoProcessor.from_pretrained,
    "LLM": lambda name: AULLMForAUDetection.from_base_llm(tiny_config(), name),
    "LLM by the configuration": lambda name: AULLMForAUDetection.from_base_llm(tiny_config(llm_name_or_path=name)),
}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Runs as they lie in a folder; checkpoints that hold a configuration alone."""
    for checkpoint in ("a/folds/sub01", "a/folds/sub02", "a/final", "b/folds/sub01"):
        (tmp_path / "runs" / checkpoint / "checkpoint").mkdir(parents=True)
        (tmp_path / "runs" / checkpoint / "checkpoint" / "config.json").write_text("{}")
    (tmp_path / "runs" / "a" / "base_llm").mkdir()
    (tmp_path / "runs" / "a" / "base_llm" / "config.json").write_text("{}")
    (tmp_path / "runs" / "begun" / "folds").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


SAID = {
    "runs/a": "the folder of a run; give one of its checkpoints, such as 'runs/a/final/checkpoint'. "
    "Its folds are sub01, sub02 (folds/FOLD/checkpoint).",
    "runs/b": "the folder of a run; give one of its checkpoints, such as 'runs/b/folds/sub01/checkpoint'. "
    "Its folds are sub01 (folds/FOLD/checkpoint).",
    "runs/begun": "the folder of a run in which no fold has been finished",
    "runs/a/folds/sub02": "the folder of a fold; its checkpoint is 'runs/a/folds/sub02/checkpoint'.",
    "empty": "so no checkpoint. Give the folder that holds one.",
    "file.safetensors": "a file; give the folder that holds it",
    "runs/aa": "Did you mean 'runs/a'?",
    "run/a": "Did you mean 'runs/a'?",
    "runs/a/folds/sub03/checkpoint": "Did you mean 'runs/a/folds/sub02/checkpoint'?",
    "no/such/folder": "/no/such/folder', and no repository can have that name (it would be NAME or USER/NAME).",
    "me/unheard-of": "no repository of that name in the cache; the Hub was not asked, because HF_HUB_OFFLINE is set.",
    "\0": "no repository can have that name",
}


@pytest.mark.parametrize("named", SAID, ids=repr)
@pytest.mark.parametrize("loader", LOADERS)
def test_what_was_looked_for_and_what_to_check(loader, named, runs):
    before = time.perf_counter()
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        LOADERS[loader](named)
    assert time.perf_counter() - before < 1
    said = str(refused.value)
    assert repr(named) in said and SAID[named] in said and "\n" not in said


@pytest.mark.parametrize("named", ["", " "])
def test_an_empty_name(named):
    with pytest.raises(ValueError, match=f"model is {named!r}; give a folder, or a repository on the Hub"):
        check_location("model", named)


def test_an_absolute_path_says_where_it_ends(runs):
    with pytest.raises(FileNotFoundError) as refused:
        AULLMForAUDetection.from_pretrained(runs / "runs" / "quickstart" / "final")
    assert "there is no such folder" in str(refused.value)
    assert f"The folder {str(runs / 'runs')!r} exists, but holds no 'quickstart'." in str(refused.value)


def test_the_llm_that_a_checkpoint_names_may_be_somewhere_else(tmp_path):
    shutil.copytree(tiny_llm(), tmp_path / "llm")
    AULLMForAUDetection.from_base_llm(tiny_config(), str(tmp_path / "llm")).save_pretrained(tmp_path / "fold")
    (tmp_path / "llm").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match=r"llm_name_or_path is '.*llm'.*pass llm_name_or_path='/path/to/it'"):
        AULLMForAUDetection.from_pretrained(tmp_path / "fold")
    AULLMForAUDetection.from_pretrained(tmp_path / "fold", llm_name_or_path=str(tmp_path / "moved"))


def test_what_the_hub_says(monkeypatch, tmp_path):
    reach_the_server(monkeypatch)
    hub = {"cache_dir": str(tmp_path)}
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        with pytest.raises(FileNotFoundError, match=f"no repository of that name on {server.url} .*hf auth login"):
            check_location("model", "me/unheard-of", **hub)
        assert len(server.requests) == 1
        server.store("me/model", {"config.json": b"{}"})
        with pytest.raises(FileNotFoundError, match="has no revision 'fold-sub99'"):
            check_location("model", "me/model", revision="fold-sub99", **hub)
        check_location("model", "me/model", **hub)
        hf_hub_download("me/model", "config.json", **hub, endpoint=server.url)
        asked = len(server.requests)
        check_location("model", "me/model", **hub)
        assert len(server.requests) == asked, "what is in the cache need not be asked about"
    close_session()  # the connection that is still open
    with pytest.raises(
        FileNotFoundError, match=r"could not be asked \((ConnectError|HubUnreachable): .*then the network"
    ):
        check_location("model", "me/unheard-of", **hub)
    check_location("model", "me/model", **hub)


SLIP = """
import sys, time
import aullm_hf.inference.detecting
from aullm_hf.commands.main import main

begun = time.perf_counter()
status = main(["predict", "x.mp4", "--model", "me/casme2-aulm"])
print(time.perf_counter() - begun)
sys.exit(status)
"""


def test_a_slip_without_a_network_is_said_at_once_and_once(tmp_path):
    with socket.socket() as taken:  # a port on which nobody listens
        taken.bind(("127.0.0.1", 0))
        env = {"HF_ENDPOINT": f"http://127.0.0.1:{taken.getsockname()[1]}", "HF_HUB_OFFLINE": "0"}
        done = processes.run(processes.python, SLIP, environment=env | {"HF_HOME": str(tmp_path)})
    assert done.returncode == 2 and float(done.stdout) < 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("aullm predict: model is 'me/casme2-aulm': there is no folder")
