"""aullm compare from the command line: what it writes, and what it refuses."""

import json

import pandas as pd
import pytest

from support.commands import verb
from support.fake_run import fake_run

compare = verb("compare")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("compare")
    made = [fake_run(home / name) for name in ("whole", "led")]
    info = json.loads((made[1] / "run.json").read_text())
    info |= {"model_kind": "led-sssnet", "parameters": {"trained": 2_694_475}}
    (made[1] / "run.json").write_text(json.dumps(info))
    return made


def test_table_markdown_latex_and_csv_agree(runs, tmp_path, capsys):
    whole, led = runs
    options = ["--out", str(tmp_path), "--resamples", "50", "--no_figures"]
    assert compare([f"AU-LLM={whole}", str(led), *options]) == 0
    text = (tmp_path / "comparison.md").read_text()
    assert text in capsys.readouterr().out
    rows = [line for line in text.splitlines() if line.startswith(("| LED-SSSNet", "| AU-LLM"))]
    assert rows[0].startswith("| LED-SSSNet |")  # a baseline's own name, and baselines first
    assert "| 2.694 M |" in rows[0] and "reference" in rows[1]
    assert "Table 1a" in text and "Table 1b" in text and "UPPER BOUND" in text and "SYNTHETIC" in text
    tidy = pd.read_csv(tmp_path / "comparison.csv")
    actual = tidy[(tidy["method"] == "LED-SSSNet") & (tidy["rule"] == "calibrated") & (tidy["metric"] == "f1")]
    mean = actual[actual["au"] == "avg"].iloc[0]
    assert f"{mean['percent']:.1f}" in rows[0] and f"[{mean['low']:.1f}, {mean['high']:.1f}]" in rows[0]
    assert 0 < mean["p"] <= mean["p_holm"] <= 1 and mean["reference"] == "AU-LLM"
    tex = (tmp_path / "comparison.tex").read_text()
    assert tex.count(r"\begin{table}") == tex.count(r"\end{table}") == 2 and r"\textbf{" in tex and "**" not in tex


def test_one_metric_and_rule_can_be_asked_for(runs, tmp_path):
    options = ["--out", str(tmp_path), "--resamples", "20", "--no_figures", "--f1", "f1_macro", "--rule", "at_0.5"]
    assert compare([str(runs[0]), *options]) == 0
    text = (tmp_path / "comparison.md").read_text()
    assert "macro F1" in text and "at 0.5, before calibration" in text and "Table 1b" not in text


def test_synthetic_and_real_runs_are_never_in_one_table(runs, tmp_path):
    real = fake_run(tmp_path / "real", dataset="casme2", licensed=True)
    options = ["--out", str(tmp_path / "out"), "--resamples", "20", "--no_figures"]
    assert compare([f"synthetic={runs[0]}", f"real={real}", *options]) == 0
    tables = (tmp_path / "out" / "comparison.md").read_text().split("## ")[1:]
    for table in tables:
        assert ("| synthetic |" in table) == ("SYNTHETIC" in table) and ("| real |" in table) == ("real data" in table)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}", "--reference", "nobody"], "--reference is 'nobody', which is no row on synthetic: the rows are"),
        (["{run}", "{run}"], "two rows would be called 'whole'"),
        (["nowhere"], "has no run.json: it is not a finished run"),
    ],
)
def test_what_cannot_be_compared_is_said(runs, tmp_path, capsys, words, message):
    words = [word.format(run=runs[0]) for word in words]
    assert compare([*words, "--out", str(tmp_path), "--resamples", "5"]) == 2
    assert message in capsys.readouterr().err
