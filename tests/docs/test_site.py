"""The site: `.ci/run docs` fails of what leads nowhere, and the pages are changed as they have to be."""

import re

import pytest
from docutils import nodes

from docs import pages, tables
from tests.programs import ROOT, run_python

#: What `.ci/run docs` tells Sphinx, but for where things are.
OPTIONS = re.search(r"-m sphinx (--.*?) \\\n", (ROOT / ".ci" / "run").read_text("utf-8"))[1].split()
#: Pages with a mistake of each kind.
WRONG = {
    "index": "# A\n\n## Use\n\n- [Page](page.md): b.\n- [C](reference.md): c.\n- [Shelf](shelf.md): none.\n",
    "page": "# A\n\n## Here\n\n[a](shelf.md) [b](reference.md#there) [c](#there) [d](#here)\n"
    "[e](reference.md#here)\n",
    "lost": "# Lost\n",
    "reference": "# A\n\n## Here\n\n```{eval-rst}\n"
    ".. autoclass:: resilient_transport.Breaker\n   :exclude-members: window\n```\n",
}
#: What is said of them.
SAID = [
    "target not found: 'shelf.md'",
    "local id not found in doc 'reference': 'there'",
    "target not found: 'there'",
    "nonexisting document 'shelf'",
    "lost.md: WARNING: document isn't included in any toctree",
    "resilient_transport.Breaker.window is public, and the reference has not got it",
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Return how the build of the wrong pages ends, with the settings of the right ones."""
    folder = tmp_path_factory.mktemp("wrong")
    for name, text in WRONG.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    sphinx = ("-m", "sphinx", *OPTIONS, "--builder", "dummy", "--conf-dir", "docs")
    return run_python(*sphinx, str(folder), str(folder / "site"), check=False, measured=False)


@pytest.fixture
def complaints(failed):
    """Return what it says."""
    return failed.stderr


def test_what_leads_nowhere_is_an_error(failed):
    """And not a warning alone."""
    assert failed.returncode == 1


@pytest.mark.parametrize("words", SAID)
def test_what_leads_nowhere_is_found(complaints, words):
    """The control of the build: a page, a heading elsewhere and here, a page in no list, a missing field."""
    assert words in complaints


@pytest.mark.parametrize("words", ["'here'", "Breaker.failures", "Breaker.cool_down"])
def test_what_is_there_is_not_complained_of(complaints, words):
    """The control of that: headings and fields that are there."""
    assert words not in complaints


def test_the_first_page_has_every_page():
    """In the order of the sidebar, each once."""
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    told = re.findall(r"^- \[[^\]]+\]\((\w+)\.md\)", text, re.MULTILINE)
    there = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}

    assert sorted(told) == sorted(there)


def test_a_list_of_pages_becomes_a_part_of_the_sidebar():
    """With its heading, in its order; a section without one has none."""
    text = "# A\n\n## Use\n\n- [B](b.md): b.\n- [C](c.md): c.\n\n## More\n\nWords.\n"
    tree = "```{toctree}\n:hidden:\n:caption: Use\n\nb\nc\n```\n"

    assert pages.with_sidebar(text).count("{toctree}") == 1
    assert tree in pages.with_sidebar(text)


def test_links_of_an_included_file_lead_to_pages():
    """It links to files from where it stands."""
    text = pages.at_home("CONTRIBUTING.md")

    assert "](architecture.md#locks)" in text
    assert "](changelog.md)" in text
    assert "](docs/" not in text


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("RESILIENT_TRANSPORT_MAX_IDLE", ["RESILIENT_TRANSPORT_", "MAX_", "IDLE"]),
        ("RetryPolicy(backoff=0.5)", ["RetryPolicy(", "backoff=0.5)"]),
        ("gate/gate.py", ["gate/", "gate.py"]),
        ("stats", ["stats"]),
    ],
)
def test_a_name_in_a_table_goes_on_after_a_joint(name, parts):
    """The text stays the same; a break is allowed between its parts."""
    code = nodes.literal("", "", nodes.Text(name))
    page = nodes.document(None, None, "", nodes.entry("", code))
    tables.break_names(None, page, "")
    breaks = [part.astext() for part in code.findall(nodes.raw)]

    assert [part.astext() for part in code.children if isinstance(part, nodes.Text)] == parts
    assert breaks == ["<wbr>"] * (len(parts) - 1)
