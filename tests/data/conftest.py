"""Shared by the tests of clips: no progress bars, a private cache, small trees made once."""

import shutil
from pathlib import Path

import datasets
import pytest

from support import clip_trees


@pytest.fixture(autouse=True, scope="session")
def quiet():
    datasets.disable_progress_bars()


@pytest.fixture(scope="session")
def _trees(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    clip_trees.casme2_tree(root / "casme2")
    clip_trees.samm_tree(root / "samm")
    return root


@pytest.fixture
def casme2(_trees, tmp_path) -> Path:
    """A copy of the small CASME II tree that a test may break."""
    return Path(shutil.copytree(_trees / "casme2", tmp_path / "casme2"))


@pytest.fixture
def samm(_trees, tmp_path) -> Path:
    return Path(shutil.copytree(_trees / "samm", tmp_path / "samm"))


@pytest.fixture
def load(tmp_path):
    """`load_clips` with a cache of its own and without the face step."""
    from aullm_hf import load_clips

    def call(*args, **options):
        return load_clips(*args, **{"face": "none", "cache_dir": tmp_path / "cache", "workers": 1, **options})

    return call
