import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).with_name("audit.py")


@pytest.fixture
def audit():
    spec = importlib.util.spec_from_file_location("audit", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pins_have_no_hole_that_is_known(audit):
    pins = audit.pins_of(audit.CONSTRAINTS)
    assert audit.holes(pins) == [] and set(audit.ADVISORIES) <= set(pins), "an advisory of nothing that is pinned"


def test_a_hole_and_a_stranger_are_found_and_end_it(audit, tmp_path, monkeypatch, capsys):
    old = tmp_path / "constraints.txt"
    old.write_text("# a comment\nPillow==9.0.0\ntorch==2.5.1  # old\npytest==0.0.1\n")
    monkeypatch.setattr(audit, "CONSTRAINTS", old)
    monkeypatch.setattr(audit, "find_spec", lambda name: None)
    assert audit.main() == 1
    said = capsys.readouterr()
    assert "pip-audit is not installed; 2 of 3 pins were held against a table of published holes of 20" in said.out
    assert "pillow==9.0.0 has CVE-2025-48379" in said.err and "torch==2.5.1 has CVE-2025-32434" in said.err
    assert "is installed, 0.0.1 is pinned" in said.err


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"dependencies": [{"name": "x", "version": "1", "vulns": [{"id": "PYSEC-1"}]}]}', ["x==1 has PYSEC-1"]),
        ('{"dependencies": [{"name": "x", "version": "1", "vulns": []}]}', []),
        ("", None),
        ("ConnectionError", None),
    ],
)
def test_pip_audit_is_asked_where_it_is_there(audit, answer, found, monkeypatch):
    """Its answer counts; no answer, and the table does, and it is said."""
    monkeypatch.setattr(audit, "find_spec", lambda name: object())
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: type("Done", (), {"stdout": answer})())
    assert audit.asked(audit.CONSTRAINTS) == found


def test_no_answer_in_time_is_no_answer(audit, monkeypatch):
    def late(*_, **__):
        raise audit.subprocess.TimeoutExpired("pip-audit", 1)

    monkeypatch.setattr(audit, "find_spec", lambda name: object())
    monkeypatch.setattr(audit.subprocess, "run", late)
    assert audit.asked(audit.CONSTRAINTS) is None
