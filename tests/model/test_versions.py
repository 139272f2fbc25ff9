"""A transformers that the travelling code does not know is named in one line."""

import configparser
import re
from pathlib import Path

import pytest
from transformers.utils import logging

from aullm_hf.model import AULLMVideoProcessor
from aullm_hf.model.versions import TESTED, warn_if_untested
from support import processes
from support.tiny import tiny_model

ROOT = Path(__file__).parents[2]


def release(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))


def test_the_versions_that_are_installed_with_the_package_are_tested_ones():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    (bound,) = re.findall(r"^transformers>=([\d.]+)", setup["options"]["install_requires"], re.MULTILINE)
    (pinned,) = re.findall(r"^transformers==([\d.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    for version in (bound, pinned):
        assert release(TESTED[0]) <= release(version) <= release(TESTED[1])


@pytest.mark.parametrize(
    ("version", "unknown"),
    [(TESTED[0], False), (f"{TESTED[1]}.7", False), ("4.57.1", True), ("5.9.0", True), ("6.0.0.dev0", True)],
)
def test_an_unknown_version_is_named_once(version, unknown, monkeypatch, caplog):
    logging.warning_once.cache_clear()
    monkeypatch.setattr("aullm_hf.model.versions.__version__", version)
    with caplog.at_level("WARNING"):
        warn_if_untested()
        warn_if_untested()
    lines = [record.message for record in caplog.records]
    assert len(lines) == unknown
    if unknown:
        assert lines[0].startswith(f"transformers {version} is unknown to this model's code, which was tested with ")


STRANGER = """
import sys
from transformers import AutoModel, AutoProcessor
sys.modules["transformers"].__version__ = "9.9.9"
AutoProcessor.from_pretrained({0!r}, trust_remote_code=True)
AutoModel.from_pretrained({0!r}, trust_remote_code=True)
assert "aullm_hf" not in sys.modules, "it was not the code that travels with the checkpoint"
"""


def test_remote_code_says_it_in_one_line(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "fold")
    AULLMVideoProcessor.for_config(model.config).save_pretrained(tmp_path / "fold")
    done = processes.run(processes.python, STRANGER.format(str(tmp_path / "fold")))
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "9.9.9 is unknown" in line]
    assert len(lines) == 1, done.stderr
