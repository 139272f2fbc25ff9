"""What no line of the package does: draw from random numbers that everybody shares."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "aullm_hf"
OF_A_GENERATOR = {"default_rng", "Generator", "SeedSequence", "PCG64", "BitGenerator"}


@pytest.mark.parametrize("room", ["data", "evaluation"])
def test_no_clip_and_no_figure_depends_on_numpys_shared_random_numbers(room):
    """Whoever calls keeps the stream, and two threads cannot take each other's draws."""
    shared = []
    for path in sorted((PACKAGE / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("np.random", "numpy.random"):
                shared += [f"{path.name}:{node.lineno} {node.attr}"] * (node.attr not in OF_A_GENERATOR)
    assert not shared
