"""The codes of the Facial Action Coding System: what each number means and where on the face it is seen.

Micro-expression tables hold more than muscles: closed eyes (43), blinks (45), head tilts (56), gaze (61). They are
part of an annotation and of its counts, so they are named here as well; `muscle` is empty for them.
Numbers and names are those of the FACS manual (Ekman, Friesen and Hager, 2002).
"""

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

from ..arguments import shown


@dataclass(frozen=True)
class AUInfo:
    number: int
    name: str
    muscle: str  # empty: not a single muscle's action
    place: str  # where on the face a reader should look
    half: Literal["upper", "lower", "none"]
    sided: bool  # can be scored left or right alone

    @property
    def label(self) -> str:
        return f"AU{self.number}"


def _codes(half, sided, *rows) -> list[AUInfo]:
    return [AUInfo(number, name, muscle, place, half, sided) for number, name, place, muscle in rows]


_ALL = [
    *_codes(
        "upper",
        True,
        (1, "Inner brow raiser", "inner brow", "frontalis, pars medialis"),
        (2, "Outer brow raiser", "outer brow", "frontalis, pars lateralis"),
        (4, "Brow lowerer", "brow", "corrugator supercilii, depressor supercilii, depressor glabellae"),
        (5, "Upper lid raiser", "upper eyelid", "levator palpebrae superioris"),
        (6, "Cheek raiser", "cheek and outer eye corner", "orbicularis oculi, pars orbitalis"),
        (7, "Lid tightener", "eyelids", "orbicularis oculi, pars palpebralis"),
        (41, "Lid droop", "upper eyelid", "levator palpebrae superioris, relaxed"),
        (42, "Slit", "eyelids", "orbicularis oculi"),
        (43, "Eyes closed", "eyelids", "levator palpebrae superioris, relaxed"),
        (44, "Squint", "eyelids", "orbicularis oculi, pars palpebralis"),
        (46, "Wink", "eyelids of one eye", "orbicularis oculi"),
    ),
    *_codes("upper", False, (45, "Blink", "eyelids", "levator palpebrae superioris, orbicularis oculi")),
    *_codes(
        "lower",
        True,
        (9, "Nose wrinkler", "nose root", "levator labii superioris alaeque nasi"),
        (10, "Upper lip raiser", "upper lip", "levator labii superioris"),
        (11, "Nasolabial deepener", "nasolabial fold", "zygomaticus minor"),
        (12, "Lip corner puller", "mouth corner", "zygomaticus major"),
        (13, "Sharp lip puller", "mouth corner", "levator anguli oris"),
        (14, "Dimpler", "mouth corner", "buccinator"),
        (15, "Lip corner depressor", "mouth corner", "depressor anguli oris"),
        (16, "Lower lip depressor", "lower lip", "depressor labii inferioris"),
        (18, "Lip pucker", "lips", "incisivii labii superioris, incisivii labii inferioris"),
        (20, "Lip stretcher", "mouth corner", "risorius, platysma"),
        (22, "Lip funneler", "lips", "orbicularis oris"),
        (23, "Lip tightener", "lips", "orbicularis oris"),
        (24, "Lip pressor", "lips", "orbicularis oris"),
        (28, "Lip suck", "lips", "orbicularis oris"),
        (30, "Jaw sideways", "jaw", "pterygoids"),
        (33, "Cheek blow", "cheek", ""),
        (34, "Cheek puff", "cheek", ""),
        (35, "Cheek suck", "cheek", ""),
        (36, "Tongue bulge", "cheek or lip", ""),
        (38, "Nostril dilator", "nostrils", "nasalis, pars alaris"),
        (39, "Nostril compressor", "nostrils", "nasalis, pars transversa, depressor septi nasi"),
    ),
    *_codes(
        "lower",
        False,
        (8, "Lips toward each other", "lips", "orbicularis oris"),
        (17, "Chin raiser", "chin", "mentalis"),
        (19, "Tongue show", "mouth", ""),
        (21, "Neck tightener", "neck", "platysma"),
        (25, "Lips part", "lips", "depressor labii inferioris, relaxation of mentalis or orbicularis oris"),
        (26, "Jaw drop", "jaw", "masseter, relaxed temporalis and internal pterygoid"),
        (27, "Mouth stretch", "jaw", "pterygoids, digastric"),
        (29, "Jaw thrust", "jaw", "pterygoids"),
        (31, "Jaw clencher", "jaw", "masseter"),
        (32, "Lip bite", "lips", ""),
        (37, "Lip wipe", "lips", ""),
    ),
    *_codes(
        "none",
        False,
        (40, "Sniff", "nose", ""),
        (50, "Speech", "mouth", ""),
        (51, "Head turn left", "head", ""),
        (52, "Head turn right", "head", ""),
        (53, "Head up", "head", ""),
        (54, "Head down", "head", ""),
        (55, "Head tilt left", "head", ""),
        (56, "Head tilt right", "head", ""),
        (57, "Head forward", "head", ""),
        (58, "Head back", "head", ""),
        (61, "Eyes turn left", "eyes", ""),
        (62, "Eyes turn right", "eyes", ""),
        (63, "Eyes up", "eyes", ""),
        (64, "Eyes down", "eyes", ""),
        (65, "Walleye", "eyes", ""),
        (66, "Cross-eye", "eyes", ""),
        (68, "Upward rolling of eyes", "eyes", ""),
        (69, "Eyes positioned to look at other person", "eyes", ""),
        (70, "Brows and forehead not visible", "visibility", ""),
        (71, "Eyes not visible", "visibility", ""),
        (72, "Lower face not visible", "visibility", ""),
        (73, "Entire face not visible", "visibility", ""),
        (74, "Unscorable", "visibility", ""),
        (80, "Swallow", "throat", ""),
        (81, "Chewing", "jaw", ""),
        (82, "Shoulder shrug", "shoulders", ""),
        (84, "Head shake back and forth", "head", ""),
        (85, "Head nod up and down", "head", ""),
        (91, "Flash", "face", ""),
        (92, "Partial flash", "face", ""),
        (97, "Shiver or tremble", "head", ""),
        (98, "Fast up-down look", "eyes", ""),
    ),
]

AUS: dict[int, AUInfo] = {info.number: info for info in sorted(_ALL, key=lambda info: info.number)}

SIDES = {
    "L": "left",
    "R": "right",
    "A": "asymmetric, stronger on one side",
    "T": "top",
    "B": "bottom",
}
INTENSITIES = {"A": "trace", "B": "slight", "C": "marked", "D": "severe", "E": "maximum"}
LEVELS = {letter: float(level) for level, letter in enumerate(INTENSITIES, start=1)}  # 0: absent


def au_info(number: int) -> AUInfo:
    """The entry of an AU, or an error that says which numbers exist."""
    if isinstance(number, bool) or not isinstance(number, Integral) or number not in AUS:
        raise ValueError(f"AU {shown(number)} is not a FACS code; known are {', '.join(map(str, AUS))}")
    return AUS[number]


def au_name(number: int) -> str:
    """'AU12 Lip corner puller'."""
    info = au_info(number)
    return f"{info.label} {info.name}"


def is_muscle(number: int) -> bool:
    return bool(au_info(number).muscle)
