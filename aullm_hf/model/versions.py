"""Which transformers this code, which travels with checkpoints, was tested with; any other is named once."""

import re

from transformers import __version__
from transformers.utils import logging

TESTED = ("5.19", "5.24")  # the oldest and the newest release


def warn_if_untested() -> None:
    """One line in the log of a process whose transformers this code does not know."""
    low, release, high = (tuple(map(int, re.findall(r"\d+", v)[:2])) for v in (TESTED[0], __version__, TESTED[1]))
    if not low <= release <= high:
        logging.get_logger("aullm_hf").warning_once(  # remote code may be imported under several names
            f"transformers {__version__} is unknown to this model's code, which was tested with "
            f"{TESTED[0]} to {TESTED[1]}: where it fails, or numbers matter, install one of those."
        )


__all__ = ["TESTED", "warn_if_untested"]
