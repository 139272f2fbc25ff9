"""A detector as an ONNX file gives the table that its checkpoint gives, and says what it cannot do."""

import json
import sys
from importlib.util import find_spec
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch

from aullm_hf.commands.main import main
from aullm_hf.inference import AUDetector, detect_aus, export_onnx
from aullm_hf.inference.onnx_models import OnnxModel
from aullm_hf.model import AULLMVideoProcessor
from support import processes
from support.commands import aullm
from support.tiny import clips as random_clips
from support.tiny import tiny_model
from support.videos import noise, write_folder, write_video

# Not imported here: the package switches onnxruntime's reports to its maker off before it imports it.
missing = [name for name in ("onnxruntime", "onnxscript") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f'{missing} not installed: pip install "aullm-hf[onnx]"')


def save(folder, layers=1, **fields):
    """A checkpoint with calibration, thresholds and adapters that do something."""
    model = tiny_model(layers=layers, **fields)  # every layer is the same code, and is traced again
    model.config.calibration = {"AU1": [1.5, 0.2], "AU4": [0.7, -0.3], "AU12": [1.0, 0.0]}
    model.config.thresholds = {"AU1": 0.31, "AU4": 0.5, "AU12": 0.62}
    model.config.training_data = "casme2"
    model.save_pretrained(folder)
    AULLMVideoProcessor.for_config(model.config).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(checkpoint, ONNX file), written by the command."""
    folder = tmp_path_factory.mktemp("onnx")
    save(folder / "checkpoint", layers=2)
    with patch("torch.export.export", wraps=torch.export.export) as traced:
        assert aullm("export", "onnx", folder / "checkpoint", folder / "detector.onnx") == 0
    assert traced.call_count == 1  # where the first trace fails, the exporter makes a slower one
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "detector.onnx"]
    return folder / "checkpoint", folder / "detector.onnx"


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "talk.avi", noise(150, 32, 32), rate=25)  # read in windows
    write_folder(folder / "frames", noise(9, 40, 32))
    (folder / "notes.avi").write_text("this is no video")
    return folder


def test_the_table_is_that_of_the_checkpoint(exported, sources, tmp_path):
    tables = []
    for name, model in zip(("torch.csv", "onnx.csv"), exported, strict=True):
        assert main(["predict", str(sources), "--model", str(model), "--out", str(tmp_path / name), "--no_face"]) == 0
        tables.append(pd.read_csv(tmp_path / name))
    of_torch, of_onnx = (table.drop(columns="model") for table in tables)
    assert len(of_torch) > 10 and of_torch["reason"].notna().sum() == 1
    pd.testing.assert_frame_equal(of_torch, of_onnx, rtol=0, atol=1e-4)
    assert (tables[1]["model"] == str(exported[1])).all()


def test_any_number_of_clips_gives_the_logits_of_pytorch(exported):
    model = AUDetector(exported[0], face="none").model
    session = OnnxModel(exported[1]).session
    for count in (1, 7):
        clips = random_clips(count, seed=count)
        with torch.no_grad():
            wanted = model(clips).logits.numpy()
        (logits,) = session.run(None, {"pixel_values": clips.numpy()})
        np.testing.assert_allclose(logits, wanted, rtol=0, atol=1e-4)


def test_the_file_says_what_it_is(exported):
    metadata = OnnxModel(exported[1]).session.get_modelmeta().custom_metadata_map
    facts = json.loads(metadata["aullm"])
    assert facts["config"]["thresholds"] == {"AU1": 0.31, "AU4": 0.5, "AU12": 0.62}
    assert facts["config"]["calibration"]["AU4"] == [0.7, -0.3] and facts["config"]["training_data"] == "casme2"
    assert "{visual}" in facts["config"]["prompt_template"] and facts["processor"]["num_frames"] == 6
    detector = AUDetector(exported[1], face="none")
    assert detector.labels == ["AU1", "AU4", "AU12"] and detector.trained_on == "casme2"


def test_a_file_is_described_as_its_checkpoint_is(exported, capsys):
    facts = []
    for model in exported:
        assert aullm("info", model, "--json") == 0
        facts.append(json.loads(capsys.readouterr().out))
    differ = {name for name in facts[0] if facts[0][name] != facts[1][name]}
    assert differ == {"model", "parameters_in_checkpoint", "bytes_in_checkpoint", "llm"}  # merged: the LLM is inside
    assert facts[1]["llm"]["inside"] and facts[1]["bytes_in_checkpoint"] == exported[1].stat().st_size
    assert aullm("info", exported[1]) == 0
    text = capsys.readouterr().out
    assert "AU12" in text and "threshold 0.620" in text and "Trained on: casme2" in text


def test_what_an_onnx_file_cannot_do_is_named(exported, sources, tmp_path, capsys):
    file = str(exported[1])
    assert main(["explain", str(sources), "--model", file, "--out", str(tmp_path / "pictures")]) == 2
    assert "an ONNX file predicts, but explains nothing; give the checkpoint" in capsys.readouterr().err
    assert main(["predict", str(sources), "--model", file, "--dtype", "bfloat16"]) == 2
    assert "an ONNX file is run on the CPU as it is" in capsys.readouterr().err
    assert main(["export", "onnx", str(exported[0]), str(tmp_path / "out")]) == 2
    assert "give a file that ends in .onnx" in capsys.readouterr().err
    assert main(["export", "onnx", str(exported[0]), file]) == 2
    assert "which is there already; give a new file" in capsys.readouterr().err


def test_other_files_are_refused(sources, tmp_path, capsys):
    from onnx import TensorProto, helper, save_model

    one = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [one],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])  # fmt: skip
    save_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "a.onnx"
    )
    (tmp_path / "b.onnx").write_bytes(b"no model")
    for name, told in (
        ("a.onnx", "an ONNX file without the metadata 'aullm': nothing says which AUs it gives"),
        ("b.onnx", "which could not be read as ONNX"),
        ("c.onnx", "there is no such file"),
    ):
        assert main(["predict", str(sources), "--model", str(tmp_path / name)]) == 2
        err = capsys.readouterr().err
        assert told in err and len(err.splitlines()) == 1


def test_what_cannot_be_exported_leaves_nothing(exported, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("Exporting the operator 'aten::x' is not supported")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ValueError, match=r"cannot be exported to ONNX: .*qwen2 LLM.*'aten::x' is not supported"):
        export_onnx(exported[0], tmp_path / "new.onnx")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_reported_to_the_runtimes_maker(exported, tmp_path):
    """Imported as it comes, onnxruntime leaves the file of a session of its telemetry in the temporary folder."""
    code = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None); assert 'onnxruntime' not in sys.modules; "
        f"from aullm_hf.inference.onnx_models import OnnxModel; OnnxModel({str(exported[1])!r})"
    )
    own = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    assert processes.run(processes.python, code, environment=own).returncode == 0
    assert list(tmp_path.rglob("*.ses")) == []


def test_without_onnxruntime_the_extra_is_named(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'ONNX files need onnxruntime: pip install "aullm-hf\[onnx\]"'):
        AUDetector(exported[1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [{"projector": name} for name in ("high", "mid", "linear", "prompt")]
    + [{"mge": True}, {"graph": True}, {"mge": True, "graph": True, "nodes": "chunk"}]
    + [{"motion": "flow"}, {"motion": "both"}, {"intensity": True}]
    + [{"head_reads": "both"}, {"head_reads": "token", "lora": None}, {"family": "llama"}, {"family": "gemma3"}],
    ids=str,
)
def test_every_model_predicts_the_same_from_onnx(fields, sources, tmp_path):
    save(tmp_path / "checkpoint", **fields)
    export_onnx(tmp_path / "checkpoint", tmp_path / "detector.onnx")
    kinds = ("p", "intensity") if fields.get("intensity") else ("p",)
    names = [f"{kind}_{au}" for kind in kinds for au in ("AU1", "AU4", "AU12")]
    of_torch, of_onnx = (
        detect_aus(str(sources / "talk.avi"), tmp_path / name, face="none")[names].to_numpy()
        for name in ("checkpoint", "detector.onnx")
    )
    assert len(of_torch) > 5 and np.ptp(of_torch) > 1e-3
    np.testing.assert_allclose(of_onnx, of_torch, rtol=0, atol=1e-4)
