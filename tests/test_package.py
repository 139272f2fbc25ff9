"""The package as a whole: its public names, and how light it is to import."""

import resource
import subprocess
import sys

import pytest

import aullm_hf
from support.videos import noise, write_video


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
    assert not sys.modules.keys() & {"torch", "transformers", "numpy", "pandas"}
"""

# What other verbs are for, and what only some models have: transformers itself imports more than predicting needs.
NOT_TO_PREDICT = {"peft", "datasets", "sklearn", "matplotlib", "gradio", "onnx", "onnxruntime", "openpyxl", "evaluate"}
PREDICT = """
import sys
from aullm_hf.commands.main import main
assert main(sys.argv[1:]) == 0
print(*sorted(name for name in sys.modules if "." not in name))
"""


def test_predicting_imports_only_what_it_needs(tmp_path):
    clip = write_video(tmp_path / "clip.mkv", noise(12))
    words = [sys.executable, "-c", PREDICT, "predict", clip, "--no_face", "--out", tmp_path / "rows.csv"]
    imported = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert "torch" in imported and not imported & NOT_TO_PREDICT


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
