"""What a piece of code could do, read from its syntax tree: the code that travels to the Hub may do very little.

It imports what DESIGN.md allows, opens and runs nothing itself, and reaches files only through the loaders of
transformers, safetensors and huggingface_hub; videos through PyAV, which is imported by name where it is installed.
"""

import ast
from collections.abc import Iterator

LIBRARIES = {"numpy", "torch", "transformers", "peft", "safetensors", "huggingface_hub"}
STANDARD = {"abc", "collections", "contextlib", "copy", "dataclasses", "difflib", "enum", "functools", "hashlib",
            "importlib", "inspect", "itertools", "json", "logging", "math", "os", "re", "threading", "types", "typing",
            "warnings"}  # fmt: skip
OF_OS = {"PathLike", "chmod", "fspath", "listdir", "path", "stat"}
NAMES = {"open", "exec", "eval", "compile", "__import__", "__builtins__", "__loader__", "__spec__", "breakpoint",
         "input", "globals", "locals", "vars", "print"}  # fmt: skip
MEMBERS = {"open", "load", "loads", "save", "dump", "dumps", "system", "popen", "read_text", "read_bytes",
           "write_text", "write_bytes", "unlink", "rmtree", "rename", "mkdir", "tofile", "fromfile", "memmap",
           "genfromtxt", "loadtxt", "savetxt", "savez", "hub", "jit", "package", "serialization", "multiprocessing",
           "load_library", "import_module", "exec_module", "builtins", "__import__", "__builtins__", "__globals__",
           "__subclasses__", "__reduce__", "__reduce_ex__", "__setstate__", "__code__", "f_globals"}  # fmt: skip
ALLOWED_MEMBERS = {"av.open", "json.dumps", "importlib.import_module"}  # the last with the word "av" alone
UNSAFE = {"trust_remote_code": True, "allow_pickle": True, "weights_only": False, "use_safetensors": False}
LOOKED_UP = {"self", "config", "torch", "llm.config", "value", "frame", "llm", "out", "model.base_model.llm"}


def offences(source: str, siblings: set[str]) -> list[str]:
    """What the code may not do, a line each; `siblings` are the modules beside it."""
    tree = ast.parse(source)
    return [f"line {node.lineno}: {what}" for node in ast.walk(tree) for what in _of(node, siblings)]


def _of(node: ast.AST, siblings: set[str]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (f"imports {alias.name}" for alias in node.names if not _may_import(alias.name))
        yield from (
            f"renames {alias.name}" for alias in node.names if alias.asname and alias.name.split(".")[0] in STANDARD
        )
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            if node.level > 1 or node.module not in siblings:
                yield f"imports {'.' * node.level}{node.module or ''}"
        elif not _may_import(node.module):
            yield f"imports {node.module}"
        elif node.module in ("os", "importlib", "threading"):
            yield f"takes {', '.join(alias.name for alias in node.names)} out of {node.module}"
        yield from (f"imports {node.module}.{alias.name}" for alias in node.names if alias.name in MEMBERS)
    elif isinstance(node, ast.Name) and node.id in NAMES:
        yield f"uses {node.id}"
    elif isinstance(node, ast.Attribute):
        whole = ast.unparse(node)
        if node.attr in MEMBERS and whole not in ALLOWED_MEMBERS:
            yield f"uses {whole}"
        if isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr not in OF_OS:
            yield f"uses {whole}"
    elif isinstance(node, ast.Call):
        yield from _of_call(node)
    elif isinstance(node, ast.Constant) and node.value in ("__builtins__", "__globals__", "__subclasses__"):
        yield f"names {node.value}"


def _of_call(node: ast.Call) -> Iterator[str]:
    for keyword in node.keywords:
        value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if keyword.arg in UNSAFE and value is UNSAFE[keyword.arg]:
            yield f"says {keyword.arg}={value}"
    called = ast.unparse(node.func)
    if called == "importlib.import_module" and [ast.unparse(one) for one in node.args] != ["'av'"]:
        yield f"imports {', '.join(map(ast.unparse, node.args))} by name"
    if called in ("getattr", "setattr", "delattr"):
        whose, name = ast.unparse(node.args[0]), node.args[1]
        if isinstance(name, ast.Constant) and (name.value in MEMBERS | NAMES):
            yield f"looks up {name.value!r}"
        elif not isinstance(name, ast.Constant) and whose not in LOOKED_UP:
            yield f"looks up any name of {whose}"


def _may_import(module: str) -> bool:
    return module.split(".")[0] in LIBRARIES | STANDARD and not set(module.split(".")) & MEMBERS
