"""From what a caller names to the clips that a model sees: sources, frames, windows, faces, crops."""
