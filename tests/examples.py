"""The examples of the documents, as tests run them."""

import re
from typing import Any, NamedTuple

from resilient_transport.testing import FaultServer
from tests.programs import ROOT

#: A fence of a document: what says which test runs it, if anything does, its language, and what is in it.
FENCE = re.compile(r"^(?:<!-- run by (\S+) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Fence(NamedTuple):
    """A block of code in a document."""

    #: The document's name, from the top of the project.
    document: str
    #: The line of its first line of code.
    line: int
    #: The language that it names.
    language: str
    code: str
    #: The file of tests that the line above it names; empty: none.
    runner: str


def documents() -> list[str]:
    """Return the README, and every page of `docs`."""
    pages = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
    assert len(pages) > 8, pages
    return ["README.md", *pages]


def fences_in(text: str, document: str) -> list[Fence]:
    """Return the fences of a text, in their order."""
    return [
        Fence(document, text.count("\n", 0, found.start(3)) + 1, found[2], found[3], runner=found[1] or "")
        for found in FENCE.finditer(text)
    ]


def fences_of(document: str, language: str) -> list[Fence]:
    """Return the fences of a document that name a language."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [fence for fence in fences_in(text, document) if fence.language == language]


def examples_of(document: str) -> list[str]:
    """Return the code of each example in Python."""
    return [fence.code for fence in fences_of(document, "python")]


def headed_examples_of(document: str) -> dict[str, str]:
    """Return the code of each example in Python, by the heading that it stands below."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    fences = fences_of(document, "python")
    found = {_heading(lines[: fence.line - 1]): fence.code for fence in fences}
    assert len(found) == len(fences), "two examples stand below one heading"
    return found


def _heading(lines: list[str]) -> str:
    return next(line.lstrip("# ") for line in reversed(lines) if re.match("##+ ", line))


def for_server(example: str, server: FaultServer, **names: str) -> str:
    """Return an example with the names of a server and its files, and of what else is named."""
    certificate, key = server.authority.client
    told = {"https://api.example": server.url, "ca.pem": server.authority.ca_file}
    for name, real in {**told, "client.pem": certificate, "client.key": key, **names}.items():
        example = example.replace(name, real)
    return example


def run_example(example: str, server: FaultServer, **names: str) -> dict[str, Any]:
    """Run one as it stands, but for the names of the server and its files; return its names."""
    made: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(for_server(example, server, **names), "an example", "exec"), made)
    return made
