"""CASME, MMEW, 4DME, CAS(ME)^3 and SMIC: what is particular to each."""

import pytest

from aullm_hf.data import AnnotationError, report_of
from support.clip_trees import write_frames, write_xlsx


def test_casme(tmp_path, load):
    header = ["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU", "Emotion"]
    rows = [
        [1, "EP01_5", None, 98, 100, 101, 104, None, "4+9", "disgust"],
        [2, "EP02_1", None, 7, 9, 0, 12, None, 14, "tense"],
        [2, "EP02_2", None, 1, 2, 0, 5, None, "?", "tense"],
    ]
    write_xlsx(tmp_path / "t" / "casme.xlsx", [header, *rows])
    raw = tmp_path / "t" / "CASME_raw_selected"
    write_frames(raw / "sub01" / "EP01_5", "EP01_5-{}.jpg", range(98, 105))
    write_frames(raw / "sub02" / "EP02_1", "EP02_1-{:03d}.jpg", range(7, 13))
    write_frames(raw / "sub02" / "EP02_2", "EP02_2-{:03d}.jpg", range(1, 6))
    clips = load("casme", tmp_path / "t")
    assert [(row["subject"], row["aus"], len(row["frames"])) for row in clips] == [
        ("01", [4, 9], 7),
        ("02", [14], 6),
        ("02", [], 5),
    ]
    assert clips[0]["fps"] == 60
    assert [problem.value for problem in report_of(clips).doubts] == ["?"]


MMEW = [
    "Subject",
    "Filename",
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    "Action Units",
    "Estimated Emotion",
    "remarks",
]


@pytest.mark.parametrize("by_subject", [False, True])
def test_mmew_folders_are_sorted_by_emotion_and_found_by_name(tmp_path, load, by_subject):
    rows = [
        ["S13", "S13-07-001", 1, 3, 6, "4+7", "others", None],
        [5, "S05-01-002", 2, 3, 7, 12.0, "happiness", None],
    ]
    write_xlsx(tmp_path / "t" / "MMEW_Micro_Exp.xlsx", [MMEW, *rows])
    base = tmp_path / "t" / "MMEW_Final"
    for subject, emotion, clip in (("S13", "repression", "S13-07-001"), ("S05", "happiness", "S05-01-002")):
        top = f"{subject}/{emotion}" if by_subject else emotion
        write_frames(base / "Micro_Expression" / top / clip, "{}.jpg", range(1, 12))
        write_frames(base / "Macro_Expression" / top / "other", "{}.jpg", range(1, 3))
    clips = load("mmew", tmp_path / "t")
    assert [(row["subject"], row["clip"], row["aus"], row["emotion"], len(row["frames"])) for row in clips] == [
        ("S13", "S13-07-001", [4, 7], "others", 6),
        ("S05", "S05-01-002", [12], "happiness", 6),
    ]
    assert report_of(clips).images == "MMEW_Final/Micro_Expression"


def test_4dme_static_aus_and_split_recordings(tmp_path, load):
    header = ["fold", "sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "eye blink", "AU4", "AU7"]
    rows = [
        [1, "S13_1st", "ME_1", "Negative", 10, 12, 15, "AU4(k)+L7", 0, 0, 1],
        [2, "S13_2nd", "ME_2", "Positive", 10, 12, 15, "AUR2+12(k)+45", 1, 0, 0],
        [3, "S2", "ME_3", "Others", 1, 2, 5, "4", 0, 1, 0],
    ]
    write_xlsx(tmp_path / "t" / "4DME_Labelling_Micro_release v1.xlsx", [header, *rows])
    for _, subject, clip, _, onset, _, offset, *_ in rows:
        write_frames(tmp_path / "t" / "gray_micro" / subject / clip, "{:04d}.png", range(onset, offset + 1))
    clips = load("4dme", tmp_path / "t")
    assert [(row["subject"], row["aus"]) for row in clips] == [("S13", [7]), ("S13", [2, 45]), ("S2", [4])]
    assert [row["aus"] for row in load("4dme", tmp_path / "t", static="keep")] == [[4, 7], [2, 12, 45], [4]]


CASME3 = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"]


def casme3_tree(root, rows):
    write_xlsx(root / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", [CASME3, *rows])
    for subject, clip in {(row[0], row[1]) for row in rows}:
        frames = [number for number in range(1, 130) if number not in (40, 41, 42)]
        write_frames(root / "part_A" / subject / clip / "color", "{}.jpg", frames, size=(12, 16))
        write_frames(root / "part_A" / subject / clip / "depth", "{}.png", range(1, 4), size=(12, 16))
    return root


def test_casme3_clips_share_names_and_lack_frames(tmp_path, load):
    rows = [
        ["spNO.1", "a", "10", "12", "20", "4+B28", "IV", "disgust"],
        ["spNO.1", "a", "38", "44", "45", "T24", "IV", "Others"],
        ["spNO.3", "J", "60", "60", "62", "12", "I", "happy"],
    ]
    clips = load("casme3", casme3_tree(tmp_path / "t", rows))
    assert [(row["clip_id"], len(row["frames"])) for row in clips] == [
        ("casme3/spNO.1/a/10", 11),
        ("casme3/spNO.1/a/38", 5),
        ("casme3/spNO.3/J/60", 3),
    ]
    doubts = report_of(clips).doubts
    assert {problem.kind for problem in doubts} == {"gap", "apex"}
    assert any("3 of 8 frames are missing: 40-42" in problem.message for problem in doubts)


def test_casme3_corrections(tmp_path, load):
    rows = [
        ["spNO.149", "d", 112, 83, 120, "4", "IV", "fear"],
        ["spNO.40", "e", 100, 105, 0, "4", "IV", "fear"],
        ["spNO.216", "e", 0, 0, 5, "7", "IV", "sad"],
    ]
    root = casme3_tree(tmp_path / "t", rows)
    clips = load("casme3", root)
    report = report_of(clips)
    assert [(row["clip_id"], row["apex"], row["offset"]) for row in clips] == [
        ("casme3/spNO.149/d/112", 123, 120),
        ("casme3/spNO.40/e/100", 105, 1845),
        ("casme3/spNO.216/e/1", 1, 5),
    ]
    assert [c["id"] for c in report.corrections] == [
        "casme3-149-d-apex",
        "casme3-40-e-offset-1",
        "casme3-216-e-onset",
        "casme3-216-e-apex",
    ]
    plain = load("casme3", root, on_error="skip", corrections=False)
    assert [row["clip_id"] for row in plain] == ["casme3/spNO.149/d/112", "casme3/spNO.216/e/0"]
    assert any("the offset 0 lies before the onset 100" in problem.message for problem in report_of(plain).skipped)


def smic_folders(root):
    hs = root / "SMIC_all_cropped" / "HS"
    write_frames(hs / "s1" / "micro" / "negative" / "s1_ne_01", "reg_image{:06d}.bmp", range(90823, 90830))
    write_frames(hs / "s1" / "micro" / "positive" / "s1_po_01", "reg_image{:06d}.bmp", [5, 6, 8])
    write_frames(hs / "s2" / "micro" / "surprise" / "s2_sur_01", "reg_image{:06d}.bmp", range(1, 5))
    return root


def test_smic_by_its_folders(tmp_path, load):
    root = smic_folders(tmp_path / "t")
    (root / "SMIC_all_cropped/HS/s2/micro/surprise/s18_sur_03").mkdir()
    clips = load("smic", root, on_error="skip")
    assert [(row["clip_id"], row["aus"], row["emotion"]) for row in clips] == [
        ("smic/s1/s1_ne_01/90823", None, "negative"),
        ("smic/s1/s1_po_01/5", None, "positive"),
        ("smic/s2/s2_sur_01/1", None, "surprise"),
    ]
    report = report_of(clips)
    assert "holds no frames" in report.skipped[0].message
    assert "1 of 4 frames are missing: 7" in report.doubts[0].message


def test_smic_by_the_official_table(tmp_path, load):
    header = [
        "Subject",
        "Filename",
        None,
        "OnsetF",
        "OffsetF",
        "TotalMF1",
        "Onset2F",
        "Offset2F",
        "TotalMF2",
        "Emotion",
    ]
    rows = [["s1", "s1_ne_01", None, 90823, 90825, 3, 90827, 90829, 3, "negative"]]
    rows += [["s2", "s2_sur_01", None, 1, 4, 4, None, None, None, "surprise"]]
    root = smic_folders(tmp_path / "t")
    write_xlsx(root / "SMIC-HS-E_annotation_2019.xlsx", [header, *rows])
    clips = load("smic", root)
    assert [(row["clip_id"], len(row["frames"])) for row in clips] == [
        ("smic/s1/s1_ne_01/90823", 3),
        ("smic/s1/s1_ne_01/90827", 3),
        ("smic/s2/s2_sur_01/1", 4),
    ]


def test_an_empty_root_says_what_was_looked_for(tmp_path, load):
    for name in ("casme", "casme2", "samm", "mmew", "4dme", "casme3", "smic", "own"):
        with pytest.raises(AnnotationError, match=r"no table with the header|neither a table"):
            load(name, tmp_path)
