"""What is known of the published tables, for the checker to print beside what it counts.

Counts only: no row of any data set is kept here. They belong to one release each; another release may rightly differ.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Known:
    release: str
    rows: int | None = None
    subjects: int | None = None
    clips_of: dict[str, int] = field(default_factory=dict)  # per subject
    aus: dict[int, int] = field(default_factory=dict)
    emotions: dict[str, int] = field(default_factory=dict)


def _numbered(pattern: str, counts: list[int]) -> dict[str, int]:
    return {pattern.format(at): count for at, count in enumerate(counts, start=1)}


KNOWN: dict[str, Known] = {
    "casme2": Known(
        release="public table of 2019-07-01",
        rows=255,
        subjects=26,
        clips_of=_numbered(
            "{:02d}",
            [9, 13, 7, 5, 19, 5, 9, 3, 14, 14, 10, 12, 8, 4, 3, 4, 36, 3, 16, 11, 2, 2, 12, 10, 7, 17],
        ),
        aus={
            1: 28, 2: 25, 4: 125, 5: 5, 6: 10, 7: 38, 9: 9, 10: 18, 12: 39, 14: 22, 15: 17, 16: 5, 17: 26, 18: 1,
            20: 2, 24: 6, 25: 2, 26: 1, 38: 2,
        },
        emotions={
            "others": 99, "disgust": 63, "happiness": 32, "surprise": 28, "repression": 27, "sadness": 4, "fear": 2,
        },
    ),
    "samm": Known(
        release="Micro FACS Codes v2, published readings of alternatives, ref() kept",
        rows=159,
        subjects=29,
        clips_of={
            "006": 11, "007": 10, "009": 4, "010": 4, "011": 20, "012": 3, "013": 6, "014": 11, "015": 3, "016": 5,
            "017": 6, "018": 4, "019": 3, "020": 9, "021": 2, "022": 5, "023": 1, "024": 1, "025": 4, "026": 13,
            "028": 3, "030": 3, "031": 1, "032": 6, "033": 5, "034": 3, "035": 9, "036": 1, "037": 3,
        },
        aus={2: 18, 4: 23, 7: 46, 12: 28},
        emotions={
            "Anger": 57, "Other": 26, "Happiness": 26, "Surprise": 15, "Contempt": 12, "Disgust": 9, "Fear": 8,
            "Sadness": 6,
        },
    ),
    "casme": Known(release="casme.xlsx", rows=189, subjects=19),
    "mmew": Known(release="MMEW_Micro_Exp", rows=300, subjects=36),
    "4dme": Known(release="4DME_Labelling_Micro_release v1", rows=267, subjects=41),
    "casme3": Known(
        release="part_A_ME_label_JpgIndex_v2",
        rows=860,
        subjects=94,
        emotions={
            "disgust": 250, "surprise": 187, "others": 158, "fear": 86, "anger": 64, "sad": 57, "happy": 55,
            "Others": 3,
        },
    ),
    "smic": Known(
        release="SMIC-HS", rows=164, subjects=16, emotions={"negative": 70, "positive": 51, "surprise": 43}
    ),
}  # fmt: skip
