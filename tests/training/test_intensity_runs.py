"""A run with an output for intensities: marked clips teach it, its table holds both sides, its report scores them."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from aullm_hf.data import intensity_matrix, load_clips
from aullm_hf.evaluation import write_report
from aullm_hf.evaluation.run_folder import read_table
from aullm_hf.model import AULLMForAUDetection, AULLMVideoProcessor
from aullm_hf.training.animating import with_animated
from aullm_hf.training.batches import Batches
from aullm_hf.training.clips import clips_of
from support.tiny_run import baseline_yaml, tiny_yaml, train

AUS = [2, 4, 7, 12]
SAMM = {"datasets": ["synthetic-samm"], "aus": ["samm"], "difficulty": "standard", "clips_per_subject": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("intensity")
    config = tiny_yaml(folder, model={"intensity": True, "intensity_weight": 0.5}, data=SAMM)
    assert train(config, folder / "run") == 0
    return folder / "run"


@pytest.fixture(scope="module")
def dataset():
    return load_clips("synthetic", domain="samm", difficulty="standard", subjects=3, clips_per_subject=8, size=16)


def test_the_table_holds_what_was_predicted_and_what_was_marked(run, dataset):
    table = read_table(run / "predictions.parquet").set_index("clip_id")
    marked = pd.DataFrame(intensity_matrix(dataset, AUS), index=dataset["clip_id"])
    truth = table[[f"y_intensity_AU{au}" for au in AUS]]
    np.testing.assert_array_equal(truth.to_numpy(), marked.loc[table.index].to_numpy())
    assert truth.to_numpy().max() > 1 and table[[f"intensity_AU{au}" for au in AUS]].to_numpy().min() >= 0
    inner = read_table(run / "inner.parquet")
    assert not any("intensity" in name for name in inner)  # nothing is chosen by them

    rows = {name: row for row, name in enumerate(dataset["clip_id"])}
    (fold, tested), *_ = table.groupby("fold")
    folder = run / "folds" / fold / "checkpoint"
    model, processor = (kind.from_pretrained(folder) for kind in (AULLMForAUDetection, AULLMVideoProcessor))
    batch = Batches(clips_of(dataset, AUS), processor).whole([rows[name] for name in tested.index])
    assert model.config.intensity and model.config.intensity_weight == 0.5 and "intensities" not in batch
    with torch.no_grad():
        levels = model(batch["pixel_values"]).intensity
    columns = [f"intensity_AU{au}" for au in AUS]
    torch.testing.assert_close(levels, torch.tensor(tested[columns].to_numpy()), atol=1e-3, rtol=0)


def test_its_loss_is_logged_beside_the_occurrences(run):
    logs = [json.loads(path.read_text()) for path in run.glob("folds/*/log.json")]
    assert logs
    for entry in (entry for log in logs for entry in log):
        total = entry["loss_detection"] + entry["loss_intensity"]
        assert total == pytest.approx(entry["loss"], rel=1e-3, abs=2e-4) and entry["loss_intensity"] > 0


def test_results_tables_and_card_have_icc_and_mse(run, tmp_path):
    results = write_report(run, out=tmp_path, resamples=50)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    block = results["per_au"]["AU4"]["intensity"]
    assert {"icc", "mse"} <= set(block) and block["mse"]["low"] <= block["mse"]["value"] <= block["mse"]["high"]
    for name in ("tables/results.txt", "tables/results.md", "README.md"):
        text = (tmp_path / name).read_text()
        assert "Intensity (expected level 0 to 5" in text and "ICC(3,1)" in text
    assert "It also gives their intensities" in (tmp_path / "README.md").read_text()
    rows = pd.read_csv(tmp_path / "tables" / "results.csv")
    assert set(rows[rows["rule"] == "intensity"]["metric"]) == {"icc", "mse"}


def test_batches_carry_intensities_only_where_they_are_asked_for(dataset):
    with_them, without = (clips_of(dataset, AUS, intensities=asked) for asked in (True, False))
    processor = AULLMVideoProcessor(size=16)
    batch = Batches(with_them, processor)([(3, 0, 0), (1, 0, 0)])
    np.testing.assert_array_equal(batch["intensities"], intensity_matrix(dataset, AUS)[[3, 1]])
    plain = Batches(without, processor)([(3, 0, 0), (1, 0, 0)])
    assert set(batch) - set(plain) == {"intensities"}
    assert all(torch.equal(batch[name], plain[name]) for name in plain)


def test_animated_clips_are_absent_or_not_known(dataset):
    clips = clips_of(dataset, AUS, intensities=True)
    more, rows = with_animated(clips, range(4), 2.0, aus=AUS, frames=6, seed=1, key="fold")
    levels, labels = more.intensities[len(clips) :], more.labels[len(clips) :]
    assert len(rows) == 12 and labels.any() and len(more.intensities) == len(more)
    np.testing.assert_array_equal(more.intensities[: len(clips)], clips.intensities)
    assert np.isnan(levels[labels == 1]).all() and (levels[labels == 0] == 0).all()


def test_a_baseline_has_no_such_output(tmp_path, capsys):
    assert train(baseline_yaml(tmp_path, "led-sssnet"), tmp_path / "run", "--intensity", "true") == 2
    assert "intensity is True, which led-sssnet has no use for" in capsys.readouterr().err


def test_folds_that_would_train_on_unmarked_clips_are_refused(tmp_path, capsys):
    """Whatever the clips are that they test on."""
    data = SAMM | {"datasets": ["synthetic-casme2", "synthetic-samm"]}
    protocol = {"protocol": "cross_domain", "source": "synthetic-casme2", "target": "synthetic-samm"}
    config = tiny_yaml(tmp_path, model={"intensity": True}, data=data, protocol=protocol)
    assert train(config, tmp_path / "run") == 2
    said = r"intensity is True, but none of the \d+ training clips of fold .* Samm, .* `4B\+12C` have them"
    assert re.search(said, capsys.readouterr().err, re.IGNORECASE)
