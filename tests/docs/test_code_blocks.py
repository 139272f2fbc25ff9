"""Every code block of the README and the docs is run, or at least parsed where it needs data or hours.

Python blocks are executed, a page's blocks in one namespace; commands that read, score or explain are run, and sweeps
planned; commands that train, push or serve are parsed by their own parsers, and so are YAML and CSV. A block of any
other kind fails.
"""

import configparser
import contextlib
import importlib
import io
import re
import shutil
import sys
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from aullm_hf.commands.main import VERBS
from aullm_hf.training import launch
from aullm_hf.training.parsing import load_run_config
from aullm_hf.training.recipes import find_recipe
from aullm_hf.training.settings import SECTIONS
from aullm_hf.training.sweep import read_sweep
from support.commands import aullm
from support.documents import PAGES, ROOT, Block, blocks_of, spans_of
from support.workplace import tiny

# Commands of these verbs are run, unless an option asks for what a test has not: a face to find, licensed data.
RUN = ("predict", "explain", "info", "evaluate", "data", "sweep")
NOT_HERE = {"--faces", "--labels"}
OF_OTHERS = (["source", ".venv/bin/activate"], ["hf", "auth", "login"], ["hf", "download"], ["hf", "upload"],
             ["hf", "repos", "create"], ["#!/bin/bash"])  # fmt: skip
LAUNCHERS = {"accelerate": "launch", "torchrun": None}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_a_page_works(page, workplace):
    namespace: dict = {"__name__": "page"}
    for block in blocks_of(page):
        with _named(block), contextlib.redirect_stdout(io.StringIO()):
            CHECKS[block.language](block, namespace)


def test_commands_within_sentences_work(workplace):
    for page in PAGES:
        for span in spans_of(page):
            words = span.split()
            if words[0] in ("aullm", "make", "pip", "python") and words[1:] and not {"--help", ".."} & set(words):
                with _named(block := Block(page, 0, "sh", span)):
                    check_command(*block.commands, run=False)


@contextlib.contextmanager
def _named(block: Block):
    """A failure names the block."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error


# ---------------------------------------------------------------- one kind of block each


def run_python(block: Block, namespace: dict) -> None:
    exec(compile("\n" * (block.line - 1) + block.text, block.page, "exec"), namespace)


def run_shell(block: Block, namespace: dict) -> None:
    for words in block.commands:
        check_command([re.sub(r"\$\w+", "1", word) for word in words])  # a shell's variable is some number


def parse_yaml(block: Block, namespace: dict) -> None:
    """A recipe or a sweep; commands of the same page find it as RECIPE.yaml or SWEEP.yaml."""
    if set(yaml.safe_load(block.text)) <= set(SECTIONS):
        Path("RECIPE.yaml").write_text(block.text)
        load_run_config("RECIPE.yaml")
    else:
        Path("SWEEP.yaml").write_text(block.text)
        for name in re.findall(r"recipe: ([\w.-]+)", block.text):
            shutil.copy(find_recipe("quickstart"), name)
        read_sweep(Path("SWEEP.yaml"))


def is_output(block: Block, namespace: dict) -> None:
    """What a command prints or leaves; nothing that could be run."""
    assert not re.search(r"^\s*(aullm|python|make|pip|import|from|def) ", block.text, re.MULTILINE)


CHECKS = {
    "python": run_python,
    "sh": run_shell,
    "yaml": parse_yaml,
    "csv": lambda block, namespace: None,  # the fixture's own clips are read by it
    "text": is_output,
}


# ---------------------------------------------------------------- one kind of command each


def check_command(words: list[str], run: bool = True) -> None:
    if words[0] == "srun":
        words = words[1:]
    if any(words[: len(known)] == known for known in OF_OTHERS):
        return
    program, rest = words[0], words[1:]
    if program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make knows no {rest[0]}"
    elif program == "pip":
        check_extras(rest)
    elif program == "aullm":
        check_verb(rest, run)
    elif program in LAUNCHERS:
        check_launcher(rest)
    elif program == "python":
        check_script(rest)
    else:
        raise AssertionError(f"nothing here runs or parses {program!r}")


def check_verb(words: list[str], run: bool) -> None:
    verb, rest = words[0], words[1:]
    assert verb in VERBS, f"aullm has no verb {verb!r}"
    if verb == "train" and (run or rest):
        return check_training(rest)
    parser = ArgumentParser(prog=f"aullm {verb}", exit_on_error=False)
    if verb != "train":
        importlib.import_module(f"aullm_hf.commands.{verb}").add_arguments(parser)
    if not run:  # a sentence may leave arguments out
        unknown = {word for word in rest if word.startswith("--")} - set(parser._option_string_actions)
        assert verb == "data" or not unknown, f"aullm {verb} does not know {unknown}"
        return None
    _, fields = parser.parse_known_args(rest)
    if verb == "sweep":
        load_run_config("quickstart", fields)
        rest = [*rest, "--dry_run"]
    else:
        assert not fields, f"aullm {verb} does not know {fields}"
    if verb in RUN and not NOT_HERE & set(rest):
        assert aullm(verb, *rest) in ((0, 1) if verb == "data" else (0,))  # 1: the tiny copies have faults


def check_training(words: list[str]) -> None:
    """The options are a launch's, and the fields a run's."""
    given, fields = launch.parse(words)
    recipe = "quickstart" if given.config in ("RECIPE.yaml", "NAME") else given.config
    load_run_config(ROOT / recipe if recipe.startswith("hub_configs/") else recipe, fields)


def check_launcher(words: list[str]) -> None:
    """`accelerate launch ..` and `torchrun ..`: what they start, and the files they are given."""
    for option, value in pairwise(words):
        assert option != "--config_file" or (ROOT / value).is_file(), f"there is no {value}"
    if "-m" in words:
        at = words.index("-m")
        assert words[at + 1] == "aullm_hf.training"
        check_training(words[at + 2 :])
    else:
        at = next(at for at, word in enumerate(words) if word.endswith(".py"))
        check_script(words[at:])


def check_script(words: list[str]) -> None:
    """A script that is there, and knows its options."""
    script, rest = ROOT / words[0], words[1:]
    assert script.is_file(), f"there is no {words[0]}"
    if script.name in ("train.py", "quickstart.py", "controls.py"):
        return check_training(rest if script.name == "train.py" else ["quickstart", *rest])
    if script.name == "benchmark.py" and rest != ["PART"]:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(script.parent))
            importlib.import_module("benchmark").parse(rest)
        return
    source = script.read_text()
    for option in (word for word in rest if word.startswith("--")):
        assert f'"{option}"' in source, f"{words[0]} has no {option}"


def check_extras(words: list[str]) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for extras in re.findall(r"\[([\w,]+)\]", " ".join(words)):
        for extra in extras.split(","):
            assert extra in setup["options.extras_require"], f"setup.cfg has no extra {extra!r}"
    for option, value in pairwise(words):
        assert option != "-c" or (ROOT / value).is_file()


# ---------------------------------------------------------------- pages that are followed to the end


def test_the_page_on_your_own_data_is_followed_to_the_end(workplace, capsys):
    """Check, train, compare: with the commands as they stand, made tiny; recipes of a large LLM aside."""
    (page,) = [page for page in PAGES if page.name == "your-data.md"]
    for block in blocks_of(page):
        for words in block.commands if block.language == "sh" else ():
            if words[1] == "data" or "quickstart" in words[2]:
                code = aullm(*(tiny(words[1:]) if words[1] == "train" else words[1:]))
                assert code == 0, (words, capsys.readouterr().err)
            elif words[1] == "compare":
                assert aullm(*words[1:]) == 0
    assert "LED-SSSNet" in Path("runs/mine-comparison/comparison.md").read_text()


def test_a_block_that_is_neither_run_nor_parsed_fails(workplace, tmp_path):
    for language, text in [("sh", "rm -r x\n"), ("sh", "aullm trian quickstart\n"), ("sh", "aullm info m --jsn\n"),
                           ("sh", "aullm train quickstart --epochs 3\n"), ("text", "aullm info m\n"),
                           ("sh", "make everything\n"), ("python", "from aullm_hf import detect\n"), ("", "x\n"),
                           ("sh", "python training/benchmark.py everything\n")]:  # fmt: skip
        block = Block(ROOT / "README.md", 1, language, text)
        with pytest.raises((AssertionError, KeyError, SystemExit)), _named(block):
            CHECKS[block.language](block, {})


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
