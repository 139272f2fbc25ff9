"""Every file of hub_configs/ is a run that can be planned here and now: no data, no network, no LLM."""

import re

import pytest
import yaml

from aullm_hf.training.distributed import requested_processes
from aullm_hf.training.dry_run import placeholder_table
from aullm_hf.training.parsing import load_run_config
from support.tiny_run import ROOT, tiny_yaml, train

CONFIGS = sorted((ROOT / "hub_configs").glob("*.yaml"))
PUBLISHED = [path for path in CONFIGS if yaml.safe_load(path.read_text())["training"].get("adam_with_l2")]


def _plan(path, run, capsys, *options):
    assert train(path, run, "--dry_run", *options) == 0
    assert not run.exists()
    return capsys.readouterr().out


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_recipe_can_be_planned(path, tmp_path, capsys):
    plan = _plan(path, tmp_path / "run", capsys)
    for word in ("clips ", "folds ", "positives ", "steps ", "trained ", "frozen ", "memory ", "disk "):
        assert f"\n{word}" in plan
    assert ("NO DATA" in plan) == ("synthetic" not in plan)


def test_every_published_run_has_a_file():
    names = {path.stem for path in CONFIGS}
    for data in ("casme2", "samm"):
        layouts = {
            f"{data}-{llm}-{layout}" for llm in ("qwen2", "qwen2.5", "deepseek-r1") for layout in ("paper", "code")
        }
        ablations = {f"{data}-ablation-{part}" for part in ("high", "mid", "linear", "prompt")}
        assert layouts | ablations <= names
    assert {"quickstart", "cross-casme2-to-samm", "cross-samm-to-casme2", "leave-one-dataset-out"} <= names


TO_PUBLISH = [
    path
    for path in CONFIGS
    if re.fullmatch(r"(casme2|samm)-(.*-(code|paper)|ours(-flow)?|aullmpp)|leave-one-dataset-out", path.stem)
]


@pytest.mark.parametrize("path", TO_PUBLISH, ids=lambda path: path.stem)
def test_recipes_of_models_that_others_use_have_a_final_fit(path):
    assert len(TO_PUBLISH) >= 19 and load_run_config(path).protocol.final_fit


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_published_recipe_is_set_exactly(path):
    """Adam with coupled L2 on everything, 3e-5 constant, no clipping, one step an epoch, dropout 0.3, seed 1."""
    run = load_run_config(path)
    training, model = run.training, run.model
    assert training.adam_with_l2 and training.learning_rate == 3e-5 and training.weight_decay == 0.005
    assert training.lr_scheduler_type == "constant" and training.warmup_steps == 0 and training.max_grad_norm == 0
    assert training.per_device_train_batch_size == 256 and training.gradient_accumulation_steps == 1
    assert training.num_train_epochs == 350 and run.seeds == [1] and run.protocol.inner == "none"
    rates = ("led", "vision", "projector", "lora", "head")
    assert [getattr(training, f"{group}_learning_rate") for group in rates] == [None] * 5
    assert model.vision_dropout == 0.3 and model.projector_dropout == 0.3 and training.include_last is False
    assert (training.adam_beta1, training.adam_beta2, training.adam_epsilon) == (0.9, 0.999, 1e-8)
    assert training.clip_sampling == "uniform" and training.augment_flip == training.augment_shift == 0
    assert training.augment_zoom == training.augment_brightness == 0
    assert model.lora is None or model.lora == {
        "r": 16, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"]
    }  # fmt: skip


def test_the_plan_counts_what_the_run_does(tmp_path, capsys):
    import json

    path = tiny_yaml(tmp_path, training={"num_train_epochs": 2})
    plan = _plan(path, tmp_path / "run", capsys)
    assert "18 of 3 subjects" in plan and "folds       3 (loso, inner: holdout, 1 seed)" in plan
    steps = int(re.search(r"steps +(\d+) per fold", plan)[1])
    train(path, tmp_path / "run", "--folds", "sub01")
    log = json.loads((tmp_path / "run/folds/sub01/log.json").read_text())
    assert log[-1]["step"] in (steps - 1, steps) and "6 clips to train on, 6 held out inside, 6 to test" in plan
    entry = json.loads((tmp_path / "run/folds/sub01/fold.json").read_text())
    saved = sum(f["bytes"] for name, f in entry["files"].items() if name.endswith("safetensors"))
    trained = int(re.search(r"trained +([\d,]+) ", plan)[1].replace(",", ""))
    frozen = int(re.search(r"frozen +([\d,]+) ", plan)[1].replace(",", ""))
    assert saved == pytest.approx(4 * (trained + frozen), rel=0.2)


def test_placeholders_have_the_public_counts():
    casme2, samm = placeholder_table("casme2"), placeholder_table("samm")
    assert len(casme2["aus"]) == 255 and len(set(casme2["subject"])) == 26 and casme2["subject"].count("17") == 36
    counts = {au: sum(au in row for row in casme2["aus"]) for au in (1, 2, 4, 7, 12, 14, 15, 17)}
    assert counts == {1: 28, 2: 25, 4: 125, 7: 38, 12: 39, 14: 22, 15: 17, 17: 26}
    assert len(samm["aus"]) == 159 and len(set(samm["subject"])) == 29
    assert {au: sum(au in row for row in samm["aus"]) for au in (2, 4, 7, 12)} == {2: 18, 4: 23, 7: 46, 12: 28}
    assert placeholder_table("unheard of") is None


def test_an_llm_that_is_not_there_says_what_to_do(tmp_path, capsys):
    path = tiny_yaml(tmp_path, model={"llm_name_or_path": "someone/some-llm"})
    assert train(path, tmp_path / "run", "--dry_run") == 2
    shown = capsys.readouterr().err
    assert "llm_name_or_path is 'someone/some-llm'" in shown and "no repository of that name in the cache" in shown
    assert train(path, tmp_path / "run") == 2
    assert "llm_name_or_path is 'someone/some-llm'" in capsys.readouterr().err and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ("accelerate launch --cpu --num_processes 2 training/train.py", 2),
        ("torchrun --nproc-per-node=4 training/train.py", 4),
        ("python training/train.py --num_train_epochs 3", 1),
    ],
)
def test_the_launchers_wish_is_read_from_its_command(command, count):
    assert requested_processes(command.split()) == count
