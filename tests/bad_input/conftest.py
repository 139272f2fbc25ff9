"""What every test of wrong values shares: a folder to be in, and a count of what became of the values."""

import pytest

from support import refusals


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Some values are paths, and some of those can be written to."""
    folder = tmp_path / "some" / "folder"  # so that ../../x is inside too
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)


def pytest_terminal_summary(terminalreporter):
    """Of one process: not with -n."""
    if tally := refusals.TALLY:
        said = f"{tally['refused']:,} refused by name, {tally['answered']:,} answered"
        terminalreporter.write_line(f"bad input: {tally.total():,} calls with wrong values, {said}")
