"""Leave-one-subject-out spotting, on made-up recordings laid out as CAS(ME)^2's are, and its table's form."""

import json
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest
import spot_subjects
from spotters import annotated

import support.tiny_run  # noqa: F401  finds `spot_subjects`
from aullm_hf.data.synthetic.recordings import synthetic_recording
from aullm_hf.inference import spot_expressions
from aullm_hf.inference.spotting.region_motion import CHANNELS
from support.videos import write_folder

FPS, SECONDS, SUBJECTS = 30.0, 10.5, (15, 16, 19)


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> tuple[Path, Path]:
    """(the spreadsheet, the folder of the recordings); the last subject has one without expressions as well."""
    root = tmp_path_factory.mktemp("CAS(ME)^2")
    codes = []
    for at, subject in enumerate(SUBJECTS):
        recording = synthetic_recording(seconds=SECONDS, fps=FPS, seed=60 + at)
        write_folder(root / "rawpic" / f"s{subject}" / f"{subject}_0401girlcrashing", list(recording))
        for number, row in enumerate(recording.table().to_dict("records"), 1):
            kind = "micro-expression" if row["kind"] == "micro" else "macro-expression"
            codes.append(
                [at + 1, f"anger1_{number}", row["onset"], row["apex"], row["offset"], row["aus"], "", kind, ""]
            )
    still = synthetic_recording(seconds=SECONDS, fps=FPS, seed=70, control="still")
    write_folder(root / "rawpic" / "s19" / "19_0503unnamed", [still[at] for at in range(60)])
    book = openpyxl.Workbook()
    book.remove(book.active)
    people = [[subject, f"s{subject}", at + 1] for at, subject in enumerate(SUBJECTS)]
    for name, rows in {"codes": codes, "people": people, "stimuli": [["0401", "anger1"], [503, "happy4"]]}.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(root / "CAS(ME)^2code_final.xlsx")
    return root / "CAS(ME)^2code_final.xlsx", root / "rawpic"


@pytest.fixture
def run(tree, tmp_path):
    def main(*options) -> Path:
        table, root = tree
        words = ["casme_squared", "--table", table, "--root", root, "--out", tmp_path / "out", "--no_face", *options]
        spot_subjects.main(list(map(str, [*words, "--resamples", 0])))
        return tmp_path / "out"

    return main


def folds(out: Path) -> pd.DataFrame:
    return pd.concat([pd.read_csv(path) for path in sorted((out / "folds").glob("*.csv"))], ignore_index=True)


def test_as_it_is_the_network_says_what_spot_expressions_says(run, tree):
    out = run("--no_fit")
    rows = folds(out)
    for subject in SUBJECTS:
        folder = tree[1] / f"s{subject}" / f"{subject}_0401girlcrashing"
        table = spot_expressions(str(folder), face="none", fps=FPS)
        ours = rows[rows["video"] == f"s{subject}_0401"]
        expected = table.loc[table["reason"] == "", ["onset", "apex", "offset", "kind"]]
        assert ours[["onset", "apex", "offset", "kind"]].values.tolist() == expected.values.tolist()
    scores = json.loads((out / "results.json").read_text())
    assert scores["overall"]["tp"] + scores["overall"]["fp"] == len(rows)
    assert sorted(path.stem for path in (out / "signals").iterdir()) == [
        "s15_0401",
        "s16_0401",
        "s19_0401",
        "s19_0503",
    ]


def test_a_fold_has_not_seen_its_subject_and_a_stopped_run_goes_on(run, monkeypatch):
    seen, read = [], []
    fit, follow = spot_subjects.fit, annotated.follow

    def fitted(examples, **options):
        seen.append([len(example.signal) for example in examples])
        return fit(examples, **options | {"steps": 2, "rows": 2})

    def counted(recording, reader):
        read.append(recording.video)
        return follow(recording, reader)

    monkeypatch.setattr(spot_subjects, "fit", fitted)
    monkeypatch.setattr(annotated, "follow", counted)
    asked = []
    examples_of = spot_subjects.examples_of
    monkeypatch.setattr(
        spot_subjects,
        "examples_of",
        lambda one, truth: asked.append((len(seen), one.recording.subject)) or examples_of(one, truth),
    )
    out = run()
    assert len(seen) == 3 and len(read) == 4
    # Of two other subjects the first chooses the threshold, the second is fitted on.
    assert sorted(set(asked)) == [(0, "s19"), (1, "s19"), (2, "s16")]
    whole = folds(out)
    assert set(whole.groupby("subject")["threshold"].nunique()) <= {1}
    (out / "folds" / "s16.csv").unlink()
    run()
    assert len(seen) == 4 and len(read) == 4, "more than the missing fold was made again"
    pd.testing.assert_frame_equal(folds(out), whole)
    with pytest.raises(SystemExit, match="holds folds made with seed 0"):
        run("--seed", 1)


def test_what_is_missing_is_told(tree, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"no recording of 3 annotated videos, such as s15_0401, s16_0401"):
        spot_subjects.main(
            ["casme_squared", "--table", str(tree[0]), "--root", str(tmp_path / "empty"), "--out", str(tmp_path / "o")]
        )


@pytest.mark.parametrize(
    ("dataset", "path", "subject", "video"),
    [
        ("casme_squared", "s15/15_0401girlcrashing", "15", "0401"),
        ("samm_long_videos", "SAMM_longvideos/006_1", "006", "1"),
        ("casme3", "part_A/spNO.1/a/color", "spNO.1", "a"),
        ("samm_long_videos", "006_1/006_1_0001", None, None),
        ("casme3", "part_A/spNO.1/a/depth", None, None),
    ],
)
def test_layouts(dataset, path, subject, video):
    match = annotated.LAYOUTS[dataset].search(path)
    assert (match and match["subject"], match and match["video"]) == (subject, video)


def test_annotations_become_targets_in_their_stretch():
    """Frames count from 1 and come at 30 per second; the stretch begins a second into the recording."""
    recording = annotated.Recording("s15", "s15_0401", Path("x"), FPS)
    motion = np.zeros((200, CHANNELS), np.float32)
    followed = annotated.Followed(recording, [(51, motion)], np.arange(180) / FPS, np.arange(1, 181))
    truth = pd.DataFrame(
        {"video": ["s15_0401", "s15_0401", "other"], "onset": [61, 1, 61], "apex": [64, 2, 64], "offset": [70, 4, 70]}
    )
    (example,) = annotated.examples_of(followed, truth)
    middles = np.flatnonzero(example.goal[:, 0] > 0.999)
    assert len(middles) == 1, "what ends before the stretch is not in it"
    assert (52 + 2 * middles[0]) / 50 == pytest.approx((60 + 69) / 2 / FPS, abs=0.021)
    assert len(example.signal) > 600 and len(example.goal) * 2 == len(example.signal)
