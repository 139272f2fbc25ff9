"""From training to a stranger's machine: a run is pushed over a bad line, and a fold loads by its revision."""

import json
import re
import shlex
from functools import partial

import numpy as np
import pandas as pd
from PIL import Image

from aullm_hf.data import load_clips
from aullm_hf.hub import push_run
from aullm_hf.inference import detect_aus
from support import processes
from support.commands import aullm
from support.hub_server import HubServer, reach_the_server
from support.stranger import run_as_stranger
from support.tiny_run import tiny_yaml, train

STRANGER = """
import json
import numpy as np, torch
from transformers import AutoModel, AutoProcessor

found, clips, out = {}, *sys.argv[1:]
for fold in ("sub01", "sub03"):
    model = AutoModel.from_pretrained("me/run", revision=f"fold-{fold}", trust_remote_code=True)
    processor = AutoProcessor.from_pretrained("me/run", revision=f"fold-{fold}", trust_remote_code=True)
    with np.load(clips) as named, torch.no_grad():
        pixels = processor([named[name] for name in sorted(named.files)])["pixel_values"]
        logits = model(pixels).logits
    found[fold] = {"logits": logits.tolist(), "p": model.probabilities(logits).tolist(),
                   "thresholds": model.config.thresholds}
json.dump(found, open(out, "w"))
"""


def test_a_pushed_fold_loads_by_its_revision_without_the_package(tmp_path, monkeypatch):
    config = tiny_yaml(tmp_path, training={"num_train_epochs": 1, "save_strategy": "no"})
    run = tmp_path / "run"
    assert train(config, run, report=True) == 0
    clips = {clip["clip_id"]: np.asarray(clip["frames"]) for clip in load_clips(
        "synthetic", aus=[1, 4, 12], subjects=3, clips_per_subject=6, size=16)}  # fmt: skip
    np.savez(tmp_path / "clips.npz", **{name.replace("/", "|"): frames for name, frames in clips.items()})

    reach_the_server(monkeypatch)
    with HubServer(fail_every=5, token="hf_test") as server:
        push = {"endpoint": server.url, "token": "hf_test", "attempts": 20}
        pushed = push_run(run, "me/run", **push)
        assert {"fold-sub01", "fold-sub02", "fold-sub03", "main"} == set(pushed.branches)
        assert push_run(run, "me/run", **push).uploaded == 0
        server.fail_every = 0
        own = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_test", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
        run_as_stranger(STRANGER, tmp_path, tmp_path / "clips.npz", tmp_path / "found.json", **own)

    actual = json.loads((tmp_path / "found.json").read_text())
    table = pd.read_parquet(run / "predictions.parquet").set_index("clip_id")
    names = sorted(name.replace("/", "|") for name in clips)
    for fold in ("sub01", "sub03"):
        entry = json.loads((run / "folds" / fold / "fold.json").read_text())
        assert actual[fold]["thresholds"] == entry["thresholds"]
        tested = 0
        for name, logits, p in zip(names, actual[fold]["logits"], actual[fold]["p"], strict=True):
            row = table.loc[name.replace("|", "/")]
            if row["fold"] == fold:
                tested += 1
                assert np.allclose(logits, row[["z_AU1", "z_AU4", "z_AU12"]].astype(float), atol=1e-4)
                assert np.allclose(p, row[["p_AU1", "p_AU4", "p_AU12"]].astype(float), atol=1e-4)
        assert tested == 6


def test_the_path_from_a_run_to_a_prediction_by_others(tmp_path, monkeypatch, capsys):
    """train, push, and what push says is missing; then train --final_fit, push, and predict in a fresh process."""
    run, clip = tmp_path / "run", tmp_path / "clip"
    config = tiny_yaml(tmp_path, training={"num_train_epochs": 1, "save_strategy": "no"})
    clips = load_clips("synthetic", aus=[1, 4, 12], subjects=3, clips_per_subject=6, size=16)
    clip.mkdir()
    for at, frame in enumerate(np.asarray(clips[0]["frames"])):
        Image.fromarray(frame.astype("uint8")).save(clip / f"{at:03d}.png")

    reach_the_server(monkeypatch)
    with HubServer(token="hf_test") as server:
        monkeypatch.setattr("aullm_hf.hub.push_run", partial(push_run, endpoint=server.url, token="hf_test"))
        assert aullm("train", config, "--output_dir", run) == 0
        assert aullm("push", run, "--repo", "me/run") == 0
        pushed = capsys.readouterr().err
        with monkeypatch.context() as there:
            there.setattr("huggingface_hub.constants.ENDPOINT", server.url)
            there.setenv("HF_TOKEN", "hf_test")
            assert aullm("predict", clip, "--model", "me/run", "--no_face") == 2
        shown = capsys.readouterr()
        assert "has no model on 'main', but one of each fold on fold-sub01, fold-sub02, fold-sub03: give" in shown.err
        command = shlex.split(re.search(r"`(aullm train .* --final_fit)`", pushed)[1])
        assert aullm(*command[1:]) == 0
        capsys.readouterr()
        assert aullm("push", run, "--repo", "me/run") == 0
        shown = capsys.readouterr()
        assert "final fit" not in shown.err and "fold-sub01: 0 files sent" in shown.out

        own = {"HF_ENDPOINT": server.url, "HF_TOKEN": "hf_test", "HF_HOME": str(tmp_path / "home")}
        own |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        words = ["predict", str(clip), "--model", "me/run", "--out", str(tmp_path / "aus.csv"), "--no_face"]
        done = processes.run(processes.aullm, *words, environment=own)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = detect_aus([clip], run / "final" / "checkpoint", face="none")
    actual = pd.read_csv(tmp_path / "aus.csv")
    for column in ("p_AU1", "p_AU4", "p_AU12"):
        assert np.allclose(actual[column], expected[column], atol=1e-5)
