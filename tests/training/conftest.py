"""The scripts of training/ are no package: this helper puts them on the path."""

from support import tiny_run

__all__ = ["tiny_run"]
