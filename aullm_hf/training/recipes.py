"""Recipes: the YAML files of hub_configs/, which an installed package brings along as aullm_hf/recipes/."""

import difflib
from pathlib import Path
from typing import Any

import yaml

PACKAGE = Path(__file__).parents[1]


def recipes_folder() -> Path:
    """Where the recipes are: inside an installed package, or beside the package in a clone."""
    installed = PACKAGE / "recipes"
    return installed if installed.is_dir() else PACKAGE.parent / "hub_configs"


def find_recipe(name: str | Path, kind: str = "") -> Path:
    """The file of a recipe.

    Args:
        name: a path of a YAML file, or the name of a recipe that comes with the package (`quickstart`).
        kind: the folder of the recipes below `hub_configs/`: "" for runs, "sweeps" for lists of runs.

    Raises:
        FileNotFoundError: there is neither such a file nor such a recipe; the message names the nearest ones.
    """
    path = Path(name)
    if _is_file(path):
        return path
    folder = recipes_folder() / kind
    named = folder / f"{path.name.removesuffix('.yaml')}.yaml"
    if path.parent == Path() and _is_file(named):
        return named
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    beside = sorted(file.stem for file in path.parent.glob("*.yaml")) if path.parent != Path() else []
    close = difflib.get_close_matches(path.stem, beside or names, n=1, cutoff=0.5)
    hint = f" Did you mean `{close[0]}`?" if close else f" Recipes that come with the package: {', '.join(names)}."
    raise FileNotFoundError(f"There is no file {str(name)!r}, and no recipe of that name.{hint}")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: it cannot be read, is not YAML, or gives a key twice; one line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_duplicates(yaml.compose(text, Loader=yaml.SafeLoader), path)
        return yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except DuplicateKey:
        raise
    except Exception as error:  # the parser, the text's encoding, an impossible date, nesting too deep
        reason = " ".join(str(error).split())[:500]
        raise ValueError(f"{path} is not YAML ({type(error).__name__}: {reason})") from error


class DuplicateKey(ValueError):
    """A key that a mapping gives twice, of which YAML would silently take the last."""


def _refuse_duplicates(root: yaml.Node | None, path: Path) -> None:
    """Look through the nodes of a document, from which nothing has been made yet."""
    pending, done = [root], set()
    while pending:
        node = pending.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in done:
            continue
        done.add(id(node))  # an alias may lead to it again
        if not isinstance(node, yaml.MappingNode):
            pending += node.value
            continue
        lines: dict[str, int] = {}
        for key, value in node.value:
            pending += [key, value]
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                first = lines[key.value]
                raise DuplicateKey(f"{path}, line {line}: `{key.value}` is given already in line {first}; keep one.")
            lines[key.value] = line


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file system can hold
        return False
