"""Everything is run where unpickling fails: clips, training that is stopped and goes on, the Hub, inference."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
TOKEN = "hf_plantedtokenthatnobodymaysee"


def witnessed(folder, **environment) -> tuple[dict, str]:
    path = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(TESTS / "support" / "witnessed.py"), str(folder)],
        env=env | environment, capture_output=True, text=True, timeout=900, cwd=folder,
    )  # fmt: skip
    assert "WITNESSED" in done.stdout, done.stderr[-3000:]
    return json.loads(done.stdout.rpartition("WITNESSED")[2]), done.stdout + done.stderr


def test_everything_runs_without_a_pickle_and_tells_nobody(tmp_path):
    seen, said = witnessed(tmp_path)
    assert seen["failure"] == "", seen["failure"]
    assert seen["unpickled"] == [] and seen["classes"] == [], seen
    assert seen["connected"] == []
    known = {"git", "ldconfig", "fc-list"}  # ours; ctypes' and matplotlib's, which look for libraries and fonts
    assert set(seen["started"]) <= known, "another program was started"
    assert seen["written"] == [], "something was written outside of the folders it was given"
    assert seen["published"] > 20 and seen["told"] == {"token": 0, "folder": 0, "home": 0}, seen["told"]
    assert TOKEN not in said
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    pickles = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
    assert len(files) > 50 and not [path for path in files if path.suffix in pickles]


@pytest.mark.slow
def test_the_witnesses_see(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.system, ("true",)

    (tmp_path / "planted.pt").write_bytes(pickle.dumps(Payload()))
    seen, _ = witnessed(tmp_path, PLANT="1")
    assert "torch.load was called" in seen["failure"] and len(seen["unpickled"]) == 1
