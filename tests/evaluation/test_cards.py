import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from aullm_hf.evaluation import is_licensed, read_run, score_predictions, write_report
from aullm_hf.evaluation.cards import fold_card, run_card
from aullm_hf.evaluation.redacting import redact
from aullm_hf.evaluation.report import results_of
from aullm_hf.evaluation.tables import About
from support.fake_run import fake_run, report_without_figures

EXPECTED = Path(__file__).parent / "expected_card.md"


def card_of(path: Path, **options) -> ModelCard:
    run = read_run(path)
    scores = score_predictions(run.predictions, run.folds, resamples=200)
    about = About.of_run(run)
    return run_card(run, results_of(run, scores, about), scores, about, **options)


def test_the_whole_card(tmp_path):
    """The expected text was read by a person. After a wanted change: write the new one there, and read it again."""
    card = card_of(
        fake_run(tmp_path / "casme2-quick", dataset="casme2", licensed=True),
        repo_id="me/casme2-quick",
        figures=["per_au.png", "learning_curve.png"],
    )
    assert str(card) == EXPECTED.read_text(encoding="utf-8")


def test_the_metadata_survives_and_holds_no_oracle(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "run")
    results = report_without_figures(run, monkeypatch, resamples=20)
    card = ModelCard.load(run / "README.md")
    assert card.data.model_name == "run" and card.data.library_name == "transformers"
    assert card.data.base_model == "Qwen/Qwen2-1.5B" and card.data.license == "apache-2.0"
    found = {r.metric_name: r for r in card.data.eval_results}
    mean = found["F1 (binary, AU active), mean, calibrated"]
    assert mean.metric_value == round(results["mean"]["calibrated"]["f1"]["value"], 4)
    assert mean.dataset_name == "synthetic (synthetic faces)"
    assert mean.dataset_args["protocol"] == "leave-one-subject-out" and mean.dataset_args["folds"] == 3
    assert not [name for name in found if "oracle" in name]
    assert len(found) == 4 * 6  # mean and three AUs: two F1s by two rules, AP, AUC
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_the_figures_of_the_card_are_those_of_the_results(tmp_path):
    run = fake_run(tmp_path / "run")
    results = write_report(run, resamples=20)
    text = (run / "README.md").read_text()
    for au in ("AU1", "AU4", "AU12"):
        figure = results["per_au"][au]["calibrated"]["f1"]
        assert f"{figure['value']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]" in text
    assert "![Both F1s per AU with 95 % intervals and floors](figures/per_au.png)" in text


@pytest.mark.parametrize("final", [False, True])
def test_weights_on_main_are_named_for_what_they_are(tmp_path, final):
    text = str(card_of(fake_run(tmp_path / "run", final=final), repo_id="me/run"))
    snippet = re.search(r"pipeline\(model=.*\)", text)[0]
    command = re.search(r"aullm predict CLIP.mp4 .*", text)[0]
    assert command == "aullm predict CLIP.mp4 --model me/run" + ("" if final else " --revision fold-sub01")
    if final:
        assert snippet == 'pipeline(model="me/run", trust_remote_code=True)'
        assert "Nobody was left to test it on" in text and "holds no weights" not in text
    else:
        assert snippet == 'pipeline(model="me/run", revision="fold-sub01", trust_remote_code=True)'
        assert "**This branch holds no weights**" in text
        assert "`fold-sub01`, `fold-sub02`, `fold-sub03`." in text


def test_a_fold_s_card_says_whom_it_left_out(tmp_path):
    run = read_run(fake_run(tmp_path / "run", seeds=(0, 1)))
    entry = run.folds[1]
    text = str(fold_card(run.info, run.name, entry, repo_id="me/run", branch="fold-sub02-seed0"))
    assert "It was trained without synthetic:sub02" in text and "not the model to ship" in text
    assert 'revision="fold-sub02-seed0"' in text
    assert "## Figures" not in text and "model-index" not in text
    for needed in ("Not for** deception detection, hiring, policing", "## Provenance and licences", "Apache-2.0"):
        assert needed in text


def test_nobody_s_secrets_or_folders_are_shown():
    shown = redact(
        {
            "hub_token": "hf_abcdefghijklmnop",
            "n_visual_token": 8,
            "note": "hf_abcdefghijklmnop",
            "root": "/data/CASME2",
            "windows": "C:\\data\\SAMM",
            "paths": ["~/x/y", "relative/path"],
            "nested": {"api_key": "k", "lr": 0.1},
        }
    )
    assert shown == {
        "n_visual_token": 8,
        "root": ".../CASME2",
        "windows": ".../SAMM",
        "paths": [".../y", "relative/path"],
        "nested": {"lr": 0.1},
    }


def test_a_missing_template_says_where_it_should_be(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"no card template at .*nowhere.md'; without template= the package's own"
    ):
        card_of(fake_run(tmp_path / "run"), template=tmp_path / "nowhere.md")


@pytest.mark.parametrize(
    ("model", "named", "unnamed"),
    [
        ({}, ["AU-LLM: a 3D-CNN"], ["AULLM++", "our reconstruction"]),
        ({"mge": True}, ["AU-LLM with part of AULLM++ (our reconstruction)", "MGE"], ["R-AUGNN", "CCR"]),
        ({"graph": True, "ccr_weight": 0.1}, ["R-AUGNN", "CCR", "our reconstruction"], ["MGE"]),
        (
            {"mge": True, "graph": True, "ccr_weight": 0.1},
            ["AULLM++ (our reconstruction): AU-LLM", "MGE", "R-AUGNN", "CCR", "settings are this project's own"],
            ["part of"],
        ),
    ],
)
def test_a_card_names_the_modules_and_whose_design_they_are(tmp_path, model, named, unnamed):
    run = read_run(fake_run(tmp_path / "run"))
    info = {**run.info, "config": {**run.info.get("config", {}), "model": model}}
    text = fold_card(info, "run", run.folds[0], repo_id="me/run", branch="fold-1").text
    what = text.split("## Use")[0]
    assert all(word in what for word in named) and not any(word in what for word in unnamed)


TERMS = "handed out by its owners under a personal agreement, at https://owners.example/casme2"


@pytest.mark.parametrize(
    ("dataset", "licensed", "right", "said"),
    [
        ("synthetic-casme2", False, "", ["under Apache-2.0.", "Anybody, under Apache-2.0 and the licence of Qwen"]),
        ("casme2", True, "", [TERMS, "Those whom the terms of the data allow it", "read them first"]),
        ("casme2", True, "The owners allowed me to", [TERMS, 'on this statement: "The owners allowed me to"']),
        ("own", True, "", ["the trainer's own data: ask the person who published this model"]),
    ],
)
def test_a_card_says_what_it_was_trained_on_and_who_may_use_it(tmp_path, dataset, licensed, right, said):
    path = fake_run(tmp_path / "run", dataset=dataset, licensed=licensed)
    run = read_run(path)
    fold = fold_card(run.info, "run", run.folds[0], repo_id="me/run", branch="fold-sub01", right=right)
    for text in (str(card_of(path, repo_id="me/run", right=right)), str(fold)):
        section = text.split("## Provenance and licences")[1].split("## Limits")[0]
        assert f"**Trained on**: {dataset}; labels: {run.info['data']['label_release']}." in section
        assert all(words in section for words in said)


DRAWN = "synthetic-casme2 v2 (wild), SYNTHETIC faces"


@pytest.mark.parametrize(
    ("begun_from", "anybody"),
    [
        ([DRAWN], True),
        (["casme2"], False),
        ([DRAWN, "samm"], False),
        (["casme2, synthetic-casme2 v2 (easy), partly SYNTHETIC faces"], False),
        (["not recorded"], False),
    ],
)
def test_weights_hand_on_the_terms_of_what_they_began_with(tmp_path, begun_from, anybody):
    """A run on drawn faces alone is everybody's only if the weights that it began with were."""
    run = read_run(fake_run(tmp_path / "run", dataset="synthetic-casme2"))
    run.info["data"]["begun_from"] = begun_from
    text = str(fold_card(run.info, "run", run.folds[0], repo_id="me/run", branch="fold-sub01"))
    assert f"**Begun from** weights that had been trained on: {'; before that on: '.join(begun_from)}." in text
    assert ("Anybody, under Apache-2.0" in text, "Those whom the terms" in text) == (anybody, not anybody)
    assert is_licensed(run.info) is not anybody


@pytest.mark.parametrize("inside", [False, True])
def test_a_card_says_where_the_llm_is(tmp_path, inside):
    run = read_run(fake_run(tmp_path / "run"))
    info = {**run.info, "config": {"model": {"save_base_weights": inside}}}
    text = str(fold_card(info, "run", run.folds[0], repo_id="me/run", branch="fold-sub01"))
    assert ("inside the checkpoint" in text, "not in this repository" in text) == (inside, not inside)


def test_the_card_of_a_licensed_run_s_folder_says_that_its_labels_are_there(tmp_path):
    path = fake_run(tmp_path / "run", dataset="casme2", licensed=True)
    assert "without its labels" not in str(card_of(path))
    assert "without its labels" in str(card_of(path, repo_id="me/run"))
