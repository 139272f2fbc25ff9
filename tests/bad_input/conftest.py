"""How many values were tried and what became of them, after the tests (of one process: not with -n)."""

from support import refusals


def pytest_terminal_summary(terminalreporter):
    if tally := refusals.TALLY:
        said = f"{tally['refused']:,} refused by name, {tally['answered']:,} answered"
        terminalreporter.write_line(f"bad input: {tally.total():,} calls with wrong values, {said}")
