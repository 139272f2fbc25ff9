"""What AULLM++ may cost: counted, not timed."""

import json
import math

import benchmark
import pytest
import torch
from benchmarks import modules


def _tokens(model, clips: int) -> int:
    """The rows that the LLM sees for so many clips, from the packing that its cost rule chooses."""
    prompt, config = model.model.prompt, model.config
    prefix, per_clip = len(prompt.text_ids), len(config.token_slots)
    k = prompt._clips_per_sequence(model.model.llm, clips, prefix, per_clip)
    return math.ceil(clips / k) * (prefix + k * per_clip)


@pytest.fixture(scope="module")
def published_shape():
    with torch.device("meta"):
        return modules.build_models("1.5b", "bfloat16")


@pytest.mark.parametrize("batch", [16, 32, 64, 128])
def test_a_step_of_aullmpp_stays_within_its_tokens(published_shape, batch):
    rows = {"AU-LLM, EFP": batch, "AULLM++, CCR off": batch, "AULLM++, CCR 0.25": batch + math.ceil(batch / 4)}
    tokens = {name: _tokens(published_shape[name], clips) for name, clips in rows.items()}
    assert tokens["AULLM++, CCR off"] <= 2.0 * tokens["AU-LLM, EFP"]
    assert tokens["AULLM++, CCR 0.25"] <= 2.5 * tokens["AU-LLM, EFP"]


def test_the_table_is_written_and_states_every_model(tmp_path, capsys):
    options = ["--shape", "tiny", "--batch", "4", "--repeats", "1", "--threads", "1", "--out", str(tmp_path)]
    assert benchmark.main(["modules", *options]) == 0
    (rows,) = json.loads((tmp_path / "modules.json").read_text()).values()
    assert [row["model"] for row in rows] == list(modules.KINDS)
    assert [row["tokens"] for row in rows] == sorted(row["tokens"] for row in rows)
    assert all(row["s a step"] > 0 for row in rows)
    assert (tmp_path / "modules.md").read_text().strip() in capsys.readouterr().out


def test_a_step_has_the_runners_optimizer(monkeypatch):
    """Of EFP's 74 million weights Adam is a good part of the step: another one would shift the ratios."""
    used = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: used.append(self))
    model = next(iter(modules.build_models("tiny", "float32").values()))
    modules.training_step(model, 2, {}, "a model")()
    (optimizer,) = used
    assert optimizer.defaults["fused"]
    updated = sorted(id(p) for group in optimizer.param_groups for p in group["params"])
    assert updated == sorted(id(p) for p in model.trained_parameters().values())
