"""The package as a whole: light to import, and its rooms apart. What its code may do is in security/test_code.py."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import aullm_hf

ROOT = Path(aullm_hf.__file__).parent


def test_rooms_know_only_whom_they_may():
    forbidden = {
        "model": {"data", "evaluation", "inference", "baselines", "hub"},
        "data": {"model", "evaluation", "inference", "baselines", "hub"},
        "evaluation": {"model", "data", "inference", "baselines"},
        "baselines": {"data", "evaluation", "inference", "hub"},
    }
    for room, others in forbidden.items():
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    name = node.module or ""
                    target = name.removeprefix("aullm_hf.").split(".")[0]
                    outside = name.startswith("aullm_hf.") or node.level > 1
                    assert not (outside and target in others), f"{path.relative_to(ROOT)} imports {name}"
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                    assert not any(name.split(".")[0] == "training" for name in names), path


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_imports_neither_torch_nor_transformers():
    heavy = run("import sys, aullm_hf; print([m for m in ('torch', 'transformers', 'datasets') if m in sys.modules])")
    assert heavy == "[]"


HELP = """
import sys
from aullm_hf.commands.main import main
try:
    main(["--help"])
except SystemExit:
    assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(("code", "limit"), [("import aullm_hf", 0.2), (HELP, 0.5)], ids=["import", "aullm --help"])
def test_a_cold_start_is_quick(code, limit):
    """A fresh process, the interpreter's own start included; the best of five, for a machine that is shared."""

    def start() -> float:
        begun = time.perf_counter()
        run(code)
        return time.perf_counter() - begun

    assert min(start() for _ in range(5)) < limit


def test_public_names_resolve():
    for name in ("AULLMConfig", "AULLMModel", "AULLMForAUDetection", "AULLMVideoProcessor", "build_tiny_llm"):
        assert getattr(aullm_hf, name).__name__ == name
    assert set(aullm_hf._HOME_OF) <= set(dir(aullm_hf))
    with pytest.raises(AttributeError, match="no public name 'detect'"):
        _ = aullm_hf.detect


@pytest.mark.parametrize("name", sorted(aullm_hf._HOME_OF))
def test_every_public_name_is_there(name):
    assert callable(getattr(aullm_hf, name))
