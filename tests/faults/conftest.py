"""The runner's modules are a script's siblings, not a package: the helper that runs them puts them on the path."""

from support import tiny_run

__all__ = ["tiny_run"]
