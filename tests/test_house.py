"""The house as DESIGN.md describes it: who may import whom, how long a file may be, which names are taken."""

import ast
import configparser
import graphlib
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "aullm_hf"
LONGEST = 450  # lines of a file

# Room -> the rooms it may import. The modules at the top of the package import only what every reader of them may.
MAY_IMPORT = {
    "model": set(),
    "data": set(),
    "evaluation": set(),
    "baselines": {"model"},
    "inference": {"model", "data"},
    "training": {"model", "data", "baselines", "evaluation"},
    "commands": {"model", "data", "baselines", "evaluation", "inference", "training"},
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(path: Path, *, everywhere: bool) -> set[str]:
    """The modules that a file imports, by their whole names; without `everywhere`, those that run with the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree)) if everywhere else list(_run_at_import(tree))
    package = module_name(path) if path.name == "__init__.py" else module_name(path).rpartition(".")[0]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {name if (name := f"{base}.{alias.name}") in MODULES else base for alias in node.names}
    return found


def _run_at_import(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _run_at_import(child)


def room_of(module: str) -> str | None:
    """The folder of the package that a module lies in; None for the modules at its top, and for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "aullm_hf" and len(parts) > 1 and parts[1] in MAY_IMPORT else None


def test_every_folder_of_the_package_is_a_room_that_is_known_here():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set(MAY_IMPORT)


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imports_of(path, everywhere=False) & set(MODULES) - {name} for name, path in MODULES.items()}
    assert sum(map(len, graph.values())) > 300, "the imports were not read"
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_the_rooms_they_may(room):
    """Through the modules at the top of the package as well; inside functions too."""
    for name, path in MODULES.items():
        if room_of(name) != room:
            continue
        reached = imports_of(path, everywhere=True) & set(MODULES)
        for top in [module for module in reached if room_of(module) is None and module != "aullm_hf"]:
            reached |= imports_of(MODULES[top], everywhere=True) & set(MODULES)
        rooms = {room_of(module) for module in reached} - {None, room}
        assert rooms <= MAY_IMPORT[room], f"{name} imports {', '.join(sorted(rooms - MAY_IMPORT[room]))}"


@pytest.mark.parametrize("path", sorted([*PACKAGE.rglob("*.py"), *(ROOT / "training").rglob("*.py")]), ids=module_name)
def test_nothing_imports_a_script(path):
    """The parts of the benchmark are no scripts: `training/benchmark.py` is, and imports them."""
    scripts = {script.stem for script in (ROOT / "training").glob("*.py")}
    found = {name.split(".")[0] for name in imports_of(path, everywhere=True)}
    assert not found & (scripts | {"training"})


def test_the_training_script_imports_the_runner_and_nothing_else():
    tree = ast.parse((ROOT / "training" / "train.py").read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = [node for one in functions for node in ast.walk(one) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(inside) <= 1
    assert imports_of(ROOT / "training" / "train.py", everywhere=True) == {"aullm_hf.training.launch"}


@pytest.mark.parametrize("folder", ["training", "tests"])
def test_no_name_shadows_a_library(folder):
    """Both folders are on the import path while their files run."""
    names = {
        path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    taken = set(sys.stdlib_module_names) | set(packages_distributions())
    assert names and not names & taken


def test_no_file_is_longer_than_a_reader_is_patient():
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "training").rglob("*.py")]
    lines = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in files}
    assert {name for name, count in lines.items() if count > LONGEST} == set()
    assert lines["aullm_hf/model/modeling_aullm.py"] < 400, "the model is read in one sitting"


def test_every_folder_of_the_package_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split())
    recipes = {"aullm_hf.recipes"} | {
        f"aullm_hf.recipes.{path.parent.name}" for path in (ROOT / "hub_configs").glob("*/*.yaml")
    }
    assert listed == {module_name(path) for path in PACKAGE.rglob("__init__.py")} | recipes


def test_tests_name_no_folder_of_a_machine():
    absolute = re.compile(r"""['"]/(nonexistent|tmp|root|home)/""")
    files = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert not [path.name for path in files if absolute.search(path.read_text(encoding="utf-8"))]
