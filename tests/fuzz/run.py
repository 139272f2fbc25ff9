"""All fuzzers by atheris, each for a bounded time; a table of what was executed and found.

python tests/fuzz/run.py --seconds 60                    # what `make fuzz` runs
python tests/fuzz/run.py --seconds 600 --only videos
python tests/fuzz/run.py --replay videos FILE            # one finding again, with its traceback
"""

import argparse
import hashlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
import traceback
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from fuzz import TARGETS  # noqa: E402  (of tests/, which has just been put on the path)

SLOWEST, MOST_MEMORY = 30, 4096  # seconds and MiB of one execution: more is a finding


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each fuzzer")
    parser.add_argument("--only", choices=TARGETS, nargs="+", default=list(TARGETS))
    parser.add_argument("--out", type=Path, default=TESTS.parent / "runs" / "fuzz", help="findings go there")
    parser.add_argument("--replay", nargs=2, metavar=("FUZZER", "FILE"))
    parser.add_argument("--here", choices=TARGETS, help=argparse.SUPPRESS)  # one fuzzer, in this process
    options = parser.parse_args()
    if options.replay:
        print(_target(options.replay[0]).attempt(Path(options.replay[1]).read_bytes()))
        return 0
    if find_spec("atheris") is None:
        print('make fuzz needs atheris: pip install "aullm-hf[fuzz]" (Linux and macOS)', file=sys.stderr)
        return 2
    if options.here:
        fuzz(options.here, options.seconds, options.out)
    found = 0
    print("| fuzzer | seconds | executions | findings |\n| --- | --- | --- | --- |")
    for name in options.only:
        executions, findings = in_a_process(name, options.seconds, options.out / name)
        print(f"| {name} | {options.seconds} | {executions:,} | {findings} |", flush=True)
        found += findings
    if found:
        print(f"{found} findings lie in {options.out}: the input as .bin, what became of it as .txt", file=sys.stderr)
    return 1 if found else 0


def in_a_process(name: str, seconds: int, out: Path) -> tuple[int, int]:
    """(executions, findings): a fuzzer ends its process, whatever it was doing."""
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("*.bin"), *out.glob("*.txt"), *out.glob("crash-*"), *out.glob("timeout-*")]:
        old.unlink()
    command = [sys.executable, __file__, "--here", name, "--seconds", str(seconds), "--out", str(out)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace")
    (out / "log.txt.last").write_text(done.stderr[-20_000:])
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    died = done.returncode != 0  # a hang, too much memory, or a crash of the interpreter itself
    return int(executed[1]) if executed else 0, len(list(out.glob("*.bin"))) + died


def fuzz(name: str, seconds: int, out: Path) -> None:
    import atheris

    with atheris.instrument_imports(include=["aullm_hf", "openpyxl", "yaml", "run_config"]):
        target = _target(name)
    known: set[str] = set()

    def once(data: bytes) -> None:
        try:
            target.attempt(data)
        except Exception as error:
            told = str(error).splitlines()[0][:160] if str(error) else ""
            place = re.sub(r"0x\w+|\d+|'.*?'|\".*?\"", "..", f"{type(error).__name__} {told}")
            if place not in known:  # each kind once, and on it goes
                known.add(place)
                digest = hashlib.sha256(data).hexdigest()[:16]
                (out / f"{digest}.bin").write_bytes(data)
                (out / f"{digest}.txt").write_text(traceback.format_exc(), errors="replace")

    corpus = tempfile.mkdtemp(prefix=f"fuzz-{name}-")
    for at, seed in enumerate(target.seeds()):
        (Path(corpus) / f"seed-{at}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", f"-timeout={SLOWEST}", f"-rss_limit_mb={MOST_MEMORY}", "-max_len=65536"]
    atheris.Setup([name, corpus, *limits, "-print_final_stats=1", f"-artifact_prefix={out}/"], once)
    atheris.Fuzz()  # never comes back


def _target(name: str):
    return importlib.import_module(f"fuzz.{name}")


if __name__ == "__main__":
    sys.exit(main())
