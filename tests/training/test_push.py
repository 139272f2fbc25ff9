import re

import pytest

from aullm_hf.evaluation import write_report
from support.commands import verb
from support.fake_run import fake_run
from support.hub_server import HubServer, reach_the_server

push = verb("push")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = fake_run(tmp_path_factory.mktemp("runs") / "samm", dataset="samm", licensed=True)
    write_report(run, resamples=5)
    return run


@pytest.fixture
def server(monkeypatch):
    reach_the_server(monkeypatch)
    with HubServer(token="hf_test") as server:
        monkeypatch.setattr("aullm_hf.hub.push_run", _pushing_to(server.url))
        yield server


def _pushing_to(url):
    from aullm_hf.hub import push_run

    return lambda *args, **options: push_run(*args, endpoint=url, token="hf_test", **options)


def test_it_pushes_and_says_what(run, server, capsys):
    push([str(run), "--repo", "me/samm"])
    shown = capsys.readouterr().out
    assert "fold-sub01: 5 files sent, 0 already there" in shown
    assert "main: " in shown and "left out: inner.parquet, figures/precision_recall.png" in shown
    assert shown.endswith(f"{server.url}/me/samm\n")
    push([str(run), "--repo", "me/samm"])
    out, err = capsys.readouterr()
    assert "fold-sub01: 0 files sent, 5 already there" in out
    assert "aullm push: main has no weights, because the run has no final fit" in err
    assert f"`aullm train {run}/config.yaml --output_dir {run} --final_fit`" in err
    assert "`aullm predict CLIP --model me/samm --revision fold-sub01`" in err
    assert server.repos["model:me/samm"]["visibility"] == "private"


def test_folds_are_named_as_for_train(run, server):
    push([str(run), "--repo", "me/samm", "--folds", "sub01,sub02", "--no_main"])
    assert sorted(server.repos["model:me/samm"]["branches"]) == ["fold-sub01", "fold-sub02", "main"]


def test_one_fold_and_no_main(run, server):
    right = "The owners allowed me to publish this"
    push([str(run), "--repo", "me/samm", "--folds", "sub02", "--no_main", "--public", "--right", right])
    assert right in server.files("me/samm", "fold-sub02")["README.md"].decode()
    assert sorted(server.repos["model:me/samm"]["branches"]) == ["fold-sub02", "main"]
    assert list(server.files("me/samm")) == [".gitattributes"]
    assert server.repos["model:me/samm"]["visibility"] == "public"


def test_errors_end_it_with_a_line(run, server, capsys):
    assert push([str(run), "--repo", "me/samm", "--push_labels"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("aullm push: push_labels=True for licensed data (samm) needs the statement")
    assert push([str(run), "--repo", "me/samm", "--public"]) == 2 and not server.requests
    assert "a public repository for licensed data (samm) needs the statement" in capsys.readouterr().err
    assert len(error.splitlines()) == 1
    server.token = "another"
    assert push([str(run), "--repo", "me/samm"]) == 1
    assert re.search(
        r"aullm push: could not create the repository of 'me/samm'.*hf auth login", capsys.readouterr().err
    )
