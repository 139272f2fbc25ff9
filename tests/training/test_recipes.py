"""Each kind of recipe, from the spreadsheet to the card, on small trees of the data sets and with a tiny LLM."""

import json

import pandas as pd
import pytest
import yaml

from aullm_hf.baselines import BaselineConfig
from aullm_hf.data import aus_of
from aullm_hf.evaluation import read_run
from aullm_hf.model import AULLMConfig
from support.commands import aullm
from support.tiny_run import ROOT, TINY_RUN, train
from support.trees.trees import write_tree

RECIPES = ROOT / "hub_configs"
# One of each kind: published layouts, ablations, our own, AULLM++, baselines of every family, protocols.
KINDS = [
    "casme2-deepseek-r1-code",
    "casme2-qwen2-paper",
    "casme2-ablation-prompt",
    "casme2-ours",
    "samm-ours",
    "casme2-ours-flow",
    "casme2-aullmpp",
    "casme2-aullmpp-paper",
    "casme2-aullmpp-mge-graph",
    "casme2-baseline-flow-svm",
    "casme2-baseline-lbp-top-svm",
    "casme2-baseline-at",
    "casme2-baseline-dvasp",
    "casme2-baseline-led-resnet18",
    "casme2-baseline-sssnet-flow",
    "cross-casme2-to-samm",
    "cross-samm-to-casme2-aullmpp",
    "cross-casme2-to-samm-baseline-led-sssnet",
    "leave-one-dataset-out",
]
SHARED = ("image_size", "backbone_channels", "high_dim")
AULLM = ("llm_name_or_path", "tiny_llm", "save_base_weights", "se_reduction", "lora")


def tiny_options(recipe: dict) -> list[str]:
    """A tiny network in the place of the recipe's, and a few steps."""
    model = recipe["model"]
    baseline = model.get("model_kind", "aullm") != "aullm"
    given = {name: TINY_RUN["model"][name] for name in (SHARED if baseline else SHARED + AULLM)}
    given |= {"resnet_widths": [4, 4, 8, 8]} if baseline else {"llm_dtype": "float32", "projector_hidden": 16}
    given |= {"max_steps": 2, "per_device_train_batch_size": 8, "use_cpu": True, "save_strategy": "no", "face": "none"}
    return [word for name, value in given.items() for word in (f"--{name}", json.dumps(value).strip('"'))]


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """The truth about each data set's tree, written when it is first asked for."""
    root, written = tmp_path_factory.mktemp("trees"), {}

    def truth_of(name: str):
        if name not in written:
            written[name] = write_tree(name, root / name, broken=False)
        return written[name]

    return truth_of


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_recipe_goes_from_the_spreadsheet_to_the_card(name, trees, tmp_path, capsys):
    recipe = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())
    datasets, protocol = recipe["data"]["datasets"], recipe["protocol"]
    truths = {dataset: trees(dataset) for dataset in datasets}
    run, roots = tmp_path / name, [f"{dataset}={truth.root}" for dataset, truth in truths.items()]
    assert train(name, run, *tiny_options(recipe), "--root", *roots, report=True) == 0

    tested = [protocol["target"]] if protocol["protocol"] == "cross_domain" else datasets
    clips = {clip.clip_id: clip for dataset in tested for clip in truths[dataset].usable}
    read, aus = read_run(run), aus_of(recipe["data"]["aus"])
    assert sorted(read.predictions["clip_id"]) == sorted(clips)
    for row in read.predictions.to_dict("records"):
        assert [row[f"y_AU{au}"] for au in aus] == [au in clips[row["clip_id"]].aus() for au in aus]
    subjects = {f"{dataset}:{clip.subject}" for dataset in datasets for clip in truths[dataset].usable}
    for entry in read.folds:
        assert entry["seen_subjects"] and set(entry["seen_subjects"]) <= subjects - set(entry["test_subjects"])

    config_of = BaselineConfig if "baseline" in name else AULLMConfig
    config = config_of.from_pretrained(next(run.glob("folds/*/checkpoint")))
    assert config.aus == list(aus) and set(config.training_data.split(", ")) <= set(datasets)
    assert (run / "final" / "checkpoint" / "model.safetensors").is_file() == protocol.get("final_fit", False)
    assert json.loads((run / "results.json").read_text())["mean"]["ranking"]["ap"]["value"] >= 0
    card = (run / "README.md").read_text()
    assert (
        "SYNTHETIC" not in card and str(tmp_path) not in card and all(str(t.root) not in card for t in truths.values())
    )
    assert pd.read_csv(run / "tables" / "results.csv").size

    capsys.readouterr()
    assert aullm("evaluate", run, "--resamples", "5") == 0
    assert "AU" in capsys.readouterr().out
