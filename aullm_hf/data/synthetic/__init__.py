"""The synthetic benchmark: parametric faces whose AUs move as muscles do."""

VERSION = 2  # of the clips: raised whenever they change; fingerprints, label releases, tables and cards name it
RELEASE = f"synthetic v{VERSION}"
