"""The notebooks hold no outputs, name what is there and give commands that exist; `make docs` runs them."""

import ast
import importlib
import json
import shlex
from argparse import ArgumentParser

import pytest

from aullm_hf.commands.main import VERBS
from aullm_hf.training import launch
from aullm_hf.training.parsing import load_run_config
from support.documents import ROOT, links_of

BOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
ids = {"ids": lambda book: book.stem}


def cells_of(book, kind: str = "code") -> list[dict]:
    return [cell for cell in json.loads(book.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def text_of(cell: dict) -> str:
    return "".join(cell["source"])


def test_there_is_one_for_each_thing_that_people_begin_with():
    assert {book.stem for book in BOOKS} == {"first-look", "your-own-data", "explaining", "fine-tuning"}


@pytest.mark.parametrize("book", BOOKS, **ids)
def test_a_notebook_is_kept_as_it_was_written(book):
    """No output, no count, nothing of the machine that it was run on."""
    for cell in cells_of(book):
        assert cell["outputs"] == [] and cell["execution_count"] is None and cell["metadata"] == {}
    assert set(json.loads(book.read_text(encoding="utf-8"))["metadata"]) == {"kernelspec", "language_info"}
    assert book.stat().st_size < 10_000


@pytest.mark.parametrize("book", BOOKS, **ids)
def test_what_it_imports_is_there(book):
    found = 0
    for cell in cells_of(book):
        if text_of(cell).startswith("%%bash"):
            continue
        for node in ast.walk(ast.parse(text_of(cell))):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "aullm_hf":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
                found += 1
    assert found


@pytest.mark.parametrize("book", BOOKS, **ids)
def test_its_commands_are_known(book):
    for cell in cells_of(book):
        text = text_of(cell)
        if text.startswith("%%bash"):
            for line in text.replace("\\\n", " ").splitlines()[1:]:
                check_command(shlex.split(line.partition(">")[0]))


def check_command(words: list[str]) -> None:
    program, verb, *rest = words
    assert program == "aullm" and verb in VERBS, words
    if verb == "train":
        given, fields = launch.parse(rest)
        load_run_config(given.config, fields)
    else:
        parser = ArgumentParser(prog=f"aullm {verb}")
        importlib.import_module(f"aullm_hf.commands.{verb}").add_arguments(parser)
        parser.parse_args(rest)


@pytest.mark.parametrize("book", BOOKS, **ids)
def test_its_links_lead_to_pages(book, tmp_path):
    (tmp_path / "prose.md").write_text("\n\n".join(text_of(cell) for cell in cells_of(book, "markdown")))
    links = links_of(tmp_path / "prose.md")
    assert links and all((book.parent / link.partition("#")[0]).resolve().is_file() for link in links)
