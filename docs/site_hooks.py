"""For mkdocs: the README is the site's first page, and the rooms' READMEs are pages of it, each written once.

Links are written as GitHub reads them, from the file that they stand in. Here a link to a file that is a page of the
site becomes a link to that page, and a link to any other file of the repository becomes its path, since the site has
no such file.
"""

import posixpath
import re
from pathlib import Path

from griffe import Extension
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {  # a file of the repository -> its page of the site
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "aullm_hf/data/README.md": "rooms/data.md",
    "aullm_hf/model/README.md": "rooms/model.md",
    "aullm_hf/inference/README.md": "rooms/inference.md",
    "aullm_hf/baselines/README.md": "rooms/baselines.md",
    "training/README.md": "rooms/training.md",
    "hub_configs/space/README.md": "rooms/space.md",
}
LINK = re.compile(r"(?P<text>!?\[[^\]]*\])\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)")


def on_files(files, config):
    for source in PAGES:
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, PAGES[source], content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    source = next((name for name, uri in PAGES.items() if uri == page.file.src_uri), f"docs/{page.file.src_uri}")
    return LINK.sub(lambda link: site_link(link, source, page.file.src_uri), markdown)


def on_page_content(html, page, config, files):
    """A notebook's links, which its converter leaves as GitHub reads them."""
    return re.sub(r'(href="[\w./-]+)\.md([#"])', r"\1.html\2", html) if page.file.src_uri.endswith(".ipynb") else html


class Examples(Extension):
    """Docstrings have `Example:`, as transformers' do; the parser of the API page knows `Examples:` alone."""

    def on_instance(self, *, obj, **options):
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)


def site_link(link: re.Match, source: str, page: str) -> str:
    """The link as the site's page has it."""
    text, target, anchor = link["text"], link["target"], link["anchor"] or ""
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if file in PAGES or file.startswith("docs/"):
        uri = PAGES.get(file, file.removeprefix("docs/"))
        return f"{text}({posixpath.relpath(uri, posixpath.dirname(page) or '.')}{anchor})"
    if not (ROOT / file).exists():
        return link[0]  # mkdocs names it as broken
    words = text.removeprefix("[").removesuffix("]")
    return f"`{file}`" if words.rstrip("/") in (file, Path(file).name) else f"{words} (`{file}`)"
