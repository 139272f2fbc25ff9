"""What the documents name is there: modules, files, links, anchors, pages, public names, sizes of pictures."""

import configparser
import importlib
import re

import pytest
import yaml

import aullm_hf
from aullm_hf.commands.main import VERBS
from support.documents import PAGES, ROOT, anchors_of, blocks_of, links_of, spans_of

EVERY_PAGE = [*PAGES, ROOT / "CHANGELOG.md"]  # which alone names what is gone, too
FOLDERS = ("aullm_hf/", "training/", "hub_configs/", "tests/", "docs/")
ids = {"ids": lambda page: page.relative_to(ROOT).as_posix()}


@pytest.mark.parametrize("page", PAGES, **ids)
def test_modules_and_files_exist(page):
    texts = [*spans_of(page), *(block.text for block in blocks_of(page))]
    for name in {name for text in texts for name in re.findall(r"\baullm_hf(?:\.[A-Za-z_]\w*)+", text)}:
        assert exists(name), f"{page.name} names {name}"
    for path in {text for text in spans_of(page) if text.startswith(FOLDERS) and not re.search(r"[\s<*{]", text)}:
        assert (ROOT / path).exists(), f"{page.name} names {path}"


def exists(name: str) -> bool:
    """A module, or something in one."""
    try:
        return bool(importlib.import_module(name))
    except ModuleNotFoundError:
        module, _, attribute = name.rpartition(".")
        return bool(module) and hasattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("page", EVERY_PAGE, **ids)
def test_links_lead_somewhere(page):
    for link in links_of(page):
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists() and file.is_relative_to(ROOT), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors_of(file), f"{page.name} links to {link}: {file.name} has {anchors_of(file)}"


def test_the_site_has_every_page_in_its_contents():
    def pages(entry) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [page for one in (entry.values() if isinstance(entry, dict) else entry) for page in pages(one)]

    contents = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    written = [page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert set(written) <= set(contents) and len(set(contents)) == len(contents)


def test_the_api_page_has_every_public_name():
    text = (ROOT / "docs/reference/api.md").read_text()
    named = re.findall(r"^::: ([\w.]+)", text, re.MULTILINE)
    assert set(aullm_hf._HOME_OF) <= {name.rpartition(".")[2] for name in named}
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(module), attribute).__doc__, f"{name} has no docstring"
    for name, members in re.findall(r"^::: ([\w.]+)\n(?:.+\n)*?      members: \[(.+)\]", text, re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        for member in members.split(", "):
            assert hasattr(getattr(importlib.import_module(module), attribute), member), f"{name} has no {member}"


def test_the_api_page_has_every_verb():
    spans = set(spans_of(ROOT / "docs/reference/api.md"))
    assert set(VERBS) <= spans, set(VERBS) - spans


def test_first_steps_names_every_extra():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    of_developers = {"all", "test", "quality", "fuzz"}
    missing = set(setup["options.extras_require"]) - of_developers - set(spans_of(ROOT / "docs/guides/first-steps.md"))
    assert not missing


def test_the_container_file_names_what_is_there():
    """It is not built here: what it copies exists, is what a package is built of, and its pins are the tested ones."""
    text = (ROOT / "docs/container/Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert {"setup.cfg", "pyproject.toml", "aullm_hf", "hub_configs", "constraints.txt"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (extras,) = re.findall(r'"\.\[([\w,-]+)\]"', text)
    assert set(extras.split(",")) <= set(setup["options.extras_require"])
    (torch_version,) = re.findall(r"torch==([\d.]+)", text)
    assert f"torch=={torch_version}\n" in (ROOT / "constraints.txt").read_text()
    steps = re.findall(r"^(USER|ENTRYPOINT) (.+)$", text, re.MULTILINE)
    assert steps == [("USER", "aullm"), ("ENTRYPOINT", '["aullm"]')]  # an ordinary user runs it


def test_pictures_are_small_and_have_words_for_those_who_do_not_see_them():
    for picture in (ROOT / "docs/pictures").iterdir():
        assert picture.suffix == ".png" and picture.stat().st_size < 200_000, picture
        shown = [page for page in PAGES if picture.name in page.read_text()]
        assert shown, f"no page shows {picture.name}"
    for page in PAGES:
        for words in re.findall(r"!\[([^\]]*)\]\(", page.read_text()):
            assert len(words.split()) > 5, f"{page.name} has a picture without a description"


def test_the_readme_is_read_in_five_minutes():
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 1300  # at 250 words a minute
    first_table = text.index("\n|")
    assert text.index("docs/pictures/overview.png") < text.index("```text") < first_table


def test_names_that_are_not_runnable_are_in_capitals():
    """Nothing looks as if it could be copied and run, and cannot."""
    for page in PAGES:
        for text in [*spans_of(page), *(block.text for block in blocks_of(page))]:
            assert not re.search(r"(^|[\s\"'=])(/my/|/data/|/path/to|me/[a-z])", text), f"{page.name}: {text[:80]}"


@pytest.mark.parametrize("file", sorted((ROOT / "aullm_hf/commands").glob("*.py")), ids=lambda file: file.stem)
def test_the_help_of_a_command_has_such_names_too(file):
    for line in re.findall(r"^ +(?:aullm|accelerate) .*", file.read_text(), flags=re.MULTILINE):
        assert not re.search(r"(^|[\s\"'=])(/my/|/data/|/path/to|me/[a-z]|[a-z/*]+\.(mp4|avi)\b)", line), line


def test_citations_are_whole():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["authors"] and cited["license"] == "Apache-2.0"
    papers = {paper["url"]: paper for paper in cited["references"]}
    assert set(papers) == {"https://arxiv.org/abs/2507.21778", "https://arxiv.org/abs/2603.08387"}
    assert all(paper["authors"] and paper["title"] and paper["year"] for paper in papers.values())


@pytest.mark.parametrize(
    "folder",
    ["aullm_hf/model", "aullm_hf/data", "aullm_hf/inference", "aullm_hf/baselines", "aullm_hf/training", "training"],
)
def test_what_stands_in_a_folder_is_named_there(folder):
    """A README has a line for each file beside it, and names no file that is gone."""
    readme = ROOT / folder / "README.md"
    files = [path for path in (ROOT / folder).rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    there = {path.name for path in files if folder != "training" or path.parent.name == "training"}
    named = {span for span in spans_of(readme) if re.fullmatch(r"\w+\.py", span)}
    assert there <= named | {"configuration_baseline.py"}, f"{folder}/README.md has no line for {there - named}"
    assert named <= {path.name for path in files}, f"{folder}/README.md names {named - there}"
