"""What a code host shows of this folder, made into what Sphinx builds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from resilient_transport.cli.show_settings import shown
from resilient_transport.settings import SETTINGS

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TOP = Path(__file__).parents[1]
#: By where a file stands at the top of the project, the page that includes it.
HOMES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "security.md",
}
#: An instruction to include a file of the project's top.
INCLUDE = re.compile(r"^```\{include\} \.\./(\w+\.md)\n```$", re.MULTILINE)


def at_home(name: str) -> str:
    """Return the text of a file of the project's top, with links as a page has them."""
    text = (TOP / name).read_text(encoding="utf-8")
    return linked(text.replace("](docs/", "]("), "")


def linked(text: str, top: str) -> str:
    """Return a text whose links to files of the project's top lead to pages; `top` is the way to the top."""
    for file, page in HOMES.items():
        text = text.replace(f"]({top}{file}", f"]({page}")
    return text


def with_sidebar(text: str) -> str:
    """Return the first page with a tree of contents for each of its lists, which makes the sidebar."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return "".join(part + tree_of(part) for part in parts)


def tree_of(part: str) -> str:
    """Return the tree of contents of a section: the pages of its list."""
    pages = re.findall(r"^- \[[^\]]+\]\((\w+)\.md\)", part, re.MULTILINE)
    if not pages:
        return ""
    caption = part.partition("\n")[0].removeprefix("## ")
    lines = ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""]
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """Return the table of what the environment can say."""
    rows = [
        f"| `{one.variable}` | {one.kind.allowed} | {shown(one.default)} | {one.about} |" for one in SETTINGS
    ]
    return "\n".join(["| variable | allowed | default | what it is |", "|---|---|---|---|", *rows])


def read(_: Sphinx, name: str, source: list[str]) -> None:
    """Change a page while Sphinx reads it."""
    text = INCLUDE.sub(lambda found: at_home(found[1]), source[0])
    text = linked(text, "../").replace("```{settings}\n```", settings_table())
    source[0] = with_sidebar(text) if name == "index" else text


def setup(app: Sphinx) -> None:
    """Connect what this file does."""
    app.connect("source-read", read)
