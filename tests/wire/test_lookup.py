"""From what a call names to its pool: when an entry still counts, and which URLs take no parser."""

import os
from urllib.parse import urlsplit

import pytest
import requests
from urllib3 import PoolManager

from resilient_transport.wire.identity import fingerprint
from resilient_transport.wire.lookup import Entry, Lookup, origin_of
from resilient_transport.wire.registry import registry

ORIGIN = "https://localhost:8443"


@pytest.fixture
def manager():
    """Return a pool manager of urllib3's, with settings."""
    with PoolManager(maxsize=3) as manager:
        yield manager


@pytest.fixture
def file(tmp_path):
    """Return a file that an identity is made of."""
    path = tmp_path / "ca.pem"
    path.write_text("one")
    return path


@pytest.fixture
def entry(manager, file):
    """Return an entry that was made a moment ago."""
    paths = (str(file),)
    return Entry(manager.connection_from_url(ORIGIN), manager, paths, fingerprint(paths))


def replace(path):
    """Put another file in the place of this one."""
    new = path.with_suffix(".new")
    new.write_text("two")
    os.replace(new, path)


def a_second_later(entry):
    """Put an entry into the state in which it is after its second: it was looked at longer ago."""
    entry._looked_at -= 1.1


def test_an_entry_is_current_at_first(entry, manager):
    """It names its pool, and holds as long as nothing has changed."""
    assert entry.is_current(manager)
    assert entry.pool is manager.connection_from_url(ORIGIN)


def test_another_manager_ends_it(entry):
    """`init_poolmanager` was called again, or a proxy's manager was forgotten."""
    with PoolManager(maxsize=3) as other:
        assert not entry.is_current(other)
    assert not entry.is_current(None)


def test_other_settings_end_it(entry, manager):
    """Programs set `connection_pool_kw` after the fact, and mean it."""
    manager.connection_pool_kw["maxsize"] = 7
    changed = entry.is_current(manager)
    manager.connection_pool_kw["maxsize"] = 3

    assert not changed
    assert entry.is_current(manager)


def test_a_replaced_file_ends_it_after_a_second(entry, manager, file):
    """Files are looked at once a second, and not for each call."""
    replace(file)
    within_the_second = entry.is_current(manager)
    a_second_later(entry)

    assert within_the_second
    assert not entry.is_current(manager)
    assert not entry.is_current(manager)


def test_an_unchanged_file_does_not_end_it(entry, manager, file):
    """The control: the look is taken, finds nothing, and counts for another second."""
    a_second_later(entry)
    before = entry._looked_at
    looked = entry.is_current(manager)
    replace(file)

    assert looked
    assert entry._looked_at > before + 1
    assert entry.is_current(manager)


def test_a_vanished_file_ends_it(entry, manager, file):
    """A file that is not there any more is one that has changed."""
    file.unlink()
    a_second_later(entry)

    assert not entry.is_current(manager)


def test_an_entry_can_be_kept_while_its_files_are_replaced(entry, manager, file):
    """For another second, and then it is asked again."""
    replace(file)
    a_second_later(entry)
    entry.keep()
    kept = entry.is_current(manager)
    a_second_later(entry)

    assert kept
    assert not entry.is_current(manager)


def test_a_lookup_remembers(entry):
    """What was put is found under its key, and replaced under it."""
    lookup = Lookup(2)
    lookup.put("a", entry)
    lookup.put("a", entry)

    assert lookup.get("a") is entry
    assert lookup.get("b") is None
    lookup.clear()
    assert lookup.get("a") is None


@pytest.mark.parametrize(("size", "kept"), [(0, ["c"]), (1, ["c"]), (2, ["b", "c"]), (3, ["a", "b", "c"])])
def test_a_lookup_is_bounded(entry, size, kept):
    """The oldest entry makes room; there is always room for one."""
    lookup = Lookup(size)
    for key in "abc":
        lookup.put(key, entry)

    assert [key for key in "abc" if lookup.get(key)] == kept


def test_a_lookup_knows_its_generation():
    """Entries from before a fork are told by it."""
    assert Lookup(1).generation == registry.generation


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://localhost/", "https://localhost"),
        ("http://localhost/", "http://localhost"),
        ("https://localhost:8443/a/b?c#d", "https://localhost:8443"),
        ("https://127.0.0.1:1/", "https://127.0.0.1:1"),
        ("https://[::1]:8443/a", "https://[::1]:8443"),
        ("https://[fe80::1%25lo]/", "https://[fe80::1%25lo]"),
        ("https://xn--bcher-kva.example/@/", "https://xn--bcher-kva.example"),
        ("https://localhost//double", "https://localhost"),
        ("https://localhost/?next=https://elsewhere/", "https://localhost"),
        ("https://user:password@localhost/", None),
        ("https://user@localhost/", None),
        ("https://localhost\\@elsewhere/", None),
        ("https://localhost?query", None),
        ("https://localhost?query=/", None),
        ("https://localhost#fragment/", None),
        ("https://localhost", None),
        ("https:///path", None),
        ("HTTPS://localhost/", None),
        ("Https://localhost/", None),
        ("http+unix://socket/", None),
        ("ftp://localhost/", None),
        ("//localhost/", None),
        (" https://localhost/", None),
        ("", None),
    ],
)
def test_an_origin_is_told_where_it_takes_no_parser(url, origin):
    """Everything that is not plain is left to the parser that requests uses."""
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "https://LOCALHOST:8443/a?b",
        "HTTPS://localhost",
        "https://localhost?query",
        "http://[::1]:80",
        "https://bücher.example/ü?ü",
        "https://user:password@localhost:1/x",
        "https://localhost/%2e%2e/@x",
    ],
)
def test_an_origin_is_what_the_parser_says(url):
    """Where it is told at all, of a URL as requests prepares it, the origin is the parser's."""
    prepared = requests.Request("GET", url).prepare().url
    parts = urlsplit(prepared)

    assert origin_of(prepared) in (None, f"{parts.scheme}://{parts.netloc}")
    assert (origin_of(prepared) is None) is ("@" in parts.netloc)
