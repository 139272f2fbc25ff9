"""Two synthetic domains that differ as CASME II and SAMM do: people, light, optics, clip lengths and AUs.

The number of positives per AU is the published one (CASME II: public table of 2019, 255 clips; SAMM: AUs 2, 4, 5, 6,
7, 10, 12, 24 and 43 of 159 clips). How the AUs are combined within those margins, and the rarer AUs of SAMM, are
made up: no row of a licensed table is used. Both data sets have 200 frames per second, and so have both domains; `fps`
resamples them.
"""

from dataclasses import dataclass

from ..published.counts import PUBLISHED_COUNTS
from .faces import Complexion

# How many clips show exactly these AUs. CASME II: 255 clips, 381 instances.
CASME2_COMBINATIONS = {
    "4": 61, "4+7": 22, "4+9": 6, "4+7+9": 3, "4+10": 10, "4+7+10": 2, "4+15": 3, "4+17": 4, "4+5": 2, "4+6+7": 2,
    "4+24": 3, "4+16": 2, "1+4": 3, "1+2+4": 2, "1+2": 19, "1+2+5": 2, "1": 2, "2": 2, "5": 1, "7": 6,
    "12": 22, "6+12": 6, "12+14": 4, "7+12": 3, "12+15": 2, "12+25": 2, "6+10": 2, "10": 4,
    "14": 15, "14+17": 3, "15": 4, "15+17": 8, "17": 11, "16": 3, "24": 3, "18": 1, "20": 2, "26": 1, "38": 2,
}  # fmt: skip
# SAMM: 159 clips, of which 56 show none of AUs 2, 4, 7, 12.
SAMM_COMBINATIONS = {
    "4": 13, "4+7": 5, "1+2": 5, "2": 8, "1+2+5": 2, "2+5": 2, "2+4": 1, "4+5": 1, "7": 29, "7+10": 2, "6+12": 3,
    "12": 18, "7+12": 4, "12+24": 2, "12+25": 1, "4+7+9": 2, "7+43": 4, "4+43": 1,
    "14": 17, "14+17": 2, "15": 4, "15+17": 3, "17": 4, "5": 5, "10": 4, "24": 5, "24+17": 2, "43": 3, "45": 1,
    "20": 2, "25": 3, "9": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """How the clips of a data set were recorded: the people, the camera, and the AUs that occur."""

    name: str
    people: Complexion
    fps: float
    seconds: tuple[float, float, float]  # shortest, median and longest clip
    blur: float  # of the optics, in pixels at 128 x 128
    noise: float  # of the sensor, relative to the setting's
    intensity_marked: bool  # whether annotations carry A-E
    combinations: dict[str, int]
    clips_per_subject: dict[str, int]  # as published, by the subject's name

    def subject_name(self, index: int) -> str:
        """The index-th person; beyond the published ones numbering goes on."""
        names = list(self.clips_per_subject)
        if index < len(names):
            return names[index]
        return str(int(names[-1]) + index - len(names) + 1).zfill(len(names[-1]))


DOMAINS = {
    # Students of one university under four even lamps, colour camera, faces of about 280 x 340 pixels.
    "casme2": Domain(
        name="casme2",
        people=Complexion(
            skin=(158, 10), hair=(28, 5), background=(120, 20), side_light=0.15, shadow=0.30, wrinkles=0.30
        ),
        fps=200.0,
        seconds=(0.12, 0.305, 0.705),
        blur=0.55,
        noise=1.0,
        intensity_marked=False,
        combinations=CASME2_COMBINATIONS,
        clips_per_subject=PUBLISHED_COUNTS["casme2"].clips_per_subject,
    ),
    # People of thirteen ethnicities, 19 to 57 years old, light from one side, grey camera, larger and sharper faces.
    "samm": Domain(
        name="samm",
        people=Complexion(
            skin=(128, 30), hair=(50, 24), background=(62, 14), side_light=0.5, shadow=0.55, wrinkles=0.6
        ),
        fps=200.0,
        seconds=(0.15, 0.39, 0.505),
        blur=0.25,
        noise=0.7,
        intensity_marked=True,
        combinations=SAMM_COMBINATIONS,
        clips_per_subject=PUBLISHED_COUNTS["samm"].clips_per_subject,
    ),
}
