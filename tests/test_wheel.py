"""The package as it is installed from a wheel: it brings what the checkout has beside it, and needs no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from support.hub_server import HubServer
from support.videos import noise, write_folder, write_video

ROOT = Path(__file__).parents[1]
BESIDE = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "model_card_template.md")
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"

pytestmark = pytest.mark.slow


def run(*command: object, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built with the build backend alone, without a network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("aullm_hf", "hub_configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE:
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-c", BUILD, out, folder=source)
    return next(out.glob("aullm_hf-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """An environment with the wheel in it. It sees the libraries of this one, but not the checkout that is installed
    here as editable: the path file of that is read in a site folder alone.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder)
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(site, "libraries.pth").write_text("\n".join(libraries), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, folder=folder)
    return folder


def test_the_wheel_holds_the_package_the_recipes_and_the_template(wheel):
    files = set(zipfile.ZipFile(wheel).namelist())
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "aullm_hf").rglob("*") if path.is_file()}
    recipes = [*(ROOT / "hub_configs").rglob("*.yaml"), *(ROOT / "hub_configs").rglob("*.json")]
    wanted = {name for name in package if "__pycache__" not in name}
    wanted |= {f"aullm_hf/recipes/{path.relative_to(ROOT / 'hub_configs').as_posix()}" for path in recipes}
    beside = {name for name in files if ".dist-info/" in name or ".data/" in name}
    assert wanted - files == set() and "aullm_hf/py.typed" in files and "aullm_hf/recipes/quickstart.yaml" in files
    assert {name for name in files - wanted - beside if not name.endswith(".md")} == set()
    assert sum(name.endswith("model_card_template.md") for name in files) == 1


CARD = """
import sys
from pathlib import Path
import aullm_hf
assert Path(aullm_hf.__file__).is_relative_to(sys.argv[1]), aullm_hf.__file__
from aullm_hf.evaluation.cards import fold_card, template_path
assert template_path().is_relative_to(sys.argv[1]), template_path()
info = {"aus": [1, 4], "data": {"datasets": ["synthetic"], "licensed": False, "n_clips": 2, "n_subjects": 1}}
card = fold_card(info, "run", {"seed": 0, "fold": "a", "test_subjects": ["a"]}, repo_id="me/x", branch="fold-a")
assert "AU4" in str(card)
"""


def test_cards_are_made_however_it_is_installed(wheel, tmp_path):
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for way, site in (("--target", "."), ("--prefix", f"lib/{python}/site-packages")):
        target = tmp_path / way.strip("-")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
        run(*install, way, target, wheel, folder=tmp_path)
        run(sys.executable, "-c", CARD, target, folder=tmp_path, PYTHONPATH=str(target / site))


def test_a_run_from_its_training_to_a_prediction_by_others(environment, tmp_path):
    """In an empty folder, with nothing on the path but what was installed."""
    path = os.pathsep.join((str(environment / "bin"), "/usr/bin", "/bin"))
    own = {"PATH": path, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_test"}

    def aullm(*words: object, **more: str) -> str:
        return run(environment / "bin" / "aullm", *words, folder=tmp_path, **{**own, **more}).stdout

    where = "import aullm_hf; print(aullm_hf.__file__)"
    assert run(environment / "bin" / "python", "-c", where, folder=tmp_path, **own).stdout.startswith(str(environment))
    small = ("--subjects", 3, "--clips_per_subject", 6, "--num_train_epochs", 1, "--aus", 1, 4, 12)
    aullm("train", "quickstart", *small, "--final_fit")
    quickstart = tmp_path / "runs" / "quickstart"
    assert {"predictions.parquet", "results.json", "README.md"} <= {file.name for file in quickstart.iterdir()}
    assert "AU12" in aullm("evaluate", "runs/quickstart", "--resamples", 20)

    frames = noise(12)
    write_video(tmp_path / "clip.avi", frames, rate=50)
    write_folder(tmp_path / "clips" / "one", frames)
    (tmp_path / "clips" / "clips.csv").write_text("clip,subject,aus\none,a,4+12\n")
    assert "all clips can be used" in aullm("data", "check", "own", "clips")
    predict = ("predict", "clip.avi", "--no_face", "--out")
    aullm(*predict, "here.csv", "--model", "runs/quickstart/final/checkpoint")
    with HubServer(token="hf_test") as server:
        hub = {"HF_ENDPOINT": server.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub")}
        aullm("push", "runs/quickstart", "--repo", "me/quickstart", **hub)
        aullm(*predict, "there.csv", "--model", "me/quickstart", **hub)
    here, there = ((tmp_path / name).read_text().splitlines() for name in ("here.csv", "there.csv"))
    columns = [at for at, name in enumerate(here[0].split(",")) if name.startswith(("p_", "active_"))]
    assert len(here) == len(there) == 2 and len(columns) == 6
    assert [here[1].split(",")[at] for at in columns] == [there[1].split(",")[at] for at in columns]
