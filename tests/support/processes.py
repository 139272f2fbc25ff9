"""A process of its own for a command or a function, forked from one that has the libraries imported already.

A fresh interpreter takes four seconds to import torch, transformers and peft before it comes to what a test is about.
Here they are imported once per session: signals, pipes, the exit status and this package's own imports are as they
are in a shell. What libraries do while they are imported, or how long that takes, needs a real interpreter.
"""

import importlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch


@dataclass
class Finished:
    returncode: int
    stdout: str
    stderr: str


class Started:
    """What `subprocess.Popen` would give, of a function that runs in a process of its own."""

    def __init__(self, function: Callable[..., Any], *words: Any, environment: dict[str, str] | None = None):
        context = get_context("forkserver")
        context.set_forkserver_preload(["support.libraries"])
        (self._out, out), (self._err, err) = context.Pipe(duplex=False), context.Pipe(duplex=False)
        variables = os.environ | (environment or {})
        self._process = context.Process(target=_become, args=(function, words, out, err, variables, os.getcwd()))
        with patch.dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1])):  # to what it is forked from
            self._process.start()
        self.pid = self._process.pid
        out.close()
        err.close()
        self.stdout, self.stderr = (open(os.dup(pipe.fileno()), encoding="utf-8") for pipe in (self._out, self._err))
        self._out.close()
        self._err.close()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float = 300) -> int:
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"not over after {timeout} s"
        return self._process.exitcode

    def finish(self) -> Finished:
        """Its exit status and all that it wrote; both pipes are read at once, so that neither can fill up."""
        with ThreadPoolExecutor(2) as pool:
            out, err = pool.map(lambda stream: stream.read(), (self.stdout, self.stderr))
        return Finished(self.wait(), out, err)


def _become(function, words, out, err, variables, folder) -> None:
    """Output, environment and folder as asked for, then the function; an integer it returns is the exit status."""
    for stream, pipe, number in ((sys.stdout, out, 1), (sys.stderr, err, 2)):
        stream.flush()
        os.dup2(pipe.fileno(), number)
        pipe.close()
    os.environ.clear()
    os.environ.update(variables)
    if constants := sys.modules.get("huggingface_hub.constants"):
        importlib.reload(constants)  # the one place where the Hub's client reads the environment
    os.chdir(folder)
    importlib.invalidate_caches()  # modules that were written since the process that this one is forked from began
    status = function(*words)
    sys.exit(status if isinstance(status, int) else 0)


def aullm(*words: object) -> int:
    """The `aullm` command as a shell starts it."""
    from aullm_hf.commands.main import main

    sys.argv = ["aullm", *map(str, words)]
    return main()


def python(code: str) -> None:
    """Source text as `python -c` runs it."""
    exec(code, {"__name__": "__main__"})


def run(function: Callable[..., Any], *words: Any, environment: dict[str, str] | None = None) -> Finished:
    """The function in a process of its own, to its end."""
    return Started(function, *words, environment=environment).finish()


__all__ = ["Finished", "Started", "aullm", "python", "run"]
