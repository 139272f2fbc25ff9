"""The published counts of every data set: the one place for them.

`aullm data check` prints them beside what it counts, the synthetic domains take their clips per subject from here, and
a run is planned by them where its data is not at hand. Counts only: no row of any data set is kept here. They belong
to one release each; another release may rightly differ.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PublishedCounts:
    release: str
    rows: int | None = None
    subjects: int | None = None  # those who have clips
    usual_frames: int | None = None  # frames of a usual clip
    clips_per_subject: dict[str, int] = field(default_factory=dict)
    aus: dict[int, int] = field(default_factory=dict)  # clips per AU
    emotions: dict[str, int] = field(default_factory=dict)


def _numbered(pattern: str, counts: list[int]) -> dict[str, int]:
    return {pattern.format(at): count for at, count in enumerate(counts, start=1)}


PUBLISHED_COUNTS: dict[str, PublishedCounts] = {
    "casme2": PublishedCounts(
        release="public table of 2019-07-01",
        rows=255,
        subjects=26,
        usual_frames=67,
        clips_per_subject=_numbered(
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
    "samm": PublishedCounts(
        release="Micro FACS Codes v2, published readings of alternatives, ref() kept",
        rows=159,
        subjects=29,
        usual_frames=75,
        clips_per_subject={
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
    "casme": PublishedCounts(release="casme.xlsx", rows=189, subjects=19, usual_frames=20),
    "mmew": PublishedCounts(release="MMEW_Micro_Exp", rows=300, subjects=36, usual_frames=30),
    "4dme": PublishedCounts(release="4DME_Labelling_Micro_release v1", rows=267, subjects=41, usual_frames=25),
    "casme3": PublishedCounts(
        release="part_A_ME_label_JpgIndex_v2",
        rows=860,
        subjects=94,
        usual_frames=15,
        emotions={
            "disgust": 250, "surprise": 187, "others": 158, "fear": 86, "anger": 64, "sad": 57, "happy": 55,
            "Others": 3,
        },
    ),
    "smic": PublishedCounts(
        release="SMIC-HS", rows=164, subjects=16, emotions={"negative": 70, "positive": 51, "surprise": 43}
    ),
}  # fmt: skip
