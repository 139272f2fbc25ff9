import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from aullm_hf.evaluation import assemble_run, labels_fingerprint, write_report
from aullm_hf.evaluation.figures import FIGURE_FILES
from aullm_hf.evaluation.tables import TABLE_FILES
from support.fake_run import fake_dataset, fake_run, report_without_figures

CASME2 = (1, 2, 4, 7, 12, 14, 15, 17)


@pytest.fixture(scope="module")
def casme2(tmp_path_factory):
    run = fake_run(tmp_path_factory.mktemp("runs") / "casme2", aus=CASME2, dataset="casme2", licensed=True)
    return run, write_report(run, resamples=50)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    run = fake_run(tmp_path_factory.mktemp("runs") / "tiny", seeds=(0, 1))
    return run, write_report(run, resamples=50)


def test_everything_is_written_and_checked(casme2):
    run, results = casme2
    assert results == json.loads((run / "results.json").read_text())
    for name in TABLE_FILES:
        assert (run / "tables" / name).stat().st_size > 100
    assert sorted(path.name for path in (run / "figures").iterdir()) == sorted(FIGURE_FILES)
    assert all((run / "figures" / name).read_bytes()[:4] == b"\x89PNG" for name in FIGURE_FILES)
    assert results["checks"] == {
        "no_test_subject_was_seen": True,
        "all_clips_tested": True,
        "calibration_follows_from_inner": True,
        "folds_with_their_batch_in_parts": [],
    }


def test_the_same_tables_give_the_same_bytes_in_any_row_order(casme2, tmp_path):
    run, _ = casme2
    shutil.copytree(run, tmp_path / "casme2")
    table = pd.read_parquet(run / "predictions.parquet")
    table.sample(frac=1, random_state=3).to_parquet(tmp_path / "casme2" / "predictions.parquet")
    write_report(tmp_path / "casme2", resamples=50)
    for name in [
        "results.json",
        "README.md",
        *(f"tables/{n}" for n in TABLE_FILES),
        *(f"figures/{n}" for n in FIGURE_FILES),
    ]:
        assert (tmp_path / "casme2" / name).read_bytes() == (run / name).read_bytes(), name


def test_every_f1_says_its_rule(casme2):
    run, _ = casme2
    for name in ("results.txt", "results.md", "results.tex"):
        text = (run / "tables" / name).read_text()
        plain = text.replace("\\_", "_")
        for rule in ("at_0.5", "calibrated", "oracle (upper bound)", "floor: always absent", "floor: always present"):
            for metric in ("f1", "f1_macro"):
                assert f"{metric} {rule}" in plain, (name, metric, rule)
        assert "UPPER BOUND for one threshold per AU: chosen on the test labels" in text
        assert "public 2019, 255 clips" in text and "leave-one-subject-out" in text
    frame = pd.read_csv(run / "tables" / "results.csv")
    assert set(frame["rule"]) >= {"at_0.5", "calibrated", "oracle", "always_absent", "always_present", "ranking"}
    assert (frame.loc[frame["rule"] == "oracle", "upper_bound"]).all() and frame["labels"].notna().all()
    parquet = pd.read_parquet(run / "tables" / "results.parquet")
    assert parquet.shape == frame.shape and set(parquet["au"]) == {*(f"AU{au}" for au in CASME2), "mean"}


def test_published_figures_stand_beside_ours_with_what_they_were_measured_on(casme2):
    run, results = casme2
    table = pd.read_csv(run / "tables" / "comparison.csv")
    theirs = table[table["source"] != "this run"].set_index("method")
    best = theirs.loc["AU-LLM (DeepSeek-R1-Distill-Qwen-1.5B)"]
    assert [best[f"AU{au}"] for au in CASME2] == [92.2, 87.0, 89.5, 68.1, 79.0, 75.1, 79.0, 81.0]
    assert best["mean"] == 81.4 and theirs.loc["LED-SSSNet", "mean"] == 78.4
    assert (theirs["rule"] == "oracle (upper bound)").all() and (theirs["metric"] == "f1_macro").all()
    assert theirs["labels"].str.startswith("not stated").all()
    ours = table[table["source"] == "this run"]
    assert (table["AUs in the mean"] == 8).all()
    assert list(ours["rule"]) == ["oracle (upper bound)", "calibrated", "at_0.5"]
    assert (ours["labels"] == "public 2019, 255 clips").all()
    assert ours["mean"].iloc[1] == round(100 * results["mean"]["calibrated"]["f1_macro"]["value"], 1)


def test_published_rows_agree_with_their_own_averages():
    from aullm_hf.evaluation.published import PUBLISHED

    for row in PUBLISHED:
        if row.per_au:
            assert len(row.per_au) == len(row.aus)
            assert sum(row.per_au) / len(row.per_au) == pytest.approx(row.mean, abs=0.06), row


def test_synthetic_figures_never_pass_for_real(synthetic):
    run, results = synthetic
    for name in ("results.txt", "results.md", "results.tex"):
        text = (run / "tables" / name).read_text()
        assert "SYNTHETIC faces, not comparable with any published figure" in text
        assert "DeepSeek" not in text
    assert pd.read_csv(run / "tables" / "results.csv")["synthetic"].all()
    assert pd.read_csv(run / "tables" / "comparison.csv")["data"].eq("synthetic (SYNTHETIC)").all()
    assert results["synthetic"] and results["published"] == []


def test_the_inner_none_recipe_has_no_calibrated_figures(tmp_path, monkeypatch):
    results = report_without_figures(fake_run(tmp_path / "published", inner="none"), monkeypatch, resamples=20)
    assert "calibrated" not in results["rules"] and "after" not in results["mean"]["calibration_error"]
    assert results["checks"]["calibration_follows_from_inner"] is None
    assert "f1 calibrated" not in (tmp_path / "published" / "tables" / "results.md").read_text()


def test_an_au_without_positives_is_said(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "run")
    table = pd.read_parquet(run / "predictions.parquet").assign(y_AU4=0)
    table.to_parquet(run / "predictions.parquet")
    report_without_figures(run, monkeypatch, resamples=20)
    for name in ("tables/results.md", "tables/results.txt", "README.md"):
        text = (run / name).read_text()
        assert "undefined" in text
        assert "Not in the mean, having no positive clip in the test table: AU4." in text


def test_assembling_from_the_folds_gives_the_same_tables_again(synthetic, tmp_path):
    run, _ = synthetic
    shutil.copytree(run, tmp_path / "tiny")
    for name in ("predictions.parquet", "inner.parquet", "folds.json"):
        (tmp_path / "tiny" / name).unlink()
    assert assemble_run(tmp_path / "tiny") == 6
    assert assemble_run(tmp_path / "tiny") == 6
    for name in ("predictions.parquet", "inner.parquet"):
        assert (tmp_path / "tiny" / name).read_bytes() == (run / name).read_bytes()
    assert json.loads((tmp_path / "tiny" / "folds.json").read_text()) == json.loads((run / "folds.json").read_text())
    (tmp_path / "tiny" / "folds" / "sub02-seed1" / "fold.json").unlink()  # killed before its last file
    assert assemble_run(tmp_path / "tiny") == 5
    with pytest.raises(FileNotFoundError, match="no finished fold"):
        assemble_run(tmp_path)


def test_a_run_that_is_not_one_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no run.json: it is not a finished run"):
        write_report(tmp_path)
    run = fake_run(tmp_path / "run")
    (run / "folds.json").write_text('[{"fold": "sub')
    with pytest.raises(ValueError, match=r"folds.json' is not JSON .*cut short"):
        write_report(run)


def test_a_tampered_calibration_is_noticed(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "run", subjects=5)
    folds = json.loads((run / "folds.json").read_text())
    entry = next(entry for entry in folds if len(entry["flagged"]) < 3)
    au = next(au for au in entry["thresholds"] if au not in entry["flagged"])
    entry["thresholds"][au] = 0.07
    (run / "folds.json").write_text(json.dumps(folds))
    results = report_without_figures(run, monkeypatch, resamples=20)
    assert results["checks"]["calibration_follows_from_inner"] is False


def test_the_labels_fingerprint_knows_labels_and_not_order():
    data = fake_dataset(3, 4)
    mark = labels_fingerprint(data, (1, 4, 12))
    assert mark == labels_fingerprint({key: values[::-1] for key, values in data.items()}, [12, 4, 1])
    changed = {**data, "aus": [[1], *data["aus"][1:]]} if data["aus"][0] != [1] else {**data, "aus": [[4]]}
    assert mark != labels_fingerprint(changed, (1, 4, 12))
    assert mark != labels_fingerprint({key: values[1:] for key, values in data.items()}, (1, 4, 12))
    assert mark == labels_fingerprint({**data, "aus": [[*aus, 99] for aus in data["aus"]]}, (1, 4, 12))


def test_the_room_needs_neither_torch_nor_the_other_rooms(synthetic):
    code = (
        "import sys, aullm_hf.evaluation as e; e.write_report(sys.argv[1], resamples=5); "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers', 'sklearn', 'training') "
        "or m.startswith(('aullm_hf.model', 'aullm_hf.data'))]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code, str(synthetic[0])], check=True)


def test_without_the_extras_the_numbers_are_still_written(tmp_path, monkeypatch):
    run = fake_run(tmp_path / "run")
    monkeypatch.setattr("aullm_hf.evaluation.report.find_spec", lambda name: None)
    with pytest.warns(UserWarning) as warned:
        write_report(run, resamples=5)
    assert [str(w.message) for w in warned] == [
        'the figures are left out: install them with `pip install "aullm-hf[viz]"`',
        'the card is left out: install it with `pip install "aullm-hf[train]"`',
    ]
    assert (run / "results.json").is_file() and not (run / "figures").exists()
