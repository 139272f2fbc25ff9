"""The written forms of the published data sets: columns, folders, file names, quirks."""

from dataclasses import replace
from string import ascii_lowercase

import numpy as np

from aullm_hf.arguments import check_choice
from aullm_hf.data.synthetic.domains import DOMAINS
from support.trees.rows import Form, Row, length, ordinary, plain
from support.trees.truth import Part


def _either(text: str, first: tuple[int, ...], literature: tuple[int, ...]) -> Part:
    return Part(text, first, "either", literature)


def casme2(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """Text subjects, blank header cells, numbers not zero-padded, a "/" for an apex, folders without rows and back."""
    images = images or "raw"
    check_choice("images", images, ["raw", "cropped"])
    quirks = [
        Row("01", "EP02_01f", 46, 59, 86, plain("L1", "L2"), "happiness"),
        Row("01", "EP01_2", 8, 12, 31, plain(12), "happiness", findings=(("doubt", "gap"),), missing=frozenset({20})),
        Row("02", "EP06_02_01", 96, 100, 104, plain(4, 9, "L10", 14), "disgust",
            stray=("EP06_02_01.lnk", "Thumbs.db")),
        Row("02", "EP06_02_02", 5, 8, 12, plain("R4", "R10"), "disgust"),
        Row("02", "EP09f", 98, 101, 107, plain("R14"), "repression"),
        Row(
            "04", "EP12_01f", 261, None, 321, plain(4), written={"apex": "/"}, findings=(("doubt", "apex"),)
        ),
        Row("05", "EP08_1", 30, 34, 41, plain(1, 2), "surprise"),
        Row("05", "EP09_05f", 77, 77, 84, plain(17), findings=(("doubt", "apex"),)),
        Row("06", "EP05_03", 91, 98, 98, plain(15, 17), "sadness", findings=(("doubt", "apex"),)),
        Row("09", "EP02_02f", 12, 15, 18, plain(4), loose=True),
        Row("10", "EP11_01", 9, 12, 15, plain(4, 7)),
        Row("10", "EP11_01f", 116, 119, 124, plain("L7")),
        # The crops stop before the offset.
        Row(
            "16", "EP01_08", 88, 93, 110, plain(12), "happiness",
            on_disk=(88, 96) if images == "cropped" else None,
            findings=(("doubt", "gap"),) if images == "cropped" else (),
        ),
        Row("21", "EP01_07", 40, 45, 52, plain(9), "disgust", no_folder=True, findings=(("error", "no-folder"),)),
        Row("22", "EP13_08", 6, 40, 146, plain(26), "fear"),  # 141 frames, the longest
        Row("24", "EP02_07", 20, 22, 25, plain(7), loose=True),
        Row("26", "EP18_51", 101, 110, 124, plain(38)),  # 24 frames, the shortest
    ]  # fmt: skip
    counts = dict(DOMAINS["casme2"].clips_per_subject) if published else {"17": 36, "20": 2, "21": 2, "22": 2, "03": 3}
    rows = _filled(rng, "casme2", quirks, counts, "EP{:02d}_{:02d}", published)
    root, frame = {
        "raw": ("CASME2_RAW_selected/CASME2_RAW_selected", "img{}.jpg"),
        "cropped": ("Cropped-updated/Cropped", "reg_img{}.jpg"),
    }[images]
    return Form(
        name="casme2",
        fps=200.0,
        image=(640, 480, 230) if images == "raw" else (280, 340, 270),
        table="CASME2-coding-20190701.xlsx",
        images=root,
        header=["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
                "Estimated Emotion"],
        rows=rows,
        cells=lambda row, number: [row.subject, row.clip, None, row.onset, row.written.get("apex", row.apex),
                                   row.offset, None, row.au_cell, row.emotion],
        folder=lambda row: f"{root}/sub{row.subject}/{row.clip}",
        frame=lambda row, number: frame.format(number),
        empty_sheets=("Sheet2", "Sheet3"),
    )  # fmt: skip


def _filled(rng, name: str, quirks: list[Row], counts: dict[str, int], pattern: str, published: bool) -> list[Row]:
    """Ordinary clips beside the quirks until every subject of `counts` has as many; sorted as the tables are."""
    rows = list(quirks)
    for subject, wanted in counts.items():
        has = sum(row.subject == subject and not row.loose for row in quirks)
        taken = {row.clip for row in rows if row.subject == subject}
        names = (pattern.format(film, index, subject=subject) for film in range(1, 99) for index in range(1, 11))
        for _ in range(wanted - has):
            clip = next(name for name in names if name not in taken)
            rows.append(ordinary(rng, subject, clip, domain=name, frames=length(rng, name, published)))
    return sorted(rows, key=lambda row: (row.subject, row.clip, row.onset))


_SAMM_EMOTIONS = ("Anger", "Other", "Happiness", "Surprise", "Contempt", "Disgust", "Fear", "Sadness")
_SAMM_PREAMBLE = (
    "SAMM: A Spontaneous Micro-Facial Movement Dataset", "(citation)", None, "Update: frame numbers revised",
    "Update: objective classes added", None, "Symbol Key:", '"/" = or',
    '"?" = some AUs continue for a while and have unclear offset', "AU Help:", "L2 or R2 = unilateral",
    "A2 = asymmetric, stronger on one side", None,
)  # fmt: skip


def samm(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """A preamble of 13 rows, text subjects, a formula without a stored value, or-cells, ref(), two zero paddings."""
    check_choice("images", images, [None, "raw"])
    fix = {"either": {"reading": "R12+R15", "corrected": ("aus",)}}
    quirks = [
        Row("006", "006_1_2", 5562, 5566, 5571, plain("R14"), "Anger"),
        Row("006", "006_1_3", 1218, 1221, 1225, plain("A1B", "A2C"), "Surprise"),
        Row(
            "007", "007_6_1", 118, 121, 125, (_either("(R6 or R12)", (6,), (12,)), *plain("R15")),
            written={"aus": "(R6 or R12)+R15"}, **fix["either"],
        ),
        Row(
            "007", "007_6_5", 1162, 1165, 1170, (_either("(R6 or R12)", (6,), (12,)), *plain("R15")),
            cell="(R6 or R12) + R15", written={"aus": "(R6 or R12)+R15"}, **fix["either"],
        ),
        Row("009", "009_3_3", 123, 127, 130, plain("L12A"), "Happiness"),
        Row("009", "009_3_4", 9, 12, 15, (Part("7B", (7,)), Part("ref(43)", (43,), "ref")), cell="7B+ ref(43)"),
        Row(
            "011", "011_4_2", 301, 304, 309, (_either("L12 or L14", (12,), (14,)),), "Contempt",
            written={"aus": "L12 or L14"}, corrected=("aus",), reading="L14",
        ),
        Row("011", "011_4_10", 2201, 2204, 2209, plain("43E")),
        Row("013", "013_1_9", 5658, 5700, 5739, plain(4, 6, 7, 9, "43E"), "Disgust"),
        Row(
            "014", "014_5_2", 55, 58, 62, (_either("R12 or R14", (12,), (14,)),),
            written={"aus": "R12 or R14"}, corrected=("aus",), reading="R14",
        ),
        Row("015", "015_1_1", 711, 714, 718, (Part("10A/B", (10,)),)),
        Row("016", "016_2_1", 88, 91, 95, (Part("A/L12", (12,)),), "Happiness"),
        Row("017", "017_5_11", 1009, 1013, 1016, (Part("ref(7B)", (7,), "ref"), Part("43", (43,)))),
        Row("018", "018_3_1", 640, 643, 648, (Part("12A", (12,)), Part("ref(24)", (24,), "ref"))),
        Row("019", "019_4_1", 33, 36, 41, (Part("ref(L10)", (10,), "ref"), Part("A12B", (12,)))),
        Row(
            "020", "020_7_1", 415, 418, 423, (*plain("R14", 17), Part("soft focus", (), "remark")),
            findings=(("doubt", "au"),),
        ),
        Row("021", "021_6_1", 57, 61, 65, plain("L12", 61), cell="L12 + 61"),
        Row("022", "022_2_3", 203, 206, 211, plain("7B", 56), "Fear"),
        Row("023", "023_3_1", 6003, 6006, 6011, plain(17)),  # the person's only clip, and none of AUs 2, 4, 7, 12
        Row("024", "024_7_1", 77, 80, 84, plain(12, 15), "Sadness", cell="12+15 "),
        Row(
            "028", "028_4_1", 1096, 1105, 1134, plain(4), "Anger",
            written={"apex": 1143}, corrected=("apex",),
        ),
        Row("030", "030_1_1", 404, 407, 412, plain("T23", "B25", "4A")),
        Row(
            "032", "032_3_1", 4896, 4945, 4952, plain("R12"), "Happiness",
            written={"apex": 1930}, corrected=("apex",),
        ),
        Row(
            "032", "032_3_2", 5126, 5130, 5137, plain("L2"), "Surprise",
            written={"apex": 5127}, corrected=("apex",),
        ),
        Row(
            "035", "035_7_2", 510, 513, 518, (_either("R14A or 17A or 24A", (14,), (14,)),), "Contempt",
            written={"aus": "R14A or 17A or 24A"}, corrected=("aus",), reading="R14A",
        ),
        Row("036", "036_7_2", 12, 15, 20, plain(4), "Anger", no_folder=True, findings=(("error", "no-folder"),)),
        Row("037", "037_3_1", 801, 805, 809, plain("L2"), "Surprise"),
    ]  # fmt: skip
    counts = dict(DOMAINS["samm"].clips_per_subject) if published else {"006": 4, "011": 5, "026": 3}
    rows = []
    for row in _filled(rng, "samm", quirks, counts, "{subject}_{}_{}", published):
        film = int(row.clip.split("_")[1])
        notes = {"inducement": film, "class": int(rng.integers(1, 8)), "padding": 4 + film % 2}
        rows.append(replace(row, notes={**notes, **row.notes}, emotion=row.emotion.replace("others", "Other")))
    rows.sort(key=lambda row: (row.subject, [int(part) for part in row.clip.split("_")]))
    return Form(
        name="samm",
        fps=200.0,
        image=(960, 650, 400),
        table="SAMM_Micro_FACS_Codes_v2.xlsx",
        images="SAMM",
        preamble=[[text] for text in _SAMM_PREAMBLE],
        header=["Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration",
                "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"],
        rows=rows,
        cells=lambda row, number: [row.subject, row.clip, row.notes["inducement"], row.onset,
                                   row.written.get("apex", row.apex), row.offset, f"=SUM(F{number}-D{number})+1",
                                   "Micro - 1/2", row.au_cell, row.emotion, row.notes["class"],
                                   "Blinks" if row.notes["class"] < 3 else None],
        folder=lambda row: f"SAMM/{row.subject}/{row.clip}",
        frame=lambda row, number: f"{row.subject}_{number:0{row.notes['padding']}d}.jpg",
        sheet="MICRO_ONLY",
    )  # fmt: skip


def casme(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """Number subjects, two apex columns, blank header cells, files named after the clip, padding in the later half."""
    images = images or "raw"
    check_choice("images", images, ["raw", "cropped"])
    quirks = [
        Row("01", "EP01_5", 98, 102, 106, plain(4, 9), "disgust"),
        Row("01", "EP03_4", 9, 11, 14, plain(14), "repression", stray=("Thumbs.db",)),
        Row("03", "EP07_1", 33, 36, 40, (*plain(4), Part("?", (), "remark")), "tense", findings=(("doubt", "au"),)),
        Row("03", "EP09_2", 101, 106, 119, plain("L1", 2), "surprise", findings=(("doubt", "gap"),),
            missing=frozenset({110, 111})),
        Row("05", "EP02_7", 57, None, 65, plain(15), written={"apex": "?"}, findings=(("doubt", "apex"),)),
        Row("07", "EP04_3", 20, 23, 26, plain(12), no_folder=True, findings=(("error", "no-folder"),)),
    ]  # fmt: skip
    counts = {f"{number:02d}": 10 for number in range(1, 20)} if published else {"01": 3, "08": 2, "13": 2, "19": 1}
    rows = _filled(rng, "casme2", quirks, counts, "EP{:02d}_{}", published)
    padded_from = len(rows) // 2
    rows = [replace(row, notes={"padding": 3 if at >= padded_from else 0}) for at, row in enumerate(rows)]
    root = "CASME_raw_selected" if images == "raw" else "Cropped"
    stem = "" if images == "raw" else "reg_"
    return Form(
        name="casme",
        fps=60.0,
        image=(640, 480, 230) if images == "raw" else (280, 340, 270),
        table="casme.xlsx",
        images=root,
        header=["Subject", "Filename", None, "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU", "Emotion"],
        rows=rows,
        cells=lambda row, number: [int(row.subject), row.clip, None, row.onset, row.written.get("apex", row.apex), 0,
                                   row.offset, None, row.au_cell, row.emotion],
        folder=lambda row: f"{root}/sub{row.subject}/{row.clip}",
        frame=lambda row, number: f"{stem}{row.clip}-{number:0{row.notes['padding']}d}.jpg",
    )  # fmt: skip


def mmew(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """Folders by emotion, which is not always the table's; frames from 1, so they are more than onset..offset."""
    check_choice("images", images, [None, "raw"])
    names = {"happiness": 1, "surprise": 2, "anger": 3, "disgust": 4, "fear": 5, "sadness": 6, "others": 7}
    rows, seen = [], {}
    people = range(1, 37) if published else (1, 2, 5, 13)
    for person in people:
        for _ in range(9 if published else 3):
            emotion = list(names)[int(rng.integers(7))]
            key = (person, names[emotion])
            seen[key] = seen.get(key, 0) + 1
            clip = f"S{person:02d}-{names[emotion]:02d}-{seen[key]:03d}"
            row = ordinary(rng, f"S{person:02d}", clip, onset=int(rng.integers(1, 9)), emotion=emotion, side=False)
            rows.append(replace(row, on_disk=(1, row.offset + int(rng.integers(0, 4))), notes={"top": emotion}))
    more = [
        Row("S13", "S13-07-101", 3, 6, 10, plain(4, 7), on_disk=(1, 12), notes={"top": "repression"}),
        Row("S13", "S13-07-102", 1, 4, 8, plain("L12"), on_disk=(1, 9), notes={"top": "others"}),
        Row("S14", "S14-02-101", 2, 2, 8, plain(1, 2), "surprise", on_disk=(1, 8), notes={"top": "surprise"},
            findings=(("doubt", "apex"),)),
        Row("S15", "S15-04-101", 4, 7, 12, plain(9), "disgust", on_disk=(1, 9), notes={"top": "disgust"},
            findings=(("doubt", "gap"),)),
        Row("S16", "S16-05-101", 4, 7, 12, plain(20), "fear", no_folder=True, notes={"top": "fear"},
            findings=(("error", "no-folder"),)),
    ]  # fmt: skip
    rows = sorted([*rows, *more], key=lambda row: row.clip)
    root = "MMEW_Final/Micro_Expression"
    return Form(
        name="mmew",
        fps=90.0,
        image=(400, 400, 330),
        table="MMEW_Micro_Exp.xlsx",
        images=root,
        header=["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units", "Estimated Emotion",
                "remarks"],
        rows=rows,
        cells=lambda row, number: [int(row.subject[1:]), row.clip, row.onset, row.apex, row.offset, row.au_cell,
                                   row.emotion, None],
        folder=lambda row: f"{root}/{row.notes['top']}/{row.clip}",
        frame=lambda row, number: f"{number}.jpg",
    )  # fmt: skip


def fourdme(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """AUs that are held all along are marked (k); recordings of one person are split in two; one column an AU."""
    check_choice("images", images, [None, "raw"])

    def held(text: str, au: int) -> Part:
        return Part(text, (au,), "static")

    rows = [
        Row("S13", "ME_01", 11, 14, 19, (held("AU4(k)", 4), *plain("L7")), "Negative", notes={"folder": "S13_1st"}),
        Row("S13", "ME_02", 40, 43, 48, plain("AU12"), "Positive", notes={"folder": "S13_2nd"}),
        Row("S30", "ME_01", 7, 10, 14, (*plain("AUR2"), held("12(k)", 12), *plain(45)), "Surprise",
            notes={"folder": "S30_1st"}),
        Row("S49", "ME_01", 2476, 2490, 2499, plain("AU1", 2), "Surprise", notes={"folder": "S49_1"}),
        Row("S49", "ME_02", 18, 21, 25, plain("AU17"), "Repression", notes={"folder": "S49_2"}),
        Row("S52", "ME_03", 5, 8, 12, (held("AU4(k)", 4),), "Others", notes={"folder": "S52_2"}),
        Row("S1", "ME_05", 30, 30, 36, plain("AU6", 12), "Positive", findings=(("doubt", "apex"),)),
        Row("S1", "ME_06", 60, 63, 69, plain("AU4"), "Negative", findings=(("doubt", "gap"),),
            missing=frozenset({66})),
        Row("S2", "ME_07", 10, 13, 17, plain("AU7"), "Negative", no_folder=True, findings=(("error", "no-folder"),)),
    ]  # fmt: skip
    for person in range(60, 101) if published else (3, 4, 60):
        rows += [
            ordinary(rng, f"S{person}", f"ME_{index:02d}", side=False, emotion="Others")
            for index in range(1, 7 if published else 3)
        ]
    columns = (1, 2, 4, 6, 7, 12, 17, 45)

    def cells(row: Row, number: int) -> list:
        moving = {au for part in row.parts for au in part.aus if part.kind != "static"}
        shown = [
            int(row.emotion == emotion) for emotion in ("Positive", "Negative", "Surprise", "Repression", "Others")
        ]
        return [
            number - 1,
            row.notes.get("folder", row.subject),
            row.clip,
            row.emotion,
            row.onset,
            row.apex,
            row.offset,
            row.au_cell,
            int(45 in moving),
            *shown,
            *(int(au in moving) for au in columns),
        ]

    return Form(
        name="4dme",
        fps=60.0,
        image=(640, 480, 260),
        table="4DME_Labelling_Micro_release v1.xlsx",
        images="gray_micro",
        header=["fold", "sub_ID", "fold_name", "Emotion", "Onset", "Apex", "Offset", "AUs", "eye blink", "Positive",
                "Negative", "Surprise", "Repression", "Others", *(f"AU{au}" for au in columns)],
        rows=rows,
        cells=cells,
        folder=lambda row: f"gray_micro/{row.notes.get('folder', row.subject)}/{row.clip}",
        frame=lambda row, number: f"{number:05d}.jpg",
    )  # fmt: skip


def casme3(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """Several clips share subject and letter; recordings lack their first frames; zeros and slips in the numbers."""
    check_choice("images", images, [None, "raw"])
    rows = [
        Row("spNO.1", "a", 355, 359, 364, plain(4), "disgust"),
        Row("spNO.1", "a", 402, 405, 410, plain("R12", 7), "happy"),
        Row("spNO.1", "a", 500, 504, 509, plain(1, 2), "surprise", findings=(("doubt", "gap"),),
            missing=frozenset({506, 507})),
        Row("spNO.1", "b", 355, 358, 363, plain("T18", "B23"), "Others"),
        Row("spNO.3", "J", 40, 44, 50, plain("T24", "B28"), "fear"),
        Row("spNO.40", "e", 1838, 1841, 1845, plain(12), "happy", written={"offset": 0}, corrected=("offset",)),
        Row("spNO.40", "e", 2396, 2399, 2403, plain(12, 6), "happy", written={"offset": 0}, corrected=("offset",)),
        Row("spNO.41", "c", 90, 91, 92, plain(45), "others"),  # three frames
        Row("spNO.41", "d", 70, 70, 77, plain(17), "sad", findings=(("doubt", "apex"),)),
        Row("spNO.50", "g", 12, 15, 21, plain(9), "disgust", empty=True, findings=(("error", "frames"),)),
        Row("spNO.51", "a", 12, 15, 21, plain(10), "anger", no_folder=True, findings=(("error", "no-folder"),)),
        Row("spNO.149", "d", 112, 123, 128, plain(4), "fear", written={"apex": 83}, corrected=("apex",)),
        Row("spNO.214", "c", 27, 30, 34, plain("L1"), "surprise", written={"offset": 3460}, corrected=("offset",)),
        Row("spNO.216", "d", 2647, 2668, 2672, plain(7), "anger", written={"onset": 3647}, corrected=("onset",)),
        Row("spNO.216", "e", 1, 1, 9, plain(25), "others", written={"onset": 0, "apex": 0},
            corrected=("onset", "apex"), findings=(("doubt", "apex"),)),
        Row("spNO.217", "a", 3, 12, 16, plain(5), "surprise", on_disk=(8, 16), findings=(("doubt", "gap"),)),
    ]  # fmt: skip
    for person in range(300, 386) if published else (60, 61):
        onset = 0
        for _ in range(10 if published else 4):  # all in one recording
            onset += int(rng.integers(20, 60))
            rows.append(ordinary(rng, f"spNO.{person}", ascii_lowercase[person % 13], onset=onset, emotion="disgust"))
    classes = ("I", "II", "III", "IV", "V", "VI", "VII")
    return Form(
        name="casme3",
        fps=30.0,
        image=(1280, 720, 330),
        table="cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx",
        images="part_A",
        header=["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion"],
        rows=rows,
        cells=lambda row, number: [row.subject, row.clip, row.written.get("onset", row.onset),
                                   row.written.get("apex", row.apex), row.written.get("offset", row.offset),
                                   row.au_text, classes[number % 7], row.emotion],
        folder=lambda row: f"part_A/{row.subject}/{row.clip}/color",
        frame=lambda row, number: f"{number}.jpg",
        beside=lambda row, number: [f"part_A/{row.subject}/{row.clip}/depth/{number}.png"],
    )  # fmt: skip


def smic(rng: np.random.Generator, images: str | None, published: bool) -> Form:
    """No table and no AUs: the cropped clips by subject and emotion; one folder is empty, some lack frames."""
    check_choice("images", images, [None, "cropped"])
    folders = {"ne": "negative", "po": "positive", "sur": "surprise"}
    rows = []
    for person in (1, 3, 4, 18):
        for short, emotion in folders.items():
            for index in range(1, 3):
                onset = int(rng.integers(90000, 99000)) if short != "po" else int(rng.integers(1000, 9000))
                rows.append(_smic(rng, person, short, index, emotion, onset, int(rng.integers(5, 10))))
    rows += [
        _smic(rng, 3, "po", 8, "positive", 5230, 12, {5233, 5234}, (("doubt", "gap"),)),
        _smic(rng, 3, "sur", 5, "surprise", 61200, 11, {61206}, (("doubt", "gap"),)),
        replace(_smic(rng, 18, "sur", 3, "surprise", 0, 2, (), (("error", "frames"),)), empty=True),
    ]
    order = list(folders)
    rows.sort(key=lambda row: (int(row.subject[1:]), order.index(row.clip.split("_")[1]), row.clip))
    root = "SMIC_all_cropped/HS"
    return Form(
        name="smic",
        fps=100.0,
        image=(400, 400, 330),
        table=None,
        images=root,
        header=[],
        rows=rows,
        cells=lambda row, number: [],
        folder=lambda row: f"{root}/{row.subject}/micro/{row.emotion}/{row.clip}",
        frame=lambda row, number: f"reg_image{number:06d}.bmp",
    )


def _smic(rng, person, short, index, emotion, onset, frames, missing=(), findings=()) -> Row:
    return Row(
        f"s{person}",
        f"s{person}_{short}_{index:02d}",
        onset,
        None,
        onset + frames - 1,
        None,
        emotion,
        missing=frozenset(missing),
        findings=tuple(findings),
    )
