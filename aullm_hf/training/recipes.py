"""Recipes by name: the YAML files of hub_configs/, which an installed package brings along as aullm_hf/recipes/."""

import difflib
from pathlib import Path

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


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file system can hold
        return False
