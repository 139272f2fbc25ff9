import json
import logging
import shutil

import pandas as pd
import pytest
from huggingface_hub import HfApi, snapshot_download

from aullm_hf.evaluation import write_report
from aullm_hf.hub import HubPushError, push_run
from aullm_hf.hub_client import backoff
from support.fake_run import fake_run, finish_fold, report_without_figures
from support.hub_server import HubServer, reach_the_server

TOKEN = "hf_averysecrettokenofmine"


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    return reach_the_server(monkeypatch)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    for name, options in {"tiny": {}, "casme2": {"dataset": "casme2", "licensed": True}}.items():
        write_report(fake_run(runs / name, **options), resamples=20)
    return runs


@pytest.fixture
def runs(written, tmp_path):
    shutil.copytree(written, tmp_path / "runs")
    return tmp_path / "runs"


def push(run, server, **options):
    return push_run(run, "me/demo", endpoint=server.url, token=TOKEN, **options)


def listing(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("fail_every", [3, 5])
def test_three_folds_arrive_whatever_fails_and_are_sent_once(runs, fail_every, tmp_path):
    before = listing(runs)
    with HubServer(fail_every=fail_every, token=TOKEN) as server:
        done = push(runs / "tiny", server, attempts=20)
        assert sorted(done.branches) == ["fold-sub01", "fold-sub02", "fold-sub03", "main"]
        failed = [request for request in server.requests if request[2] != "ok"]
        assert len(failed) >= len(server.requests) // fail_every
        sent = len(server.uploads)
        again = push(runs / "tiny", server, attempts=20)
        assert again.uploaded == 0 and len(server.uploads) == sent
        assert {branch.unchanged for name, branch in again.branches.items() if name != "main"} == {5}
        server.fail_every = 0
        for fold in ("sub01", "sub02", "sub03"):
            snapshot_download(
                "me/demo", revision=f"fold-{fold}", endpoint=server.url, token=TOKEN, local_dir=tmp_path / fold
            )
            checkpoint = runs / "tiny" / "folds" / fold / "checkpoint"
            for file in checkpoint.iterdir():
                assert (tmp_path / fold / file.name).read_bytes() == file.read_bytes()
            assert f"synthetic:{fold}" in (tmp_path / fold / "README.md").read_text()
            assert sorted(server.files("me/demo", f"fold-{fold}")) == [
                ".gitattributes", "README.md", "config.json", "model.safetensors", "modeling_aullm.py", "run.json",
            ]  # fmt: skip
    assert listing(runs) == before  # nothing local was deleted or changed


def test_main_without_a_final_fit_holds_no_weights(runs):
    with HubServer() as server:
        push(runs / "tiny", server)
        main = server.files("me/demo")
        assert server.repos["model:me/demo"]["visibility"] == "private"
    assert not [name for name in main if name.endswith((".safetensors", ".py")) or name == "config.json"]
    for name in ("predictions.parquet", "results.json", "tables/results.csv", "figures/per_au.png"):
        assert main[name] == (runs / "tiny" / name).read_bytes()
    assert "**This branch holds no weights**" in main["README.md"].decode()
    assert "`fold-sub01`, `fold-sub02`, `fold-sub03`." in main["README.md"].decode()


def test_main_with_a_final_fit_holds_it(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "run", final=True)
    report_without_figures(run, monkeypatch, resamples=5)
    with HubServer() as server:
        assert not push(run, server, private=False).advice
        main = server.files("me/demo")
        assert server.repos["model:me/demo"]["visibility"] == "public"
    assert main["model.safetensors"] == b"final" * 500
    assert "holds no weights" not in main["README.md"].decode()


def test_labels_of_licensed_data_stay_at_home(runs, tmp_path):
    with HubServer() as server:
        done = push(runs / "casme2", server)
        everything = [server.files("me/demo", branch) for branch in server.repos["model:me/demo"]["branches"]]
        stored = b"".join([*server.lfs.values(), *(content for files in everything for content in files.values())])
    assert b"y_AU" not in stored  # parquet keeps column names readable
    (tmp_path / "pulled.parquet").write_bytes(everything[0]["predictions.parquet"])
    table = pd.read_parquet(tmp_path / "pulled.parquet")
    ours = pd.read_parquet(runs / "casme2" / "predictions.parquet")
    pd.testing.assert_frame_equal(table, ours[table.columns])
    assert [column for column in ours.columns if column not in table.columns] == ["y_AU1", "y_AU4", "y_AU12"]
    # with the inner scores, the exact (a, b) of few clips would give their labels back; so would the curves
    assert "inner.parquet" in done.branches["main"].left_out and "inner.parquet" not in everything[0]
    assert "figures/precision_recall.png" in done.branches["main"].left_out
    assert "precision_recall.png" not in everything[0]["README.md"].decode()
    assert (
        "SECRET" not in everything[0]["run.json"].decode() and "/data/secret" not in everything[0]["run.json"].decode()
    )


def test_labels_go_only_with_a_statement_of_right(runs):
    right = "The owners allowed me in writing on 3 May to publish these labels"
    with HubServer() as server:
        for statement in ("", "yes"):
            with pytest.raises(ValueError, match=rf'needs the statement of your right .* got right="{statement}"'):
                push(runs / "casme2", server, push_labels=True, right=statement)
        assert not server.requests
        push(runs / "casme2", server, push_labels=True, right=right)
        main, fold = server.files("me/demo"), server.files("me/demo", "fold-sub01")
    assert b"y_AU4" in main["predictions.parquet"] and right in main["README.md"].decode()
    assert "without its labels" not in fold["README.md"].decode()


@pytest.mark.parametrize("there", [False, True])
def test_weights_from_licensed_data_become_public_only_with_a_statement(runs, there):
    """Also where the repository is there already, and public."""
    right = "The owners allowed me in writing on 3 May to publish these weights"
    with HubServer() as server:
        if there:
            server.store("me/demo", {".gitattributes": b""})
        with pytest.raises(ValueError, match="a public repository for licensed data"):
            push(runs / "casme2", server, private=there)
        assert not server.uploads
        push(runs / "casme2", server, private=there, right=right)
        for branch in ("main", "fold-sub01"):
            assert right in server.files("me/demo", branch)["README.md"].decode()
        assert b"y_AU" not in server.files("me/demo")["predictions.parquet"], "that is another permission"
        push(runs / "tiny", server, private=there, overwrite=True)


@pytest.mark.parametrize("unsaid", ["datasets", "label_release"])
def test_a_run_that_does_not_say_what_it_was_trained_on_is_not_pushed(runs, unsaid):
    info = json.loads((runs / "tiny" / "run.json").read_text())
    del info["data"][unsaid]
    (runs / "tiny" / "run.json").write_text(json.dumps(info))
    with HubServer() as server:
        with pytest.raises(ValueError, match=r"run.json' does not say what the run was trained on"):
            push(runs / "tiny", server)
        assert not server.requests


def test_a_run_json_of_other_data_is_not_pushed(runs):
    info = json.loads((runs / "casme2" / "run.json").read_text())
    info["data"] |= {"datasets": ["synthetic"], "licensed": False}
    (runs / "casme2" / "run.json").write_text(json.dumps(info))
    with HubServer() as server, pytest.raises(ValueError, match=r"predictions of casme2, which its run\.json does"):
        push(runs / "casme2", server, folds=[])


def test_a_checkpoint_of_other_data_is_not_pushed(runs):
    shutil.copyfile(*(runs / name / "folds" / "sub01" / "checkpoint" / "config.json" for name in ("casme2", "tiny")))
    fold = runs / "tiny" / "folds" / "sub01"
    finish_fold(fold, json.loads((fold / "fold.json").read_text()))
    with HubServer() as server:
        with pytest.raises(ValueError, match=r"was trained on 'casme2', but the run's run\.json names synthetic"):
            push(runs / "tiny", server)
        assert not server.requests


def test_a_checkpoint_that_began_from_weights_which_its_run_does_not_name_is_not_pushed(runs):
    config = runs / "tiny" / "folds" / "sub01" / "checkpoint" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"begun_from": ["samm"]}))
    fold = config.parents[1]
    finish_fold(fold, json.loads((fold / "fold.json").read_text()))
    with HubServer() as server:
        with pytest.raises(ValueError, match=r"from weights trained on \['samm'\], which the run's run\.json does"):
            push(runs / "tiny", server)
        assert not server.requests


def test_a_fold_called_main_is_another_branch_than_main(runs):
    (runs / "tiny" / "folds" / "sub01").rename(runs / "tiny" / "folds" / "main")
    fold = runs / "tiny" / "folds" / "main" / "checkpoint"
    (fold / "config.json").write_text('{"model_type": "aullm", "llm_name_or_path": "/data/llm"}')
    finish_fold(fold.parent, json.loads((fold.parent / "fold.json").read_text()))
    with HubServer() as server:
        push(runs / "tiny", server, folds=["main"])
        assert "config.json" in server.files("me/demo", "fold-main")
        assert "config.json" not in server.files("me/demo")


def test_in_doubt_the_data_is_licensed(runs):
    info = json.loads((runs / "casme2" / "run.json").read_text())
    info["data"]["licensed"] = False  # a mistake: casme2 is known to be licensed
    (runs / "casme2" / "run.json").write_text(json.dumps(info))
    with HubServer() as server:
        push(runs / "casme2", server, folds=[])
        assert b"y_AU" not in server.files("me/demo")["predictions.parquet"]


def test_pickles_links_and_pictures_are_left_out(runs):
    checkpoint = runs / "casme2" / "folds" / "sub01" / "checkpoint"
    (checkpoint / "training_args.bin").write_bytes(b"\x80\x04.")
    (checkpoint / "face.png").write_bytes(b"\x89PNG")
    (checkpoint / "clips.parquet").write_bytes(b"PAR1")
    (checkpoint / "link.json").symlink_to("/etc/hostname")
    with HubServer() as server:
        done = push(runs / "casme2", server, folds=["sub01"], main=False)
        assert list(done.branches) == ["fold-sub01"]
        assert done.branches["fold-sub01"].left_out == [
            "clips.parquet", "face.png", "link.json", "training_args.bin",
        ]  # fmt: skip
        names = server.files("me/demo", "fold-sub01")
    assert not {"training_args.bin", "face.png", "link.json", "clips.parquet"} & set(names)


def test_a_later_fold_and_a_changed_file_are_all_that_is_sent(runs):
    with HubServer() as server:
        push(runs / "tiny", server, folds=["sub01"])
        done = push(runs / "tiny", server)
        assert {name: len(branch.uploaded) for name, branch in done.branches.items()} == {
            "fold-sub01": 0, "fold-sub02": 4, "fold-sub03": 4, "main": 0,
        }  # fmt: skip
        # the later branches began as copies of main, and hold the checkpoint alone
        assert "predictions.parquet" not in server.files("me/demo", "fold-sub02")
        weights = runs / "tiny" / "folds" / "sub02" / "checkpoint" / "model.safetensors"
        weights.write_bytes(b"retrained")
        with pytest.raises(ValueError, match=r"sub02' was damaged after it was finished"):
            push(runs / "tiny", server)
        finish_fold(weights.parents[1], json.loads((weights.parents[1] / "fold.json").read_text()))
        assert push(runs / "tiny", server).branches["fold-sub02"].uploaded == ["model.safetensors"]
        assert server.files("me/demo", "fold-sub02")["model.safetensors"] == b"retrained"


def test_waits_grow():
    assert [backoff(attempt) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("status", ["400", "401", "403", "404"])
def test_what_trying_again_does_not_help_is_asked_once(status, runs, waits):
    with HubServer(token=TOKEN, fault=lambda *_: status) as server:
        with pytest.raises(HubPushError, match=f"the Hub answered {status}"):
            push(runs / "tiny", server)
        assert len(server.requests) == len(set(server.requests)) and not waits


def test_an_error_that_is_not_the_hub_s_is_not_called_one(runs, monkeypatch):
    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: {}["a bug"])
    with HubServer() as server, pytest.raises(KeyError, match="a bug"):
        push(runs / "tiny", server)


def test_the_token_is_in_no_log_and_no_error(runs, caplog):
    caplog.set_level(logging.DEBUG)
    with HubServer(token="another") as server:
        with pytest.raises(
            HubPushError,
            match=r"could not create the repository of 'me/demo': .*401 \(it does not know the token",
        ) as refused:
            push(runs / "tiny", server)
    with HubServer(fail_every=1, token=TOKEN) as server:
        with pytest.raises(HubPushError, match=r"3 times; nothing local was touched, push again later") as gave_up:
            push(runs / "tiny", server, attempts=3)
        assert len(server.requests) >= 3
    for error in (refused.value, gave_up.value):
        assert TOKEN not in str(error) and error.__cause__ is None and error.__context__ is None
    assert TOKEN not in caplog.text and "trying again in" in caplog.text


def test_offline_is_said_at_once(runs, waits, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with HubServer() as server, pytest.raises(HubPushError, match="offline mode is on: unset HF_HUB_OFFLINE"):
        push(runs / "tiny", server)
    assert not waits


def test_what_cannot_be_pushed_is_named(runs):
    with HubServer() as server:
        with pytest.raises(
            ValueError, match="no finished fold 'sub09' with a checkpoint; there are sub01, sub02, sub03"
        ):
            push(runs / "tiny", server, folds=["sub09"])
        (runs / "tiny" / "folds" / "sub01" / "checkpoint" / "config.json").unlink()
        with pytest.raises(ValueError, match=r"was damaged after it was finished: checkpoint/config.json is gone"):
            push(runs / "tiny", server, folds=["sub01"])
        results = runs / "tiny" / "results.json"
        results.write_text(results.read_text().replace('"n_clips": 36', '"n_clips": 24'))
        with pytest.raises(
            FileNotFoundError, match=r"has a results.json of 24 clips beside 36 predicted ones; make it"
        ):
            push(runs / "tiny", server, folds=[])
        results.unlink()
        with pytest.raises(FileNotFoundError, match=r"has no results.json; make it with `aullm evaluate"):
            push(runs / "tiny", server, folds=[])
