"""The comparison of joint and separate steps runs, and says which was which."""

import json

import benchmark_folds


def test_a_row_for_each_number_of_folds_and_each_batch(tmp_path, capsys):
    options = "--shape tiny --batch 1 3 --folds 2 --steps 1 --repeats 1 --threads 1 --out".split()
    assert benchmark_folds.main([*options, str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "folds.json").read_text())
    assert [(row["folds"], row["batch"]) for row in rows] == [(2, 1), (2, 3)]
    assert all(abs(row["ratio"] * row["joint_s"] / row["apart_s"] - 1) < 1e-6 for row in rows)
    assert (tmp_path / "folds.md").read_text().strip() in capsys.readouterr().out
