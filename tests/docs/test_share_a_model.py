"""The page from training to a shared model, followed to the end against a Hub on this machine."""

import pandas as pd
from huggingface_hub import constants

from support.commands import aullm
from support.documents import ROOT, blocks_of
from support.hub_server import HubServer, reach_the_server
from support.workplace import tiny

REPOSITORY = "YOU/REPOSITORY"


def test_the_page_is_followed_to_the_end(workplace, monkeypatch, tmp_path):
    (workplace / "YOU" / "REPOSITORY").rename(tmp_path / "away")  # what is loaded has to come from the Hub
    page = ROOT / "docs/guides/share-a-model.md"
    reach_the_server(monkeypatch)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with HubServer(token="hf_test") as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        done = []
        for block in blocks_of(page):
            if block.language == "sh":
                for words in block.commands:
                    if words[0] == "aullm":
                        assert aullm(*(tiny(words[1:]) if words[1] == "train" else words[1:])) == 0, words
                        done.append(words[1])
            elif block.language == "python":
                namespace: dict = {}
                exec(block.text, namespace)
        assert done == ["train", "info", "predict", "push", "info", "predict", "export"]
        files = server.files(REPOSITORY)
    assert "model.safetensors" in files and "README.md" in files
    before, after = pd.read_csv("before.csv"), pd.read_csv("after.csv")
    columns = [name for name in before if name.startswith(("p_", "active_", "threshold_"))]
    assert len(before) and before[columns].equals(after[columns])
    assert namespace["model"].config.thresholds == {
        name.removeprefix("threshold_"): before[name][0] for name in columns if name.startswith("threshold_")
    }
