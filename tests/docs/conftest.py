"""A folder in which the commands of the documents work, made once."""

import shutil
from pathlib import Path

import pytest

from aullm_hf.data.synthetic.clips import synthetic_clips
from support.documents import ROOT, blocks_of
from support.workplace import furnish


@pytest.fixture(scope="session")
def furnished(tmp_path_factory) -> tuple[Path, Path]:
    """The folder with everything, and the cache of its clips. Tests get copies of the folder."""
    folder, cache = tmp_path_factory.mktemp("furnished"), tmp_path_factory.mktemp("cache")
    (table,) = [block.text for block in blocks_of(ROOT / "docs/guides/your-data.md") if block.language == "csv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
        furnish(folder, table)
    return folder, cache


@pytest.fixture
def workplace(furnished, tmp_path, monkeypatch) -> Path:
    """The current folder of a page: a copy, so that nothing that it writes is seen by another."""
    folder, cache = furnished
    shutil.copytree(folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", cache)
    monkeypatch.setitem(synthetic_clips.__kwdefaults__, "clips_per_subject", 5)  # of load_clips("synthetic")
    return Path.cwd()
