"""The package as a whole: its public names, and how light it is to import."""

import resource
import subprocess
import sys

import pytest

import aullm_hf


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
    """A fresh process, the interpreter's own start included, in a processor's seconds: the machine may be shared."""

    def start() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(start() for _ in range(3)) < limit


def test_public_names_resolve():
    for name in ("AULLMConfig", "AULLMModel", "AULLMForAUDetection", "AULLMVideoProcessor", "build_tiny_llm"):
        assert getattr(aullm_hf, name).__name__ == name
    assert set(aullm_hf._HOME_OF) <= set(dir(aullm_hf))
    with pytest.raises(AttributeError, match="no public name 'detect'"):
        _ = aullm_hf.detect


@pytest.mark.parametrize("name", sorted(aullm_hf._HOME_OF))
def test_every_public_name_is_there(name):
    assert callable(getattr(aullm_hf, name))
