"""The synthetic benchmark: parametric faces whose AUs move as muscles do."""

# Of the clips, raised whenever they change: label releases, tables and cards name it.
VERSION, WILD_VERSION = 2, 3


def release(difficulty: str) -> str:
    """The version of the clips of a difficulty, as it is written: v2."""
    return f"v{WILD_VERSION if difficulty == 'wild' else VERSION}"
