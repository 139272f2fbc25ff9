"""Every module can be imported where there is nothing that only Linux has: on Windows, on macOS."""

import ast
import json
import sys
from pathlib import Path

import aullm_hf
from support import processes

PACKAGE = Path(aullm_hf.__file__).parent
# Of the standard library, what Windows or macOS lacks. Libraries that need it somewhere are imported before it goes.
MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog")
ATTRIBUTES = {
    "os": (
        "fork",
        "getuid",
        "geteuid",
        "getgid",
        "killpg",
        "mkfifo",
        "nice",
        "sched_getaffinity",
        "setsid",
        "sysconf",
    ),
    "signal": ("SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCHLD", "alarm", "pthread_sigmask"),
}
WITHOUT = """
import importlib, json, os, signal, sys
libraries, modules, absent, attributes = json.loads({!r})
for name in libraries:
    importlib.import_module(name)
assert not any(name.startswith("aullm_hf") for name in sys.modules)
for name in absent:
    sys.modules[name] = None
for home, names in attributes.items():
    for name in names:
        if hasattr(sys.modules[home], name):
            delattr(sys.modules[home], name)
for name in modules:
    importlib.import_module(name)
"""


def imported_libraries() -> set[str]:
    """What the package's modules import when they are imported, without the standard library and the package."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    ours = {*sys.stdlib_module_names, "aullm_hf"}
    return {name for name in names if name.split(".")[0] not in ours}


def modules_of_the_package() -> list[str]:
    names = []
    for path in PACKAGE.rglob("*.py"):
        parts = ("aullm_hf", *path.relative_to(PACKAGE).with_suffix("").parts)
        names.append(".".join(parts).removesuffix(".__init__"))
    return sorted(names)


def test_nothing_that_only_linux_has_is_needed_to_import_the_package():
    lists = (sorted(imported_libraries()), modules_of_the_package(), MODULES, ATTRIBUTES)
    done = processes.run(processes.python, WITHOUT.format(json.dumps(lists)))
    assert done.returncode == 0, done.stderr[-2000:]
