"""A process of somebody who has torch, transformers and peft, but not this package."""

import os
import subprocess
import sys
from pathlib import Path

import torch

CHECK = """
import sys
sys.path.insert(0, {site!r})
sys.argv = ["stranger", *{words!r}]
try:
    import aullm_hf
except ImportError:
    pass
else:
    raise SystemExit("the package can be imported: the test would prove nothing")
"""


def run_as_stranger(script: str, folder: Path, *words: object, **environment: str) -> None:
    """Run the script in `folder`, offline unless the environment says otherwise; what it prints as an error fails."""
    site = folder / "site"  # the installed libraries, without the path file that makes this package importable
    site.mkdir()
    for entry in Path(torch.__file__).parents[1].iterdir():
        if "aullm" not in entry.name.lower() and entry.suffix != ".pth":
            (site / entry.name).symlink_to(entry)
    home = {"HF_HOME": str(folder / "home"), "HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CHECK.format(site=str(site), words=list(map(str, words))) + script],
        cwd=folder,
        env={"PATH": os.environ["PATH"], **home, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
