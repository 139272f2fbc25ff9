"""A process of somebody who has torch, transformers and peft, but not this package.

Importing the libraries takes four seconds. So an interpreter of such a person imports them once, and every stranger is
a fork of it: it has never seen this package, nor anything of the process that the tests run in.
"""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch

# What was imported is kept from the garbage collector, as in libraries.py.
NURSERY = """
import gc, importlib, json, os, signal, sys
gc.disable()
sys.path.insert(0, sys.argv[1])
import huggingface_hub.constants, torch, transformers.pipelines, transformers.models.qwen2.modeling_qwen2, peft
gc.freeze()
gc.enable()
for line in sys.stdin:
    folder, environment, script, *words = json.loads(line)
    child = os.fork()
    if not child:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()

signal.alarm(300)
os.chdir(folder)
os.environ.update(environment, HOME=folder)
importlib.reload(huggingface_hub.constants)  # the one place where the client reads the environment
said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for stream in (1, 2):
    os.dup2(said, stream)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
sys.argv = ["stranger", *words]
try:
    import aullm_hf
except ImportError:
    pass
else:
    raise SystemExit("the package can be imported: the test would prove nothing")
exec(compile(script, "stranger", "exec"), {"__name__": "__main__", "sys": sys})
"""


class Nursery:
    """The interpreter that strangers are forked from."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="stranger-", dir=os.environ["TEST_SESSION"]))
        site = self.folder / "site"  # the libraries, without the path file that makes this package importable
        site.mkdir()
        for entry in Path(torch.__file__).parents[1].iterdir():
            if "aullm" not in entry.name.lower() and entry.suffix != ".pth":
                (site / entry.name).symlink_to(entry)
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "HF_HOME": str(self.folder / "hf"),
               "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
        command = [sys.executable, "-I", "-S", "-c", NURSERY, str(site)]
        self._process = subprocess.Popen(command, env=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(
        self, script: str, folder: Path, *words: object, llms: Path | None = None, environment: dict[str, str]
    ) -> None:
        """A stranger whose Hugging Face home is as empty as a first one's, or holds nothing but LLMs."""
        home = self.folder / "hf"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        if llms:
            (home / llms.name).symlink_to(llms)
        asked = [str(folder), environment, script, *map(str, words)]
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        status = self._process.stdout.readline().strip()
        assert status == "0", f"exit status {status}: {(folder / 'said.txt').read_text()[-3000:]}"

    def close(self) -> None:
        self._process.communicate()


@cache
def _nursery() -> Nursery:
    """One serves a process of the tests, and ends with it."""
    nursery = Nursery()
    atexit.register(nursery.close)
    return nursery


def run_as_stranger(script: str, folder: Path, *words: object, llms: Path | None = None, **environment: str) -> None:
    """Run the script in `folder`, offline unless the environment says otherwise; it must succeed.

    `llms`: a folder of the Hugging Face home that the stranger has too.
    """
    _nursery().run(script, folder, *words, llms=llms, environment=environment)
