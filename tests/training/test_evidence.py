"""The judge of evidence maps: it must praise a map that knows the place, and nothing else."""

from types import SimpleNamespace

import evidence
import pytest
import torch

from aullm_hf.data.synthetic.clips import motion_map
from aullm_hf.model.evidence import pixel_map
from aullm_hf.model.explaining import AUEvidence, ClipExplanation
from support.tiny import tiny_model

AUS = [4, 12]


class Oracle:
    """Explains clips in the order of their plans, with a map that it is given for each."""

    def __init__(self, cells, effects):
        self.config = SimpleNamespace(image_size=64, aus=AUS, labels=[f"AU{au}" for au in AUS])
        self.cells, self.effects = iter(cells), effects

    def explain(self, pixels, aus):
        cells = next(self.cells)
        parts = [AUEvidence(f"AU{au}", 0.9, 0.5, True, cells, "attention", [], self.effects[au]) for au in AUS]
        return [ClipExplanation([], {}, {}, parts, cells, torch.zeros(4, 8), None, [])]


def _processor(frames):
    return {"pixel_values": torch.zeros(1, 6, 1, 64, 64)}


@pytest.mark.parametrize("au", AUS)
def test_a_map_of_the_truth_is_praised_and_an_even_one_is_not(au):
    plans = evidence.single_au_plans(au, "easy", "casme2", 3, 4)
    assert len(plans) == 4 and all({action.au for action in plan.actions} == {au} for plan in plans)
    truth = [torch.from_numpy(motion_map(plan, au, size=64)) for plan in plans]
    centres = (6 * torch.arange(9) + 7.5).round().long()
    true = [motion[centres][:, centres].expand(2, 9, 9) for motion in truth]
    even = [torch.ones(2, 9, 9)] * 4
    row = evidence.judge_au(Oracle(true, {4: 0.3, 12: 0.1}), _processor, au, plans)
    assert row["ratio"] > 3
    assert row["largest"] == (1.0 if au == 4 else 0.0) and row["clips"] == 4
    assert row["area"] == pytest.approx(
        sum(((m >= 0.25 * m.max()).float().mean().item()) for m in truth) / 4, abs=1e-6
    )
    row = evidence.judge_au(Oracle(even, {4: 0.1, 12: 0.3}), _processor, au, plans)
    assert row["ratio"] == pytest.approx(1, abs=1e-4) and row["largest"] == (1.0 if au == 12 else 0.0)
    assert pixel_map(even[0], 64).min() == 1


def test_a_model_is_judged_from_its_checkpoint(tmp_path, capsys):
    from aullm_hf.model import AULLMVideoProcessor

    model = tiny_model(aus=AUS, graph=True, image_size=32)
    model.save_pretrained(tmp_path / "model")
    AULLMVideoProcessor.for_config(model.config).save_pretrained(tmp_path / "model")
    assert evidence.main([str(tmp_path / "model"), "--clips", "2", "--subjects", "2", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "AU12 Lip corner puller" in shown and "of 4 clips" in shown and "gate:" not in shown
    assert (tmp_path / "evidence.md").read_text().strip() in shown and (tmp_path / "evidence.json").is_file()
