"""From what a call names to its pool: when an entry still counts, and which URLs take no parser."""

import ssl
from urllib.parse import urlsplit

import pytest
import requests
from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3 import PoolManager
from urllib3.exceptions import SSLError

from resilient_transport.pool.key import (
    Entry,
    Lookup,
    as_requests_raise,
    beside_context,
    named_by,
    refuse_beside_context,
    told_by,
    what_is_wrong,
)
from resilient_transport.pool.registry import registry
from resilient_transport.util.origin import origin_at, origin_of

ORIGIN = "https://localhost:8443"


@pytest.fixture
def manager():
    """Return a pool manager of urllib3's, with settings."""
    with PoolManager(maxsize=3) as manager:
        yield manager


@pytest.fixture
def entry(manager):
    """Return an entry that was made a moment ago."""
    return Entry(manager.connection_from_url(ORIGIN), manager)


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


def test_a_second_ends_it(entry, manager):
    """Files are looked at once a second, and not for each call; the registry does it."""
    within_the_second = entry.is_current(manager)
    entry._looked_at -= 1.1

    assert within_the_second
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

    assert origin_of(prepared) in (None, f"{parts.scheme}://{parts.netloc}".removesuffix(":80"))
    assert (origin_of(prepared) is None) is ("@" in parts.netloc)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://localhost:8443/a?b", "https://localhost:8443"),
        ("https://localhost:443/", "https://localhost"),
        ("http://localhost:80/", "http://localhost"),
        ("http://localhost:443/", "http://localhost:443"),
        ("https://localhost:80/", "https://localhost:80"),
        ("https://localhost443/", "https://localhost443"),
        ("http://[::1]:80/", "http://[::1]"),
        ("http://[::80]/", "http://[::80]"),
        ("https://user:password@localhost:1/x", "https://localhost:1"),
        ("https://user:password@localhost:443", "https://localhost"),
        ("HTTPS://Localhost?query", "https://localhost"),
        ("mailto:somebody", "mailto:"),
        ("x://[::1/", "an unnamed origin"),
        ("", "an unnamed origin"),
    ],
)
def test_every_url_has_an_origin(url, origin):
    """Without credentials and without the port that goes without saying: one quota for one server."""
    assert origin_at(url) == origin


REQUEST = requests.Request("GET", ORIGIN + "/").prepare()
HOST = {"scheme": "https", "host": "localhost", "port": 8443}


def test_what_a_hook_sets_is_told():
    """As far as it names a pool; what stock sets comes with it."""

    def cert_verify(conn, url, verify, cert):
        HTTPAdapter().cert_verify(conn, url, verify, cert)
        conn.assert_hostname = conn.host
        conn.colour = "green"

    told = told_by(cert_verify, HOST, REQUEST, DEFAULT_CA_BUNDLE_PATH, None)

    assert told == {
        "cert_reqs": "CERT_REQUIRED",
        "ca_certs": DEFAULT_CA_BUNDLE_PATH,
        "assert_hostname": "localhost",
    }


@pytest.mark.parametrize(
    ("verify", "cert", "named"),
    [
        (True, None, {"ca_certs": DEFAULT_CA_BUNDLE_PATH}),
        (False, None, {}),
        ("ca", "both", {"ca_certs": "ca", "cert_file": "both", "key_file": None}),
        ("ca", ("cert", "key"), {"ca_certs": "ca", "cert_file": "cert", "key_file": "key"}),
        (False, ["cert", "key", "s3cret"], {"cert_file": "cert", "key_file": "key"}),
    ],
)
def test_the_files_of_a_call_are_named(verify, cert, named):
    """As urllib3's pools name them, whether they exist or not."""
    assert named_by(verify, cert) == named


def test_what_is_wrong_names_what_was_given():
    """In the caller's words, with the cause; what else stands in a tuple is nobody's business."""
    told = what_is_wrong(
        OSError("Could not find it"), {"key_file": "/k"}, False, ("/nonexistent", None, "s3cret")
    )

    assert told == (
        "/nonexistent cannot be read: No such file or directory. "
        "cert= and verify= take paths of PEM files that exist (verify= also of a directory); "
        "given were cert=('/nonexistent', None), key_file='/k'."
    )


def test_what_is_wrong_can_be_unknown():
    """Then the paths have to do."""
    told = what_is_wrong(OSError("it rains"), {}, DEFAULT_CA_BUNDLE_PATH, None)

    assert told.startswith("cert= and verify= take paths")
    assert told.endswith(f"given were verify={DEFAULT_CA_BUNDLE_PATH!r}.")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ssl.SSLError(1, "no"), requests.exceptions.SSLError),
        (SSLError("no"), requests.exceptions.SSLError),
        (FileNotFoundError(2, "no"), requests.exceptions.ConnectionError),
        (OSError("Could not find it"), OSError),
    ],
)
def test_errors_of_files_are_what_stock_raises(error, kind):
    """By what they are; stock's own are left as they are."""
    failed = as_requests_raise(error, REQUEST)

    assert type(failed) is kind
    assert (failed is error) is (kind is OSError)


@pytest.mark.parametrize(
    ("verify", "cert", "cure"),
    [
        (False, None, "set check_hostname and verify_mode on the context"),
        (None, None, "set check_hostname and verify_mode on the context"),
        ("/ca.pem", None, "load it into the context with load_verify_locations"),
        (True, "/cert.pem", "load it into the context with load_cert_chain"),
    ],
)
def test_a_context_of_ones_own_has_the_say(verify, cert, cure):
    """What contradicts it is refused with the cure; `verify=True`, the default, is no contradiction."""
    refuse_beside_context(True, None)
    with pytest.raises(TypeError, match=cure):
        refuse_beside_context(verify, cert)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_of_the_environment_has_no_say_over_a_context(monkeypatch, name):
    """It is meant for every program, and not against this one; another path still is."""
    monkeypatch.setenv(name, "/ca.pem")
    refuse_beside_context("/ca.pem", None)
    with pytest.raises(TypeError, match="verify='/other.pem' has no say"):
        refuse_beside_context("/other.pem", None)


def test_a_hook_may_pin_beside_a_context_of_ones_own():
    """A name or a fingerprint is no part of a context; certificates are, and refused."""
    stock = {"cert_reqs": "CERT_REQUIRED", "ca_certs": "/ca.pem"}
    pins = {"assert_hostname": "name", "assert_fingerprint": "aa"}
    with pytest.raises(TypeError, match="cert_verify sets cert_file"):
        beside_context({**stock, "cert_file": "/c.pem"}, stock)

    assert beside_context({**stock, **pins}, stock) == pins
    assert beside_context(pins, stock) == pins
