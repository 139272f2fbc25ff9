"""The synthetic benchmark: parametric faces whose AUs move as muscles do."""
