"""The core tests with the oldest versions that setup.cfg allows: `make lower-bounds`.

Makes an environment, pins in it every requirement of the base install and of the extras below at its lower bound
(what they need in turn stays as constraints.txt has it), and runs the tests there. Prints the versions, then the
tests' own summary.
"""

import argparse
import configparser
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("data", "video", "viz", "train", "tracking", "test")
CORE = ("tests/model", "tests/evaluation", "tests/data", "tests/test_hub.py", "tests/training/test_resuming.py",
        "tests/training/test_fold.py", "tests/training/test_push.py",
        "tests/inference/test_detecting.py")  # fmt: skip
# Pinned in constraints.txt, and capped lower by an old release of what is bounded.
CAPPED = ("dill", "fsspec", "multiprocess")


def bounds() -> dict[str, str]:
    """Package -> the oldest version allowed, of the base install and the extras."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        lines += setup["options.extras_require"][extra].splitlines()
    return {found[1]: found[2] for line in lines if (found := re.match(r"([A-Za-z0-9_-]+)>=([0-9.]+)", line))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv-lower-bounds")
    parser.add_argument("tests", nargs="*", default=CORE)
    options = parser.parse_args()
    oldest = bounds()
    freed = {_name(name) for name in (*oldest, *CAPPED)}
    kept = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if _name(line) not in freed]
    venv.create(options.folder, with_pip=True)
    python = options.folder / "bin" / "python"
    (options.folder / "constraints.txt").write_text("\n".join(kept))
    pins = [f"{name}=={version}" for name, version in oldest.items()]
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", options.folder / "constraints.txt", *pins]
    subprocess.run(install, check=True)
    print("\n".join(pins))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}  # the package itself is not installed there
    return subprocess.run([python, "-m", "pytest", "-q", *options.tests], cwd=ROOT, env=environment).returncode


def _name(requirement: str) -> str:
    return re.split(r"[=<> ]", requirement)[0].lower().replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
