"""The reference has what the package has: the check that `.ci/run docs` makes finds what is missing."""

import inspect
import re
import sys
from enum import Enum
from types import ModuleType
from typing import NamedTuple

import pytest

import resilient_transport
from docs.checks import broken_links, differences
from docs.docstrings import process_signature, without_arguments
from docs.public import PACKAGE, members_of, names_in, public_names
from resilient_transport import events, settings
from resilient_transport.telemetry.stats import Stats
from resilient_transport.util.frozen import dataclass
from tests import tblib_installed  # noqa: F401 - takes back what `resilient_transport.dask` imports


@pytest.fixture(scope="module")
def public():
    """Return the names that the reference has to have."""
    return public_names()


def test_every_public_name_has_to_be_there(public):
    """With the fields of each class, the members of each `Enum`, and the methods."""
    assert {f"{PACKAGE}.{name}" for name in resilient_transport.__all__} <= public
    assert {
        f"{PACKAGE}.RetryPolicy.{name}" for name in resilient_transport.RetryPolicy._shape.names
    } <= public
    assert {f"{PACKAGE}.Attempt.{name}" for name in resilient_transport.Attempt._fields} <= public
    assert {f"{PACKAGE}.Stage.{stage.name}" for stage in resilient_transport.Stage} <= public
    assert {f"{PACKAGE}.events.GaveUp.attempt", f"{PACKAGE}.testing.FaultServer.play"} <= public


def test_nothing_private_has_to_be_there(public):
    """Neither a name with an underscore, nor what only the package itself uses."""
    assert [name for name in public if "._" in name] == []
    assert f"{PACKAGE}.RetryPolicy.raises_at" not in public


@pytest.mark.parametrize("name", ["Stage", "RetryPolicy.retries", "events.GaveUp.attempt"])
def test_a_name_that_is_left_out_is_found(public, name):
    """The control: a class, a field without `#:`, and a field of an event."""
    (found,) = differences(public - {f"{PACKAGE}.{name}"}, public)

    assert found.startswith(f"{PACKAGE}.{name} is public, and the reference has not got it")


def test_a_name_that_is_not_public_is_found(public):
    """The control: the reference shows more than there is."""
    (found,) = differences(public | {f"{PACKAGE}.Shelf"}, public)

    assert found.startswith(f"{PACKAGE}.Shelf is in the reference")


@dataclass(frozen=True, slots=True)
class Value:
    """A value."""

    size: int

    def grow(self):
        """Grow."""


class Plain:
    """A class."""

    def __init__(self):
        self.size = 1
        other = ModuleType("other")
        other.height = self._depth = 2

    @property
    def width(self):
        """Its width."""


class Pair(NamedTuple):
    """A pair."""

    one: int
    two: int = 2


class Colour(Enum):
    """A colour."""

    RED = 1


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        (Value, {"size", "grow"}),
        (Plain, {"size", "width"}),
        (Pair, {"one", "two"}),
        (Colour, {"RED"}),
    ],
)
def test_the_members_of_a_class_are_seen(kind, members):
    """The control: however a class is made."""
    assert {name for name in members_of(kind) if not name.startswith("_")} == members


def test_a_module_without_a_list_has_what_it_defines(monkeypatch, tmp_path):
    """The control: what it imports, and what has an underscore, is not of it."""
    (tmp_path / "shelf_of_names.py").write_text("import re\nfrom os import path\nsize: int = 1\n_depth = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shelf_of_names", raising=False)
    import shelf_of_names

    assert names_in(shelf_of_names) == {"shelf_of_names.size"}


def test_the_arguments_of_a_class_are_left_out_where_its_fields_are_explained():
    """Up to what follows them."""
    told = [
        "It retries.",
        "",
        "Args:",
        "    retries: how often.",
        "",
        "        At most.",
        "",
        "Raises:",
        "    E: x.",
    ]

    assert without_arguments(told) == [*told[:2], *told[-2:]]
    assert without_arguments(told[:2]) == told[:2]


@pytest.mark.parametrize(
    ("value", "name", "signature"),
    [
        (resilient_transport.Attempt, "Attempt", ""),
        (resilient_transport.EndpointDisabled, "EndpointDisabled", ""),
        (events.GaveUp, "events.GaveUp", ""),
        (Stats, "telemetry.stats.Stats", ""),
        (resilient_transport.RetryPolicy, "RetryPolicy", "(a=..., b=1)"),
    ],
)
def test_a_signature_is_shown_of_what_somebody_makes(value, name, signature):
    """And a default without a spelling is left out."""
    told = "(a=<factory>, b=1)"
    shown = process_signature(None, "class", f"{PACKAGE}.{name}", value, None, told, None)

    assert shown == (signature, None)


def test_every_argument_of_the_adapter_is_explained():
    """In the docstring of its class, which the reference shows."""
    told = re.findall(r"^    ([a-z_]+): ", inspect.getdoc(resilient_transport.ResilientAdapter), re.MULTILINE)

    assert set(resilient_transport.AdapterArguments.__annotations__) <= set(told)


SITE = {
    "index.html": '<a class="x" href="a/b.html#up">b</a><link href="_static/x.css?v=1"/><a href="#top">t</a>'
    '<i id="top"><a href="https://a.example/x">x</a>',
    "a/b.html": '<h1 id="up"><a href="../index.html">i</a>',
}
FILES = {*SITE, "_static/x.css"}


def test_the_links_of_a_site_lead_somewhere():
    """To its files, and to places on its pages; links out of it are not looked up."""
    assert broken_links(SITE, FILES) == []


@pytest.mark.parametrize("link", ["b.html", "a/b.html#down", "#bottom", "_static/y.css"])
def test_a_link_of_a_site_that_leads_nowhere_is_found(link):
    """The control: a page, a place on another page, a place on the page itself, and a file."""
    page = SITE["index.html"] + f'<a href="{link}">'

    assert broken_links({**SITE, "index.html": page}, FILES) == [f"index.html: {link}"]


def test_the_table_of_settings_has_every_setting():
    """One row for each."""
    from docs.pages import settings_table

    rows = settings_table().splitlines()[2:]

    assert [row.split(" | ")[0].strip("| `") for row in rows] == [one.variable for one in settings.SETTINGS]
