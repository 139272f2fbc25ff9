"""The package as it is installed from a wheel: what the checkout has beside it, the wheel brings."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

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
print("a card of", len(str(card)), "letters")
"""


@pytest.mark.slow
def test_cards_are_made_from_an_installed_wheel(tmp_path):
    source = tmp_path / "source"
    names = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "model_card_template.md")
    shutil.copytree(ROOT / "aullm_hf", source / "aullm_hf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in names:
        shutil.copy(ROOT / name, source / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=source, check=True, capture_output=True, timeout=120
    )
    (wheel,) = tmp_path.glob("aullm_hf-*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert sum(name.endswith("model_card_template.md") for name in files) == 1
    assert not [name for name in files if name.startswith(("tests", "training"))]

    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for way, site in (("--target", "."), ("--prefix", f"lib/{python}/site-packages")):
        target = tmp_path / way.strip("-")
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
        subprocess.run([*install, way, str(target), str(wheel)], check=True, capture_output=True, timeout=120)
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(target / site), "HF_HUB_OFFLINE": "1"}
        made = subprocess.run(
            [sys.executable, "-c", CARD, str(target)],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr[-2000:]
