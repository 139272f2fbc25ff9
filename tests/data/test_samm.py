import openpyxl
import pytest

from aullm_hf.data import report_of
from aullm_hf.data.reading.corrections import Corrections, all_corrections
from support.clip_trees import SAMM_ROWS, samm_tree

TABLE = "SAMM_Micro_FACS_Codes_v2.xlsx"
BY_POLICY = {
    ("literature", "keep"): [[14], [12, 15], [7, 43]],
    ("first", "keep"): [[14], [6, 15], [7, 43]],
    ("drop", "keep"): [[14], [15], [7, 43]],
    ("literature", "drop"): [[14], [12, 15], [43]],
}


@pytest.mark.parametrize(("either", "ref"), BY_POLICY)
def test_the_policies_decide_what_doubtful_cells_mean(samm, load, either, ref):
    clips = load("samm", samm, either=either, ref=ref)
    assert [row["aus"] for row in clips] == BY_POLICY[either, ref]
    assert [row["subject"] for row in clips] == ["006", "007", "009"]
    assert report_of(clips).policies["either"] == either


def test_a_published_reading_is_in_the_report(samm, load):
    (applied,) = report_of(load("samm", samm)).corrections
    assert (applied["clip"], applied["faulty"], applied["value"]) == ("007_6_1", "(R6 or R12)+R15", "R12+R15")
    assert applied["reason"]
    assert not report_of(load("samm", samm, either="first")).corrections


def test_both_paddings_and_the_preamble_are_read(samm, load):
    clips = load("samm", samm)
    assert [len(row["frames"]) for row in clips] == [9, 7, 7]
    assert clips[0]["au_text"] == "R14" and clips[0]["apex"] == 5565


@pytest.mark.parametrize(("switch", "apex"), [(True, 1105), (False, 1143), (["samm-028_4_1-apex"], 1143)])
def test_a_correction_applies_to_its_clip_and_can_be_switched_off(tmp_path, load, switch, apex):
    row = ["028", "028_4_1", 4, 1100, 1143, 1134, None, "Micro - 1/2", 4, "Other", 7, None]
    root = samm_tree(tmp_path / "tree", [row])
    from support.clip_trees import write_frames

    write_frames(root / "SAMM" / "028" / "028_4_1", "028_{:04d}.jpg", range(1100, 1135))
    clips = load("samm", root, corrections=switch)
    assert clips[0]["apex"] == apex
    doubts = [problem for problem in report_of(clips).doubts if problem.kind == "apex"]
    assert bool(doubts) == (apex == 1143)  # what is not corrected is still doubted


def test_a_correction_leaves_other_values_alone():
    corrections = Corrections("samm")
    assert corrections.value_for("028", "028_4_1", "apex", 1143, 1100).value == 1105
    assert corrections.value_for("028", "028_4_1", "apex", 1105, 1100) is None
    assert corrections.value_for("029", "028_4_1", "apex", 1143, 1100) is None


def test_corrections_of_clips_that_share_a_name_look_at_the_onset():
    corrections = Corrections("casme3")
    assert corrections.value_for("spNO.40", "e", "offset", 0, 1800).value == 1845
    assert corrections.value_for("spNO.40", "e", "offset", 0, 2390).value == 2403
    assert corrections.value_for("spNO.40", "e", "offset", 0, 9999) is None


def test_every_correction_has_a_reason_and_an_id_of_its_own():
    entries = all_corrections()
    assert len({entry.id for entry in entries}) == len(entries)
    assert all(entry.reason and entry.faulty != entry.value for entry in entries)
    with pytest.raises(ValueError, match="names no known correction"):
        Corrections("samm", ["samm-nope"])


def test_a_subject_may_be_a_number(samm, load):
    book = openpyxl.load_workbook(samm / TABLE)
    for row in range(15, 15 + len(SAMM_ROWS)):
        book.worksheets[0].cell(row, 1).value = int(book.worksheets[0].cell(row, 1).value)
    book.save(samm / TABLE)
    assert [row["subject"] for row in load("samm", samm)] == ["006", "007", "009"]
