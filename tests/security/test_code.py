"""What the code could do, read from its syntax tree. The checker is itself checked: it finds what is planted."""

import ast
from pathlib import Path

import pytest

import aullm_hf
from support.syntax import offences

PACKAGE = Path(aullm_hf.__file__).parent
ROOT = PACKAGE.parent
TRAVELLERS = sorted(path for path in (PACKAGE / "model").iterdir() if path.suffix == ".py")
SIBLINGS = {path.stem for path in TRAVELLERS}
WHOLE = [path for folder in ("aullm_hf", "training", "hub_configs") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_room_that_travels_is_flat_and_holds_code_alone():
    others = {path.name for path in (PACKAGE / "model").iterdir()} - {path.name for path in TRAVELLERS}
    assert others <= {"__pycache__", "README.md"}
    assert len(TRAVELLERS) > 10


@pytest.mark.parametrize("path", TRAVELLERS, ids=lambda path: path.name)
def test_what_travels_to_the_hub_opens_and_runs_nothing(path):
    assert offences(path.read_text(), SIBLINGS) == []


PLANTED = """
import pickle
import subprocess as torch
from socket import socket
import torch.hub
def late(): import ctypes
import os.path as path
import os as quiet
from os import system
from importlib import import_module
from torch import load
from torch.serialization import load as f
from . import losses
from ..data import tables
from .elsewhere import x
import sklearn
open("x")
reader = open
exec("1")
eval("1")
compile("1", "", "exec")
__import__("pickle")
__builtins__["open"]
globals()["open"]
torch.load("x")
torch.save(1, "x")
torch.jit.load("x")
torch.hub.load("x")
torch.classes.load_library("x")
os.system("x")
os.remove("x")
os.environ["HF_TOKEN"]
Path("x").read_text()
Path("x").write_bytes(b"")
Path("x").open()
np.load("x", allow_pickle=True)
np.fromfile("x")
np.memmap("x")
array.tofile("x")
importlib.import_module("pickle")
importlib.import_module(name)
getattr(os, name)
getattr(np, "load")
getattr(torch, "load")
AutoModel.from_pretrained("x", trust_remote_code=True)
AutoModel.from_pretrained("x", use_safetensors=False)
().__class__.__base__.__subclasses__()
function.__globals__
x["__globals__"]
def __reduce__(self): return self.__reduce__
"""


@pytest.mark.parametrize("line", PLANTED.strip().splitlines())
def test_the_checker_finds_what_is_planted(line):
    assert offences(line, SIBLINGS), f"nobody sees what is wrong with: {line}"
    assert offences(f"class A:\n    def f(self):\n        if self:\n            {line}\n", SIBLINGS)


def test_the_checker_lets_honest_code_pass():
    honest = (
        "import importlib\nimport os\nfrom .losses import asymmetric_loss\nfrom safetensors.torch import load_file\n"
        "av = importlib.import_module('av')\nav.open(os.fspath(path))\nmodel.eval()\nre.compile('x')\n"
        "model.load_state_dict({})\nload_file(file)\ngetattr(self, name)\nAutoModel.from_pretrained('x')\n"
    )
    assert offences(honest, SIBLINGS) == []


RUNS_OTHER_PROGRAMS = {"training/benchmarks/files.py", "training/benchmarks/gpu.py", "training/benchmarks/loso.py",
                       "training/benchmarks/waits.py", "aullm_hf/training/run_info.py", "aullm_hf/training/sweep.py",
                       "aullm_hf/real_llm.py"}  # git, pip and themselves  # fmt: skip
CALLS_THE_C_LIBRARY = {"aullm_hf/training/cpu.py"}  # mallopt, with numbers that stand there
SAVE_AS_THE_REFERENCE_DOES = {"training/benchmarks/files.py", "training/benchmarks/reference.py"}  # to be timed
FORBIDDEN_MODULES = {"pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "joblib", "ctypes", "telnetlib"}
UNPICKLERS = {"torch.load", "torch.save", "np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle", "yaml.load",
              "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "torch.jit.load", "torch.hub.load", "os.system",
              "os.popen"}  # fmt: skip


def found_in(source: str, name: str) -> list[str]:
    """What no file of the repository's own code may do."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            roots = {module.split(".")[0] for module in modules}
            spared = {"ctypes"} if name in CALLS_THE_C_LIBRARY else set()
            found += [f"imports {root}" for root in sorted(roots & FORBIDDEN_MODULES - spared)]
            found += ["imports subprocess"] * ("subprocess" in roots and name not in RUNS_OTHER_PROGRAMS)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            spared = called == "torch.save" and name in SAVE_AS_THE_REFERENCE_DOES
            found += [f"calls {called}"] * (called in UNPICKLERS | {"exec", "eval", "__import__"} and not spared)
            for keyword in node.keywords:
                said = f"{keyword.arg}={ast.unparse(keyword.value)}"
                unsafe = ("shell=True", "allow_pickle=True", "weights_only=False", "trust_remote_code=True")
                found += [f"says {said}"] * (said in (*unsafe, "verify=False"))
    return found


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_here_unpickles_evaluates_or_trusts(path):
    assert found_in(path.read_text(), path.relative_to(ROOT).as_posix()) == []


@pytest.mark.parametrize(
    "planted",
    ["import pickle", "from dill import loads", "import subprocess", "torch.load(x)", "np.load(x)", "yaml.load(x)",
     "pd.read_pickle(x)", "eval(x)", "run(x, shell=True)", "f(trust_remote_code=True)", "os.system(x)",
     "get(x, verify=False)"],
)  # fmt: skip
def test_the_second_checker_finds_what_is_planted(planted):
    assert found_in(planted, "training/x.py")


def test_yaml_is_read_by_safe_load_alone():
    readers = [path for path in WHOLE if "import yaml" in path.read_text()]
    assert readers
    for path in readers:
        calls = {
            ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        }
        made_by_yaml = {call for call in calls if call.startswith("yaml.")}
        assert made_by_yaml <= {"yaml.safe_load", "yaml.safe_dump", "yaml.compose"}  # compose makes nodes, no objects
