"""The checkpoint that comes with the package: where it lies, and what it is called in tables."""

from pathlib import Path

PACKAGED = Path(__file__).parent / "weights"
PACKAGED_NAME = "aullm_hf/weights"  # wherever the package is installed


def packaged_checkpoint() -> Path:
    """Its folder, or an error that says what to do without it."""
    if not (PACKAGED / "config.json").is_file():
        raise FileNotFoundError(
            "no model is named, and this copy of the package came without a checkpoint of its own: name one (--model, "
            "or model=), or install the package from its wheel"
        )
    return PACKAGED


__all__ = ["PACKAGED", "PACKAGED_NAME", "packaged_checkpoint"]
