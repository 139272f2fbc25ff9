"""The benchmark of what stands around the LLM runs, and its kinds of one part do the same work."""

import json

import benchmark
import torch
from benchmarks.vision import InThreeDimensions, VisionPart

from support.tiny import clips, tiny_config


def test_the_table_is_written_and_states_every_kind(tmp_path, capsys):
    options = ["--shape", "tiny", "--batch", "2", "--repeats", "1", "--threads", "1", "--device", "cpu"]
    assert benchmark.main(["vision", *options, "--out", str(tmp_path)]) == 0
    (rows,) = json.loads((tmp_path / "vision.json").read_text()).values()
    kinds = {part: [row["kind"] for row in rows if row["part"] == part] for part in {row["part"] for row in rows}}
    assert kinds["3D-CNN"] == ["conv3d float32", "folded float32", "conv3d bf16", "folded bf16"]
    assert kinds["Adam on EFP, d = 64"] == ["for-loop", "foreach", "fused"]
    assert len(kinds) == 6
    for row in rows:
        first = next(one for one in rows if one["part"] == row["part"])
        assert row["times as fast"] == first["ms"] / row["ms"] and row["ms"] > 0
    assert (tmp_path / "vision.md").read_text().strip() in capsys.readouterr().out


def test_what_is_compared_is_the_same_network():
    config = tiny_config()
    torch.manual_seed(0)
    folded, deep = VisionPart(config), VisionPart(config, InThreeDimensions)
    deep.load_state_dict(folded.state_dict())
    torch.testing.assert_close(folded(clips(3)), deep(clips(3)), atol=1e-5, rtol=1e-5)
