"""Are the pinned dependencies free of published holes? Part of `make quality`; says which of two ways was taken.

    python tests/audit.py

pip-audit asks the advisory databases, where it is installed and they can be reached. Elsewhere the pins of
constraints.txt are held against the table below, which knows the holes of its own day and no later ones. Either way,
what is installed has to be what is pinned: other versions were not looked at.
"""

import json
import subprocess
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import Version

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PATIENCE = 120  # seconds for pip-audit
DAY = "2025-12-31"  # of the table
# The first version without the hole, and the hole's name. Of several holes in a package the one that was closed last.
ADVISORIES = {
    "aiohttp": ("3.12.14", "CVE-2025-53643"),
    "brotli": ("1.2.0", "CVE-2025-6176"),
    "certifi": ("2024.7.4", "CVE-2024-39689"),
    "fastapi": ("0.109.1", "CVE-2024-24762"),
    "filelock": ("3.20.1", "CVE-2025-68146"),
    "fonttools": ("4.60.2", "CVE-2025-66034"),
    "gradio": ("5.11.0", "CVE-2025-23042"),
    "h11": ("0.16.0", "CVE-2025-43859"),
    "httpx": ("0.23.0", "CVE-2021-41945"),
    "idna": ("3.7", "CVE-2024-3651"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "joblib": ("1.2.0", "CVE-2022-21797"),
    "markdown-it-py": ("2.2.0", "CVE-2023-26303"),
    "mpmath": ("1.3.0", "CVE-2021-29063"),
    "numpy": ("1.22.0", "CVE-2021-41496"),
    "opencv-python-headless": ("4.8.1.78", "CVE-2023-4863"),
    "openpyxl": ("2.4.2", "CVE-2017-5992"),
    "orjson": ("3.9.15", "CVE-2024-27454"),
    "pillow": ("11.3.0", "CVE-2025-48379"),
    "protobuf": ("6.31.1", "CVE-2025-4565"),
    "pyarrow": ("14.0.1", "CVE-2023-47248"),
    "pydantic": ("2.4.0", "CVE-2024-3772"),
    "pygments": ("2.7.4", "CVE-2021-27291"),
    "python-multipart": ("0.0.18", "CVE-2024-53981"),
    "pyyaml": ("5.4", "CVE-2020-14343"),
    "requests": ("2.32.4", "CVE-2024-47081"),
    "scikit-learn": ("1.5.0", "CVE-2024-5206"),
    "starlette": ("0.49.1", "CVE-2025-62727"),
    "torch": ("2.6.0", "CVE-2025-32434"),
    "tqdm": ("4.66.3", "CVE-2024-34062"),
    "transformers": ("4.48.0", "CVE-2024-11392"),
    "urllib3": ("2.6.0", "CVE-2025-66418"),
    "uvicorn": ("0.11.7", "CVE-2020-7694"),
    "werkzeug": ("3.1.4", "CVE-2025-66221"),
}


def pins_of(path: Path) -> dict[str, str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def holes(pins: dict[str, str]) -> list[str]:
    """Pins below the first version without a hole that the table knows."""
    return [
        f"{name}=={pins[name]} has {advisory}, which {fixed} has not"
        for name, (fixed, advisory) in ADVISORIES.items()
        if name in pins and Version(pins[name]) < Version(fixed)
    ]


def installed() -> dict[str, str]:
    """Version of what is installed, without the local tag of a build (`2.13.0+cpu`)."""
    return {canonicalize_name(one.metadata["Name"]): one.version.partition("+")[0] for one in distributions()}


def strangers(pins: dict[str, str], here: dict[str, str]) -> list[str]:
    return [f"{name} {here[name]} is installed, {pins[name]} is pinned" for name in sorted(pins.keys() & here.keys())
            if Version(here[name]) != Version(pins[name])]  # fmt: skip


def asked(path: Path) -> list[str] | None:
    """What pip-audit finds; None where it is not installed or gets no answer."""
    if find_spec("pip_audit") is None:
        return None
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(path), "--no-deps", "--disable-pip",
               "--progress-spinner", "off", "--format", "json"]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, OSError, ValueError, KeyError):
        return None
    return [f"{one['name']}=={one['version']} has {hole['id']}" for one in found for hole in one.get("vulns", ())]


def main() -> int:
    pins, here = pins_of(CONSTRAINTS), installed()
    found = asked(CONSTRAINTS)
    if found is None:
        why = "is not installed" if find_spec("pip_audit") is None else "got no answer"
        known = len(ADVISORIES.keys() & pins.keys())
        way = f"pip-audit {why}; {known} of {len(pins)} pins were held against a table of published holes of {DAY}"
        found = holes(pins)
    else:
        way = f"pip-audit looked {len(pins)} pins up"
    problems = found + strangers(pins, here)
    unpinned = sorted(set(here) - set(pins) - {"aullm-hf", "pip", "setuptools", "wheel"})
    print(f"audit: {way}; {len(pins.keys() & here.keys())} installed versions were compared with their pins.")
    if unpinned:
        print(f"audit: not pinned, so not looked at: {', '.join(unpinned)}.")
    for problem in problems:
        print(f"audit: {problem}", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
