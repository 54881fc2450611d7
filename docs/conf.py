"""Sphinx builds the pages of this folder into a site by this: `.ci/run docs`. It fetches nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from resilient_transport import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
#: Pages that are being written. Until they are there, nothing complains of a link to them.
AWAITED = {
    "tutorial",
    "programs",
    "operations",
    "failures",
    "behaviour",
    "migration",
    "comparison",
    "security",
}

project = "resilient_transport"
author = "The resilient_transport authors"
release = version = __version__
extensions = ["myst_parser"]
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
nitpicky = True
nitpick_ignore_regex = [("myst", rf"({'|'.join(sorted(AWAITED))})\.md(#.*)?")]
#: As deep as headings go: each has the anchor that a code host gives it.
myst_heading_anchors = 6
#: By where a file stands at the top of the project, the page that includes it.
HOMES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "security.md",
}


def is_awaited(name: str) -> bool:
    """Tell whether a page is not there yet."""
    return name in AWAITED and not (HERE / f"{name}.md").exists()


def included(text: str) -> str:
    """Return a page with the file of the project's top that it includes, whose links lead to pages."""
    return re.sub(r"^```\{include\} \.\./(\w+\.md)\n```$", lambda found: at_home(found[1]), text, flags=re.M)


def at_home(name: str) -> str:
    """Return the text of a file of the project's top, with links as a page has them."""
    path = HERE.parent / name
    if name.removesuffix(".md").lower() in AWAITED and not path.exists():
        return f"# {name}\n"
    return linked(path.read_text(encoding="utf-8").replace("](docs/", "]("), "")


def linked(text: str, top: str) -> str:
    """Return a text whose links to files of the project's top lead to pages; `top` is the way to the top."""
    for file, page in HOMES.items():
        text = text.replace(f"]({top}{file}", f"]({page}")
    return text


def with_sidebar(text: str) -> str:
    """Return the first page with a tree of contents for each of its lists, which makes the sidebar."""
    parts = re.split(r"^(?=## )", text, flags=re.M)
    return "".join(part + tree_of(part) for part in parts)


def tree_of(part: str) -> str:
    """Return the tree of contents of a section: the pages of its list."""
    pages = re.findall(r"^- \[[^\]]+\]\((\w+)\.md\)", part, re.M)
    if not pages:
        return ""
    caption = part.partition("\n")[0].removeprefix("## ")
    lines = ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]
    return "\n".join(lines) + "\n"


def without_awaited(text: str) -> str:
    """Return the first page without the lines of pages that are not there yet."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not is_awaited(line.partition("](")[2].partition(".md")[0]))


def read(_: Sphinx, name: str, source: list[str]) -> None:
    """Turn what a code host shows into what Sphinx builds."""
    text = linked(included(source[0]), "../")
    if AWAITED:
        text = re.sub(r"\]\(index\.md#[^)]*\)", "](index.md)", text)
    source[0] = with_sidebar(without_awaited(text)) if name == "index" else text


def setup(app: Sphinx) -> None:
    """Connect what this file does."""
    app.connect("source-read", read)
