"""The card of a baseline names no LLM, and says how to load what needs this package."""

import json

from aullm_hf.evaluation.cards import fold_card
from aullm_hf.evaluation.run_folder import read_json
from support.fake_run import fake_run, report_without_figures


def test_a_baselines_card_speaks_of_no_llm(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "run")
    info = read_json(run / "run.json") | {"model_kind": "led-sssnet", "base_llm": None}
    (run / "run.json").write_text(json.dumps(info))
    report_without_figures(run, monkeypatch, resamples=20)
    entry = read_json(run / "folds.json")[0]
    of_fold = str(fold_card(info, "run", entry, repo_id="me/run", branch="fold-sub01"))
    for card in ((run / "README.md").read_text(), of_fold):
        assert "The baseline `led-sssnet`, trained and scored as AU-LLM is" in card
        assert "BaselineForAUDetection.from_pretrained(" in card and "trust_remote_code" not in card
        assert "Base LLM" not in card and "base_model" not in card and "- **Code**: Apache-2.0." in card
        assert "- baseline" in card and "- lora" not in card
    assert 'from_pretrained("me/run", revision="fold-sub01")' in of_fold
