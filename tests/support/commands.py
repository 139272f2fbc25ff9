"""The `aullm` command in this process."""

from collections.abc import Callable

from aullm_hf.commands.main import main


def aullm(*words: object) -> int:
    """The exit status of a command, given word by word."""
    return main([str(word) for word in words])


def verb(name: str) -> Callable[[list[str]], int]:
    """One verb, given its own arguments."""
    return lambda arguments: main([name, *arguments])
