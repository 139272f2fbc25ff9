"""Small hand-made trees of CASME II and SAMM, one clip per line, for tests that break them in one place."""

from pathlib import Path

import cv2
import numpy as np
from openpyxl import Workbook

CASME2_HEADER = [
    "Subject",
    "Filename",
    None,
    "OnsetFrame",
    "ApexFrame",
    "OffsetFrame",
    None,
    "Action Units",
    "Estimated Emotion",
]
CASME2_ROWS = [
    ["01", "EP02_01f", None, 46, 50, 55, None, "L1+L2", "happiness"],
    ["01", "EP01_2", None, 8, 10, 12, None, 12, "surprise"],
    ["02", "EP06_02_01", None, 96, 99, 104, None, "4+9+L10+14", "disgust"],
]
SAMM_HEADER = [
    "Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame", "Duration", "Micro",
    "Action Units", "Estimated Emotion", "Objective Classes", "Notes",
]  # fmt: skip
SAMM_ROWS = [
    ["006", "006_1_2", 1, 5562, 5565, 5570, "=SUM(F15-D15)+1", "Micro - 1/2", "R14", "Anger", 4, None],
    ["007", "007_6_1", 6, 118, 120, 124, "=SUM(F16-D16)+1", "Micro - 1/2", "(R6 or R12)+R15", "Other", 7, "Blinks"],
    ["009", "009_1_1", 1, 9, 12, 15, "=SUM(F17-D17)+1", "Micro - 1/2", "ref(7B)+43", "Other", 7, None],
]


def write_xlsx(path: Path, rows: list[list]) -> None:
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("Sheet2")
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def write_frames(folder: Path, name: str, numbers, size=(34, 28), seed: int = 0) -> None:
    """JPEG frames `name.format(number)` of (height, width) `size`."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    base = cv2.resize(rng.integers(40, 216, (6, 6), dtype=np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), np.roll(base, number % 5, axis=1))


def casme2_tree(root: Path, rows=None, header=None, name="CASME2-coding-20190701.xlsx") -> Path:
    """`Cropped/Cropped/sub01/EP02_01f/reg_img46.jpg`, frames of onset..offset."""
    rows = CASME2_ROWS if rows is None else rows
    write_xlsx(root / name, [CASME2_HEADER if header is None else header, *rows])
    for at, (subject, clip, _, onset, _, offset, *_) in enumerate(CASME2_ROWS):
        folder = root / "Cropped" / "Cropped" / f"sub{subject}" / clip
        write_frames(folder, "reg_img{}.jpg", range(onset, offset + 1), seed=at)
    return root


def samm_tree(root: Path, rows=None) -> Path:
    """`SAMM/006/006_1_2/006_05562.jpg`, with two paddings."""
    rows = SAMM_ROWS if rows is None else rows
    preamble = [["SAMM Micro-Expressions"], *[[None]] * 11, ['Symbol Key: "/" = or']]
    write_xlsx(root / "SAMM_Micro_FACS_Codes_v2.xlsx", [*preamble, SAMM_HEADER, *rows])
    for at, (subject, clip, _, onset, _, offset, *_) in enumerate(SAMM_ROWS):
        padding = "{:05d}" if at == 0 else "{:04d}"
        write_frames(
            root / "SAMM" / subject / clip,
            f"{subject}_{padding}.jpg",
            range(onset, offset + 1),
            size=(26, 38),
            seed=at,
        )
    return root
