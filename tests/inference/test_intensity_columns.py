"""`intensity_AU..` in tables of predictions, of a checkpoint that has the output, and of no other."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import pipeline

from aullm_hf import detect_aus
from aullm_hf.commands.main import main
from aullm_hf.inference import name_aus
from aullm_hf.inference.formats import read_table
from aullm_hf.model import AULLMVideoProcessor
from support.tiny import tiny_model
from support.videos import write_folder

LABELS = ["AU1", "AU4", "AU12"]
COLUMNS = [f"intensity_{label}" for label in LABELS]


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """(model, the folder of its checkpoint)."""
    folder = tmp_path_factory.mktemp("marked")
    model = tiny_model(intensity=True)
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)
    return model, folder


@pytest.fixture(scope="module")
def clip():
    return np.random.default_rng(0).integers(0, 255, (9, 32, 32), np.uint8)


def test_the_columns_are_the_models_output(marked, clip):
    model, folder = marked
    table = detect_aus([clip, clip[::-1].copy()], folder, face="none")
    processor = AULLMVideoProcessor.for_config(model.config)
    with torch.no_grad():
        output = model(processor([clip[..., None], clip[::-1, ..., None].copy()])["pixel_values"])
    np.testing.assert_allclose(table[COLUMNS].to_numpy(), output.intensity.numpy(), atol=1e-5)
    assert list(table.columns).index("intensity_AU1") == list(table.columns).index("threshold_AU12") + 1
    long = name_aus(table)
    np.testing.assert_allclose(long["intensity"], output.intensity.numpy().ravel(), atol=1e-5)
    assert not any("intensity" in name for name in long if name != "intensity")


def test_a_model_without_has_none(clip):
    table = detect_aus(clip, tiny_model(), face="none")
    assert not any("intensity" in name for name in [*table.columns, *name_aus(table).columns])


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_the_command_writes_them_and_an_unreadable_clip_has_none(marked, clip, tmp_path, suffix):
    write_folder(tmp_path / "frames", clip)
    (tmp_path / "broken.avi").write_text("no video")
    out = tmp_path / f"aus{suffix}"
    main(["predict", str(tmp_path), "--model", str(marked[1]), "--out", str(out), "--no_face"])
    table = read_table(out)
    assert table[COLUMNS].dtypes.eq("float64").all()
    failed = table["reason"].fillna("") != ""
    assert failed.tolist().count(True) == 1 and table[failed][COLUMNS].isna().all(axis=None)
    expected = detect_aus(clip, marked[1], face="none")[COLUMNS]
    np.testing.assert_allclose(table[~failed][COLUMNS], expected, atol=1e-4)


def test_pipeline_and_info_say_it_too(marked, clip, capsys):
    detect = pipeline("au-detection", model=str(marked[1]), trust_remote_code=True)
    entries, table = detect(clip), detect_aus(clip, marked[1], face="none")
    assert [entry["intensity"] for entry in entries] == pytest.approx(table[COLUMNS].iloc[0].tolist(), abs=1e-4)
    capsys.readouterr()
    assert main(["info", str(marked[1])]) == 0 and "intensity, from 0 (absent)" in capsys.readouterr().out
    assert main(["info", str(marked[1]), "--json"]) == 0 and json.loads(capsys.readouterr().out)["intensity"] is True


def test_a_column_of_that_name_in_ones_own_table_is_kept_beside(marked, clip, tmp_path):
    write_folder(tmp_path / "frames", clip)
    pd.DataFrame({"path": ["frames"], "intensity_AU4": [3.5]}).to_csv(tmp_path / "own.csv", index=False)
    table = detect_aus(tmp_path / "own.csv", marked[1], face="none")
    assert table["intensity_AU4_given"].tolist() == [3.5] and 0 <= table["intensity_AU4"][0] <= 5
