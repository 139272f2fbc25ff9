"""`aullm data`: everything wrong with a copy in one run, as a table and as JSON."""

import json
import shutil

import pytest

from aullm_hf.data import check_clips
from aullm_hf.data.published.counts import PUBLISHED_COUNTS
from support.commands import verb
from support.trees.trees import TREES, write_tree

data = verb("data")


def test_a_whole_copy_passes(casme2, capsys, tmp_path):
    assert data(["check", "casme2", str(casme2), "--json", str(tmp_path / "out.json"), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    content = json.loads((tmp_path / "out.json").read_text())
    assert "all clips can be used" in shown and content["ok"] is True
    assert content["release"].startswith("CASME II") and content["rows"] == 3
    counted = {entry["what"]: (entry["found"], entry["known"]) for entry in content["counted"]}
    assert counted["rows"] == (3, 255) and counted["subject 01"] == (2, 9) and counted["AU4 *"] == (1, 125)
    for line in ("subject 17", "AU38", "emotion disgust"):
        assert line in shown


def test_every_problem_is_in_one_run(casme2, capsys, tmp_path):
    folder = casme2 / "Cropped" / "Cropped"
    (folder / "sub01" / "EP02_01f" / "reg_img48.jpg").unlink()
    for name in ("reg_img8.jpg", "reg_img9.jpg"):
        (folder / "sub01" / "EP01_2" / name).write_bytes(b"no image")
    shutil.rmtree(folder / "sub02")
    assert data(["check", "casme2", str(casme2), "--json", "-", "--workers", "1"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert not content["ok"] and content["levels"]["error"] == 2
    messages = " ".join(problem["message"] for problem in content["problems"])
    for said in ("no folder of subject 02", "reg_img8.jpg", "reg_img9.jpg", "1 of 10 frames are missing: 48"):
        assert said in messages
    assert content["clips"] == 1
    data(["check", "casme2", str(casme2), "--workers", "1"])
    shown = capsys.readouterr().out
    assert "unusable: 2" in shown and "some clips cannot be used" in shown and "asked for at" in shown


def test_a_root_that_cannot_be_read_is_a_finding(tmp_path, capsys):
    assert data(["check", "samm", str(tmp_path)]) == 1
    assert "no table with the header of SAMM" in capsys.readouterr().out
    assert data(["check", "casme9", str(tmp_path)]) == 2
    assert "there is no data set 'casme9'" in capsys.readouterr().err


@pytest.mark.parametrize("name", TREES)
def test_the_checker_tells_the_truth_of_every_data_set(name, tmp_path):
    truth = write_tree(name, tmp_path / name, seed=3)
    outcome = check_clips(name, truth.root, workers=1)
    assert outcome.ok == (len(truth.usable) == len(truth.clips))
    assert (outcome.report.clips, outcome.report.aus) == (len(truth.usable), truth.au_counts())
    assert {problem.clip for problem in outcome.report.skipped} == {
        clip.name for clip in truth.clips if not clip.usable
    }
    listed = {(problem.level, problem.kind, problem.clip) for problem in outcome.report.problems}
    assert {(finding.level, finding.kind, finding.clip) for finding in truth.findings} <= listed
    assert outcome.to_json() and str(outcome)


def test_faces_are_looked_for_on_request(casme2, face_model):
    outcome = check_clips("casme2", casme2, face="align", face_model=face_model, workers=1)
    assert not outcome.ok and {problem.kind for problem in outcome.report.skipped} == {"face"}


def test_build_writes_parquet_or_a_folder(samm, tmp_path, capsys):
    from aullm_hf import load_clips

    for out in ("clips.parquet", "folder"):
        arguments = ["build", "samm", str(samm), "--face", "none", "--cache-dir", str(tmp_path / "c")]
        assert data([*arguments, "--out", str(tmp_path / out)]) == 0
        assert "3 clips of 3 subjects" in capsys.readouterr().out
        assert load_clips(tmp_path / out)["clip_id"][:] == [
            "samm/006/006_1_2/5562",
            "samm/007/007_6_1/118",
            "samm/009/009_1_1/9",
        ]


def test_a_preview_is_drawn(casme2, tmp_path, capsys):
    out = tmp_path / "preview.png"
    arguments = [
        "preview",
        "casme2",
        str(casme2),
        "--face",
        "none",
        "--size",
        "32",
        "--cache-dir",
        str(tmp_path / "c"),
    ]
    assert data([*arguments, "--out", str(out), "--clips", "1", "--amplitude", "4"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG") and "1 clips" in capsys.readouterr().out
    assert data([*arguments, "--out", str(out), "--clip", "casme2/02/nope/1"]) == 2
    assert "'casme2/02/nope/1' is not in the data set" in capsys.readouterr().err


def test_what_is_known_adds_up():
    casme2, samm = PUBLISHED_COUNTS["casme2"], PUBLISHED_COUNTS["samm"]
    assert sum(casme2.clips_per_subject.values()) == 255 and len(casme2.clips_per_subject) == 26
    assert sum(casme2.aus.values()) == 381 and len(casme2.aus) == 19 and sum(casme2.emotions.values()) == 255
    assert (
        sum(samm.clips_per_subject.values()) == 159
        and len(samm.clips_per_subject) == 29
        and sum(samm.emotions.values()) == 159
    )
    assert (
        sum(PUBLISHED_COUNTS["casme3"].emotions.values()) == 860
        and sum(PUBLISHED_COUNTS["smic"].emotions.values()) == 164
    )


def test_help_has_commands_to_copy(capsys):
    with pytest.raises(SystemExit):
        data(["--help"])
    assert "check casme2 CASME2_FOLDER" in capsys.readouterr().out
