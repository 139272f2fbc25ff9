"""The demo page as a Space: the same page as `aullm demo` serves, for the model that AULLM_MODEL names.

AULLM_MODEL (and AULLM_REVISION) are variables of the Space; the folder aullm_hf/ lies beside this file.
"""

import os


def main() -> None:
    model = os.environ.get("AULLM_MODEL")
    if not model:
        raise SystemExit("AULLM_MODEL is not set; give this Space the variable AULLM_MODEL, such as YOU/REPOSITORY.")
    from aullm_hf.inference import AUDetector
    from aullm_hf.inference.demo.analysis import Demo, Limits
    from aullm_hf.inference.demo.page import launch

    detector = AUDetector(model, revision=os.environ.get("AULLM_REVISION"))
    limits = Limits(megabytes=20, seconds=20)  # strangers' clips on a shared machine
    launch(Demo(detector, limits), host=os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0"))


if __name__ == "__main__":
    main()
