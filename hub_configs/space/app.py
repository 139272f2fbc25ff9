"""The demo page as a Space: the same page as `aullm demo` serves, for the model that AULLM_MODEL names.

AULLM_MODEL (and AULLM_REVISION) are variables of the Space; the folder aullm_hf/ lies beside this file.
"""

import os

from aullm_hf.inference import AUDetector
from aullm_hf.inference.demo import Demo, Limits
from aullm_hf.inference.demo_page import launch

MODEL = os.environ.get("AULLM_MODEL")
LIMITS = Limits(megabytes=20, seconds=20)  # strangers' clips on a shared machine

if __name__ == "__main__":
    if not MODEL:
        raise SystemExit("AULLM_MODEL is not set; give this Space the variable AULLM_MODEL, such as me/casme2-aullm.")
    detector = AUDetector(MODEL, revision=os.environ.get("AULLM_REVISION"))
    launch(Demo(detector, LIMITS), host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"))
