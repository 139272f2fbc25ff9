"""A folder in which the commands of the documents work, made once."""

import shutil
from pathlib import Path

import pytest

from support.documents import ROOT, blocks_of
from support.workplace import furnish


@pytest.fixture(scope="session")
def furnished(tmp_path_factory):
    """The folder with everything, made once; tests get copies."""
    folder = tmp_path_factory.mktemp("furnished")
    (table,) = [block.text for block in blocks_of(ROOT / "docs/guides/your-data.md") if block.language == "csv"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        furnish(folder, table)
        yield folder


@pytest.fixture
def workplace(furnished, tmp_path, monkeypatch):
    """The current folder of a page: a copy, so that nothing that it writes is seen by another."""
    shutil.copytree(furnished, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    return Path.cwd()
