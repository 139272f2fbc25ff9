"""The site is built strictly: a broken link, an anchor or a documented name that is gone fails."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from support.documents import ROOT


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mkdocs") is None, reason="needs the extra `docs`")
def test_the_site_is_built(tmp_path):
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    home = (tmp_path / "site" / "index.html").read_text()
    assert "pictures/overview.png" in home and 'href="guides/first-steps.html"' in home
    shown = (tmp_path / "site" / "notebooks" / "first-look.html").read_text()
    assert "Nose wrinkler" in shown and "data:image/png" in shown  # it was run
    assert "https://fonts" not in home  # nothing is fetched from elsewhere
