"""The tables of long videos, on made-up ones of the same form: odd cells, missing offsets, names in other sheets."""

import openpyxl
import pytest

from aullm_hf.data import load_intervals
from aullm_hf.data.errors import AnnotationError
from aullm_hf.evaluation import score_spotting
from aullm_hf.evaluation.spotting import kinds_of

CODES = [  # participant, stimulus and number, onset, apex, offset, AUs, emotion, type, self-report
    [1, "anger1_1", 557, 572, 608, "4+7", "negative", "macro-expression", "anger"],
    [1, "anger1_2", 700, 705, 712, 14, "negative", "micro-expression", "anger"],
    [2, "happy4_1", 31, 40, 0, "6+12", "positive", "macro-expression", "happy"],
    [2, "happy4_10", 90, 95, 101, "12", "positive", "micro-expression ", None],
]
SAMM_HEADER = ["Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type", "Action Units",
               "Notes"]  # fmt: skip
SAMM_ROWS = [
    ["006", "006_1_1", 1, 121, 161, 199, 79, "Micro - 1/2", "12", None],
    ["006", "006_1_2", 1, 400, 512, 800, 401, "Macro", "L12+14", "speech"],
    ["007", "007_10_1", 10, 5, 300, -1, None, "Macro", 4, None],
]
CASME3_HEADER = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]


def book(path, *sheets):
    made = openpyxl.Workbook()
    made.remove(made.active)
    for at, rows in enumerate(sheets):
        sheet = made.create_sheet(f"sheet{at}")
        for row in rows:
            sheet.append(row)
    made.save(path)
    return path


def casme_squared(folder, codes=CODES):
    people = [[15, "s15", 1], [16, "s16", 2]]
    stimuli = [["0401", "anger1"], [503, "happy4"]]
    return book(folder / "CAS(ME)^2code_final.xlsx", codes, people, stimuli)


def samm(folder, rows=SAMM_ROWS):
    preamble = [["SAMM Long Videos"], ["Cite: .."], *[[f"line {at}"] for at in range(7)]]
    return book(folder / "SAMM_LongVideos_V3_Release.xlsx", [*preamble, SAMM_HEADER, *rows])


def test_casme_squared_finds_names_in_its_other_sheets(tmp_path):
    table = load_intervals("casme_squared", casme_squared(tmp_path))
    assert table["video"].tolist() == ["s15_0401", "s15_0401", "s16_0503", "s16_0503"]
    assert table["kind"].tolist() == ["longer", "micro", "longer", "micro"]
    assert table["offset"].tolist() == [608, 712, 40, 101] and table["aus"].tolist() == ["4+7", "14", "6+12", "12"]
    assert table["note"].tolist() == ["", "", "no offset is annotated: it ends with its apex", ""]
    assert (table["fps"] == 30).all()


def test_samm_has_its_header_below_a_preamble(tmp_path):
    table = load_intervals("samm_long_videos", samm(tmp_path))
    assert table[["subject", "video", "onset", "offset", "kind"]].values.tolist() == [
        ["006", "006_1", 121, 199, "micro"], ["006", "006_1", 400, 800, "longer"], ["007", "007_10", 5, 300, "longer"],
    ]  # fmt: skip
    assert kinds_of(table, table["fps"])[:2] == ["micro", "longer"]


@pytest.mark.parametrize(("name", "kind"), [("ME", "micro"), ("MaE", "longer")])
def test_casme3_says_by_its_files_name_which_expressions_it_holds(tmp_path, name, kind):
    rows = [
        CASME3_HEADER,
        ["spNO.1", "a", 10, 14, 20, "R4+T18", "I", "disgust"],
        ["spNO.1", "J", 40, 39, 60, "1", "II", "sad"],
    ]
    path = book(tmp_path / f"cas(me)3_part_A_{name}_label_JpgIndex_v2.xlsx", rows)
    table = load_intervals("casme3", path)
    assert table["video"].tolist() == ["spNO.1_a", "spNO.1_J"] and set(table["kind"]) == {kind}
    assert table["apex"].isna().tolist() == [False, True] and "apex 39 is not between" in table["note"].iloc[1]


def test_what_is_loaded_can_be_scored(tmp_path):
    truth = load_intervals("samm_long_videos", samm(tmp_path))
    assert score_spotting(truth, truth).loc["overall", ["tp", "fp", "fn"]].tolist() == [3, 0, 0]


@pytest.mark.parametrize(
    ("dataset", "make", "message"),
    [
        ("casme_squared", lambda f: casme_squared(f, [[9, *CODES[0][1:]]]), "the participant '9' is not in the sheet"),
        ("casme_squared", lambda f: casme_squared(f, [[1, "fear_1", *CODES[0][2:]]]), "the stimulus 'fear' is not in"),
        ("casme_squared", lambda f: book(f / "a.xlsx", CODES), "has 1 of the 3 sheets that are needed"),
        ("samm_long_videos", lambda f: samm(f, [[*SAMM_ROWS[0][:7], "?", "12"]]), "row 11: the type is '\\?'"),
        ("samm_long_videos", lambda f: samm(f, [["006", "x", *SAMM_ROWS[0][2:]]]), "'x' is not of the form 006_1_2"),
        ("samm_long_videos", lambda f: samm(f, [["006", "006_1_1", 1, 9, 9, 8, 1, "Macro", 1]]), "offset 8 is before"),
        (
            "samm_long_videos",
            lambda f: samm(f, [["006", "006_1_1", 1, 9, "x", 8, 1, "Macro", 1]]),
            "apex is 'x', which",
        ),
        ("samm_long_videos", lambda f: book(f / "a.xlsx", [["Filename", "Onset"]]), "no header with the columns Apex"),
        ("casme3", lambda f: book(f / "labels.xlsx", [CASME3_HEADER]), "does not say whether it holds micro"),
        ("casme3", lambda f: f / "gone.xlsx", "is no file"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, dataset, make, message):
    with pytest.raises(AnnotationError, match=message):
        load_intervals(dataset, make(tmp_path))


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="dataset='smic' is not allowed; choose one of 'casme_squared'"):
        load_intervals("smic", "a.xlsx")
