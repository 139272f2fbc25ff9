"""Every fault of the Hub under every operation: what passes is survived, what stays is said in one line."""

import json
import logging
import os
import shutil
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

import pytest
from huggingface_hub import get_session
from safetensors.torch import load_file, save_file

from aullm_hf import hub_client
from aullm_hf.hub import HubPushError, push_run
from aullm_hf.hub_client import HubUnreachable, be_patient, requested_wait
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from support.fake_run import fake_run, finish_fold, report_without_figures
from support.hub_server import FAILURES, HubServer, reach_the_server
from support.tiny import tiny_llm, tiny_model

TOKEN = "hf_plantedtokenthatnobodymaysee"
PASSING = (*FAILURES, "cut within", "504", "408")


def first_time(what: str):
    """Every different request fails the first time that it is made, and only then."""
    seen = Counter()

    def fault(method: str, path: str, count: int) -> str:
        seen[method, path] += 1
        return what if seen[method, path] == 1 else ""

    return fault


def alternating(method: str, path: str, count: int) -> str:
    """Strictly every second request fails, in every way in turn."""
    return PASSING[count // 2 % len(PASSING)] if count % 2 == 0 else ""


ALTERNATING = {
    "alternating": alternating,
    "alternating from the first": lambda method, path, count: alternating(method, path, count + 1),
}


@pytest.fixture
def waits(monkeypatch):
    return reach_the_server(monkeypatch)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        run = fake_run(tmp_path_factory.mktemp("runs") / "tiny")
        report_without_figures(run, patch, resamples=5)
    return run


@pytest.fixture
def run(written, tmp_path):
    return shutil.copytree(written, tmp_path / "tiny")


def push(run, server, **options):
    return push_run(run, "me/demo", **{"endpoint": server.url, "token": TOKEN, "attempts": 4, **options})


def holds(server, run, fold="sub01"):
    """Whether the fold's branch has, bit for bit, what the run has."""
    there = server.files("me/demo", f"fold-{fold}")
    ours = {file.name: file.read_bytes() for file in (run / "folds" / fold / "checkpoint").iterdir()}
    return ours.items() <= there.items()


# -------------------------------------------------------------------- faults that pass


@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        *(("a fold", fault) for fault in (*PASSING, *ALTERNATING)),
        *(("a run", fault) for fault in ALTERNATING),
        *(pytest.param("a run", fault, marks=pytest.mark.slow) for fault in PASSING),
    ],
)
def test_a_push_survives(fault, operation, run, waits):
    with HubServer(token=TOKEN, fault=ALTERNATING.get(fault) or first_time(fault)) as server:
        options = {"folds": ["sub01"], "main": False} if operation == "a fold" else {"folds": []}
        push(run, server, **options)
        server.fault = None
        if operation == "a fold":
            assert holds(server, run)
        else:
            assert server.files("me/demo")["predictions.parquet"] == (run / "predictions.parquet").read_bytes()
        commits = server.repos["model:me/demo"]["commits"]
        assert len(commits) == 2, "what had arrived, although its answer was lost, was committed twice"
        assert push(run, server, **options).uploaded == 0
    assert waits and max(waits) <= 60


def test_an_upload_that_is_cut_each_time_but_the_last_arrives_whole(run, waits):
    cuts = Counter()

    def fault(method, path, count):
        cuts[path] += path.startswith("/lfs-store/")
        return "cut within" if 0 < cuts[path] < 5 else ""

    with HubServer(token=TOKEN, fault=fault) as server:
        push(run, server, folds=["sub01"], main=False)
        assert max(cuts.values()) >= 5 and holds(server, run)


@pytest.mark.parametrize("where", ["/api/repos/create", "/refs", "/tree/", "/preupload/", "/lfs-store/", "/commit/"])
def test_a_hub_that_says_nothing_is_not_waited_for(where, run, waits, monkeypatch):
    """huggingface_hub sets no timeout on most requests: without ours this test would hang."""
    monkeypatch.setattr(hub_client, "TIMEOUT", dict.fromkeys(hub_client.TIMEOUT, 0.3))
    silent = []

    def fault(method, path, count):
        silent.append(where in path)
        return "hang" if silent[-1] and sum(silent) <= 2 else ""

    with HubServer(token=TOKEN, fault=fault) as server:
        push(run, server, folds=["sub01"], main=False)
        assert holds(server, run)


def test_how_long_to_wait_is_the_hubs_to_say_within_reason(run, waits):
    with HubServer(token=TOKEN, fault=first_time("429")) as server:
        server.retry_after = "17"
        push(run, server, folds=["sub01"], main=False)
        assert {17.0} <= set(waits) and max(waits) <= 18
        waits.clear()
        server.fault, server.retry_after = first_time("429"), str(10**9)
        push(run, server, folds=["sub02"], main=False)
        assert set(waits) <= {300.0, 301.0}


def test_a_date_to_wait_for():
    assert requested_wait({"Retry-After": "Fri, 21 Nov 2025 07:28:00 GMT"}, 2) == 2
    assert requested_wait({"Retry-After": "Fri, 21 Nov 2199 07:28:00 GMT"}, 2) == 300
    for nonsense in ({}, {"Retry-After": "soon"}, {"Retry-After": "nan"}, {"Retry-After": ""}):
        assert requested_wait(nonsense, 2) == 2
    assert requested_wait({"Retry-After": "-5"}, 2) == 0
    assert requested_wait({"ratelimit": '"api";r=0;t=55'}, 2) == 55
    assert requested_wait({"ratelimit": '"api";r=7;t=55'}, 2) == 2


# -------------------------------------------------------------------- faults that stay


STAYS = {
    "401": "it does not know the token, or there is none; log in with `hf auth login`, or set HF_TOKEN",
    "403": "the token has no right to write there; make one that has, at https://huggingface.co/settings/tokens",
    "503": "the Hub answered 503",
    "cut before": "the line was cut",
}
QUICK = {("401", "/api/repos/create"), ("403", "/commit/"), ("503", "/commit/"), ("cut before", "/lfs-store/")}


@pytest.mark.parametrize(
    ("status", "where"),
    [
        pytest.param(status, where, marks=[] if (status, where) in QUICK else pytest.mark.slow)
        for status in STAYS
        for where in ("/api/repos/create", "/refs", "/preupload/", "/lfs-store/", "/commit/")
    ],
)
def test_what_stays_wrong_is_said_in_one_line(status, where, run, waits, caplog, capsys):
    said = STAYS[status]
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with HubServer(token=TOKEN, fault=lambda method, path, count: status if where in path else "") as server:
        with pytest.raises(HubPushError) as refused:
            push(run, server, folds=["sub01"], main=False)
        assert len(server.requests) < 250
    text = str(refused.value)
    assert said in text and "'me/demo'" in text and "\n" not in text
    if status == "503":
        assert text.endswith("; nothing local was touched, push again later")
        assert ("503, 4 times" in text) == (where != "/lfs-store/"), "uploads are tried again by huggingface_hub"
    shown = "".join([*traceback.format_exception(refused.value), caplog.text, *capsys.readouterr()])
    assert TOKEN not in shown
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_the_tokens_of_the_environment_are_not_shown_either(run, waits, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", TOKEN)

    def fault(method, path, count):
        return "403" if "/commit/" in path else ""

    with HubServer(token=TOKEN, fault=fault) as server:
        server.says = f"the token {TOKEN} may not"
        with pytest.raises(HubPushError, match=r"403 .*the token \*\*\* may not") as refused:
            push(run, server, token=None, folds=["sub01"], main=False)
    assert TOKEN not in "".join(traceback.format_exception(refused.value)) + caplog.text


# -------------------------------------------------------------------- a repository that is taken


def test_a_repository_of_something_else_is_refused_unless_asked(run, waits):
    with HubServer(token=TOKEN) as server:
        server.store("me/demo", {"config.json": b'{"model_type": "bert"}', "pytorch_model.bin": b"theirs"})
        with pytest.raises(HubPushError, match=r"its branch main holds 2 files that belong to no run \(config"):
            push(run, server)
        assert server.files("me/demo")["pytorch_model.bin"] == b"theirs" and not server.uploads
        push(run, server, overwrite=True)
        assert "predictions.parquet" in server.files("me/demo")


def test_a_run_json_of_somebody_else_is_not_waited_for(run, waits):
    with HubServer(token=TOKEN) as server:
        server.store("me/demo", {"run.json": b"# how to run"})
        with pytest.raises(HubPushError, match=r"look into the branches of 'me/demo': its branch main holds 1 files"):
            push(run, server)
    assert waits == []


def test_another_run_of_the_same_name_is_refused(run, waits, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    info = json.loads((other / "run.json").read_text())
    info["config"]["training"]["learning_rate"] = 0.5
    info["data"]["fingerprint"] = "e" * 64
    (other / "run.json").write_text(json.dumps(info))
    with HubServer(token=TOKEN) as server:
        push(run, server, folds=["sub01"], main=False)
        held = server.files("me/demo", "fold-sub01")
        with pytest.raises(HubPushError, match=r"sub01 holds another run \(tiny: config, data.fingerprint differ"):
            push(other, server, folds=["sub01"], main=False)
        push(run, server)
        with pytest.raises(HubPushError, match=r"branch (main|fold-sub0\d) holds another run \(tiny: config"):
            push(other, server, folds=["sub02"], main=False)
        assert server.files("me/demo", "fold-sub01") == held
        info = json.loads((run / "run.json").read_text())
        info["versions"]["torch"], info["git_commit"] = "9.9", "f" * 40  # the run went on elsewhere
        (run / "run.json").write_text(json.dumps(info))
        push(run, server)


def test_whoever_commits_in_between_is_not_written_over_blindly(run, waits):
    """The commit names the one it was compared with; another in between makes the push look again."""
    with HubServer(token=TOKEN) as server:
        push(run, server, folds=["sub01"], main=False)
        fold = run / "folds" / "sub01"
        (fold / "checkpoint" / "modeling_aullm.py").write_text("# changed\n")
        finish_fold(fold, json.loads((fold / "fold.json").read_text()))
        repo = server.repos["model:me/demo"]

        def fault(method, path, count):
            if "/preupload/" in path and len(repo["commits"]) == 2:
                tree = dict(repo["commits"][repo["branches"]["fold-sub01"]])
                server.commit(repo, "fold-sub01", {**tree, "theirs.md": {"content": b"x"}})
            return ""

        server.fault = fault
        push(run, server, folds=["sub01"], main=False)
        assert holds(server, run) and "theirs.md" not in server.files("me/demo", "fold-sub01")
        assert any(path.endswith("/commit/fold-sub01") for _, path, _ in server.requests)


# -------------------------------------------------------------------- other servers


def test_a_server_without_xet_is_told_at_once(run, waits, monkeypatch):
    """Xet's client calls a 404 a network error: what came is shown, and is not waited for."""
    pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    with HubServer(token=TOKEN) as server:
        with pytest.raises(
            HubPushError, match=r"answered 404 Not Found to Xet; .* set HF_HUB_DISABLE_XET=1"
        ) as refused:
            push(run, server, folds=["sub01"], main=False)
    assert not waits and TOKEN not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("stated", ["sha256", "md5", "git-sha256"])
def test_what_is_there_is_known_by_the_hash_that_the_server_states(stated, run, waits):
    with HubServer(token=TOKEN) as server:
        server.stated_hash = stated
        push(run, server)
        sent = len(server.uploads)
        again = push(run, server)
        assert again.uploaded == 0 and len(server.uploads) == sent
        fold = run / "folds" / "sub01"
        code = fold / "checkpoint" / "modeling_aullm.py"
        code.write_text(code.read_text().upper())  # of the same size
        finish_fold(fold, json.loads((fold / "fold.json").read_text()))
        assert push(run, server, main=False).branches["fold-sub01"].uploaded == ["modeling_aullm.py"]
        assert holds(server, run)


@pytest.mark.parametrize("branch", ["main", "fold-sub01"])
def test_of_two_runs_pushed_at_once_the_later_is_refused(branch, run, waits, tmp_path):
    """Both find the repository empty; the one whose commit comes second must not write over the first."""
    other = shutil.copytree(run, tmp_path / "other")
    info = json.loads((other / "run.json").read_text())
    info["data"]["fingerprint"] = "e" * 64
    (other / "run.json").write_text(json.dumps(info))
    options = {"folds": []} if branch == "main" else {"folds": ["sub01"], "main": False}
    with HubServer(token=TOKEN) as server:
        push_run(other, "me/other", endpoint=server.url, token=TOKEN, **options)
        theirs = server.repos["model:me/other"]

        def fault(method, path, count):
            repo = server.repos["model:me/demo"] if "me/demo" in path else {"commits": ()}
            if path.endswith(f"me/demo/preupload/{branch}") and len(repo["commits"]) == 1:
                server.commit(repo, branch, theirs["commits"][theirs["branches"][branch]])
            return ""

        server.fault = fault
        with pytest.raises(HubPushError, match=rf"branch {branch} holds another run \(tiny: data.fingerprint differ"):
            push(run, server, **options)
        assert json.loads(server.files("me/demo", branch)["run.json"])["data"]["fingerprint"] == "e" * 64


def test_the_hub_is_given_up_once_and_not_at_every_request(waits):
    """A load asks for several files: after the first was asked in vain, each of the others is asked once."""
    be_patient(3)
    with HubServer(fault=lambda *_: "cut before") as server:
        for name in ("config.json", "adapter_config.json", "model.safetensors"):
            with pytest.raises(HubUnreachable, match=r"the line was cut"):
                get_session().get(f"{server.url}/me/x/resolve/main/{name}")
        assert len(server.requests) == 3 + 1 + 1 and waits == [1, 2]
        server.fault = None
        get_session().get(f"{server.url}/me/x/resolve/main/config.json")
        server.fault = first_time("503")
        get_session().get(f"{server.url}/me/x/resolve/main/config.json")
        assert len(server.requests) == 3 + 1 + 1 + 1 + 2, "patience comes back with the Hub"


def test_a_client_of_the_user_s_own_is_left_alone(monkeypatch):
    class Own(hub_client.httpx.Client):
        pass

    monkeypatch.setattr(hub_client, "get_session", Own)
    monkeypatch.setattr(hub_client, "set_client_factory", lambda _: pytest.fail("the user's client is replaced"))
    be_patient()


# -------------------------------------------------------------------- what is published of this machine


def test_no_folder_of_this_machine_is_published(run, waits):
    folder = run / "folds" / "sub01" / "checkpoint"
    (folder / "config.json").write_text(
        json.dumps(
            {"llm_name_or_path": "/private/models/Qwen2-1.5B", "text_config": {"_name_or_path": "/private/x/q"}}
        )
    )
    finish_fold(folder.parent, json.loads((folder.parent / "fold.json").read_text()))
    with HubServer(token=TOKEN) as server:
        push(run, server)
        everything = {
            f"{branch}/{name}": content
            for branch in server.repos["model:me/demo"]["branches"]
            for name, content in server.files("me/demo", branch).items()
        }
    published = json.loads(everything["fold-sub01/config.json"])
    assert published == {"llm_name_or_path": ".../Qwen2-1.5B", "text_config": {"_name_or_path": ".../q"}}
    assert not [
        name for name, content in everything.items() if b"/private/" in content or str(run.parent).encode() in content
    ]


# -------------------------------------------------------------------- loading

LOADING = """
import io, json, os, sys, time
from contextlib import redirect_stderr, redirect_stdout

from aullm_hf import hub_client
from aullm_hf.inference import AUDetector
from aullm_hf.commands.main import main
import huggingface_hub.utils._http as http
import torch

hub_client.TIMEOUT = dict.fromkeys(hub_client.TIMEOUT, 0.5)
real = time.sleep
for module in (hub_client, http):
    quick = {"sleep": staticmethod(lambda seconds: real(min(seconds, 0.01))), "time": staticmethod(time.time)}
    module.time = type("Clock", (), quick)
import huggingface_hub.file_download as download
download.time = hub_client.time
found = {}
for name in sys.argv[1].split(","):
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["info", f"me/{name}", "--json"])
    lines = [line for line in err.getvalue().splitlines() if line.startswith("aullm info: ")]
    entry = {"status": status, "said": lines[-1] if lines else ""}
    try:
        with redirect_stdout(out), redirect_stderr(err):
            detector = AUDetector(f"me/{name}")
            pixels = torch.linspace(0, 1, 6 * 32 * 32).view(1, 6, 1, 32, 32)
            with torch.no_grad():
                entry["logits"] = detector.model(pixels).logits[0].tolist()
            entry["revision"] = detector.revision
    except Exception as error:
        import traceback
        entry["error"] = f"{type(error).__name__}: {error}"
        err.write("".join(traceback.format_exception(error)))
    assert os.environ["HF_TOKEN"] not in out.getvalue() + err.getvalue(), "the token is shown"
    found[name] = entry
print("FOUND" + json.dumps(found))
"""
LOADS = ("503", "429", "cut-before", "cut-after", "cut-within", "500", "504", "hang", "whole")
STAYING = {"s401": "401", "s403": "403", "s503": "503", "scut": "cut before", "shalf": "cut within"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """(a Hub with a model and a base LLM a fault, the model's logits, the model's files)."""
    import torch

    folder = tmp_path_factory.mktemp("model")
    model = tiny_model()
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    llm = {path.name: path.read_bytes() for path in Path(tiny_llm()).iterdir()}
    pixels = torch.linspace(0, 1, 6 * 32 * 32).view(1, 6, 1, 32, 32)
    with torch.no_grad():
        logits = model(pixels).logits[0].tolist()
    return files, llm, logits


def place(server, name, files, llm, **changed):
    commit = server.store(f"llm/{name}", llm)
    config = json.loads(files["config.json"])
    config |= {"llm_name_or_path": f"llm/{name}", "llm_revision": commit, **changed}
    server.store(f"me/{name}", {**files, "config.json": json.dumps(config).encode()})


def load(server, names, home, **environment):
    env = {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0",
           "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1",
           "OMP_NUM_THREADS": "1",
           "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LOADING, ",".join(names)], env=env | environment, capture_output=True, text=True,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert TOKEN not in done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("FOUND")[2])


@pytest.mark.slow
def test_loading_survives_or_says_why_and_never_uses_half_a_file(stored, tmp_path):
    files, llm, logits = stored
    passing = {name: first_time(name.replace("-", " ")) for name in LOADS if name != "whole"}

    def fault(method, path, count):
        _, _, rest = path.removeprefix("/api/models").strip("/").partition("/")
        name = rest.split("/")[0].split("?")[0]
        if name in STAYING:
            return STAYING[name] if STAYING[name] != "cut within" or path.endswith("model.safetensors") else ""
        return passing[name](method, path, count) if name in passing else ""

    with HubServer(token=TOKEN, fault=fault) as server:
        for name in (*LOADS, *STAYING, "moved", "config", "weights"):
            place(server, name, files, llm)
        # what the base LLM's name stands for has changed since: at the pinned commit it is still there
        server.store("llm/moved", {**llm, "model.safetensors": b"another's"})
        place_changed(server, files, llm, tmp_path)
        found = load(server, [*LOADS, *STAYING, "moved", "config", "weights"], tmp_path / "home")
        damage(tmp_path / "home", "me/500", flip=True)
        damage(tmp_path / "home", "llm/503", flip=False)
        offline = load(server, ["whole", "shalf", "unheard-of", "500", "503"], tmp_path / "home", HF_HUB_OFFLINE="1")
    for name in (*LOADS, "moved"):
        assert found[name].get("logits") == logits and found[name]["status"] == 0, (name, found[name])
        assert len(found[name]["revision"]) == 40, "the table of results names the commit"
    for name in STAYING:
        assert "logits" not in found[name], name
        kind, _, said = found[name]["error"].partition(": ")
        assert kind in ("OSError", "FileNotFoundError") and f"me/{name}" in said, found[name]
        assert found[name]["status"] == 2 and f"me/{name}" in found[name]["said"]
    assert (
        "made for another LLM than 'llm/config': rms_norm_eps is 0.5 there and 1e-06 here" in found["config"]["error"]
    )
    assert "The weights of 'llm/weights' (fingerprint" in found["weights"]["error"]
    assert offline["whole"]["logits"] == logits
    for name in ("shalf", "unheard-of"):
        assert "logits" not in offline[name] and offline[name]["error"], "half a download was loaded"
    assert offline["unheard-of"]["status"] == 2
    assert "HF_HUB_OFFLINE" in offline["unheard-of"]["said"] or "offline" in offline["unheard-of"]["said"].lower()
    assert "damaged after they were downloaded; delete" in offline["500"]["error"]
    assert "logits" not in offline["503"] and offline["503"]["error"]


def place_changed(server, files, llm, tmp_path):
    """The same name and revision, `main`, for an LLM of another configuration, and for one of other weights."""
    config = json.loads(llm["config.json"])
    config["rms_norm_eps"] = 0.5
    server.store("llm/config", {**llm, "config.json": json.dumps(config).encode()})
    (tmp_path / "w.safetensors").write_bytes(llm["model.safetensors"])
    weights = load_file(tmp_path / "w.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, tmp_path / "w.safetensors", {"format": "pt"})
    server.store("llm/weights", {**llm, "model.safetensors": (tmp_path / "w.safetensors").read_bytes()})
    for name in ("config", "weights"):
        given = json.loads(files["config.json"]) | {"llm_name_or_path": f"llm/{name}", "llm_revision": "main"}
        server.store(f"me/{name}", {**files, "config.json": json.dumps(given).encode()})


def damage(home, repo_id, *, flip):
    """One bit of the weights in the cache, or its second half gone."""
    (link,) = (home / "hub" / f"models--{repo_id.replace('/', '--')}" / "snapshots").glob("*/model.safetensors")
    content = bytearray(link.read_bytes())
    content[-7] ^= 1
    link.resolve().write_bytes(content if flip else content[: len(content) // 2])


def test_an_llm_with_code_of_its_own_is_not_run(stored, tmp_path):
    """A checkpoint may name any LLM: one that brings code is refused at once, without a question on the terminal."""
    base = shutil.copytree(tiny_llm(), tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    model = tiny_model()
    model.save_pretrained(tmp_path / "fold")
    with pytest.raises(OSError, match="could not be read"):
        AULLMForAUDetection.from_pretrained(tmp_path / "fold", llm_name_or_path=str(base))
    with pytest.raises(OSError, match="could not be read"):
        AULLMForAUDetection.from_base_llm(model.config, str(base))
    assert not (tmp_path / "ran").exists()
