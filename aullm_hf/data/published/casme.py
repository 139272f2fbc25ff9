"""CASME: 19 subjects with clips, 60 frames per second, two cameras (1280 x 720 and 640 x 480).

Published fixes of this table are known by row number only and were made for another copy, so none is applied: a row
whose frames do not fit its folder is listed, and the folder decides.
"""

import re

from ..reading.records import Layout
from .casme2 import subject_of

LAYOUT = Layout(
    name="casme",
    title="CASME",
    fps=60.0,
    columns={
        "subject": ("Subject",),
        "clip": ("Filename",),
        "onset": ("OnsetF",),
        "apex": ("ApexF1",),
        "offset": ("OffsetF",),
        "aus": ("AU", "AUs"),
        "emotion": ("Emotion",),
    },
    subject_folder=re.compile(r"sub\d{1,3}", re.IGNORECASE),
    subject_of=subject_of,
    table_names=("casme.xlsx",),
    request="http://casme.psych.ac.cn/casme/",
)
