"""Whoever patches urllib3 or `http.client` is called as ever: nothing goes past what somebody put there."""

import functools
import http.client
import logging

import pytest
import requests
import urllib3.connection
import urllib3.connectionpool
import urllib3.response

from resilient_transport import ResilientAdapter
from resilient_transport.connection import shipped
from resilient_transport.connection.connection import ResilientConnection
from tests.missing import require
from tests.plain_server import plain_server

PATCHED = [
    (http.client.HTTPConnection, "putrequest"),
    (http.client.HTTPConnection, "putheader"),
    (http.client.HTTPConnection, "endheaders"),
    (http.client.HTTPConnection, "getresponse"),
    (http.client.HTTPResponse, "begin"),
    (http.client.HTTPResponse, "_read_status"),
    (http.client, "parse_headers"),
    (urllib3.connection.HTTPConnection, "request"),
    (urllib3.connection.HTTPConnection, "putrequest"),
    (urllib3.connection.HTTPConnection, "putheader"),
    (urllib3.connection.HTTPConnection, "endheaders"),
    (urllib3.connection.HTTPConnection, "getresponse"),
    (urllib3.connectionpool.HTTPConnectionPool, "urlopen"),
    (urllib3.connectionpool.HTTPConnectionPool, "_make_request"),
    (urllib3.response.HTTPResponse, "__init__"),
    (urllib3.response.HTTPResponse, "read"),
    (urllib3.response.HTTPResponse, "_raw_read"),
]


@pytest.fixture
def session():
    """A session with a connection that was used before, and the URL to call."""
    with plain_server() as url, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter())
        session.get(url)
        yield session, url


@pytest.fixture
def exchanged(monkeypatch):
    """What went past urllib3."""
    made = []
    usual = ResilientConnection.exchange

    def exchange(self, *args):
        made.append(args)
        return usual(self, *args)

    monkeypatch.setattr(ResilientConnection, "exchange", exchange)
    return made


def wrapped(function, calls):
    """Return what calls a function and notes that it was called."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        calls.append(function)
        return function(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(("owner", "name"), PATCHED, ids=lambda part: getattr(part, "__name__", part))
def test_who_patches_is_called(session, exchanged, monkeypatch, owner, name):
    """What somebody has put around a function sees the request; without it, the request goes past."""
    calls, (caller, url) = [], session
    caller.get(url)
    before = len(exchanged), list(calls)
    monkeypatch.setattr(owner, name, wrapped(getattr(owner, name), calls))
    answer = caller.get(url)

    assert before == (1, [])
    assert answer.text == "ok"
    assert calls
    assert len(exchanged) == 1


@pytest.mark.parametrize(("owner", "name"), PATCHED, ids=lambda part: getattr(part, "__name__", part))
def test_who_wraps_with_wrapt_is_called(session, exchanged, monkeypatch, owner, name):
    """OpenTelemetry's wrappers, and those of others, say that they are equal to what they wrap."""
    calls, (caller, url) = [], session

    def wrapper(usual, instance, args, kwargs):
        calls.append(name)
        return usual(*args, **kwargs)

    before = getattr(owner, name)
    monkeypatch.setattr(owner, name, require("wrapt").FunctionWrapper(before, wrapper))
    answer = caller.get(url)

    assert getattr(owner, name) == before
    assert (answer.text, exchanged) == ("ok", [])
    assert calls


def test_who_stops_patching_is_gone_past_again(session, exchanged):
    """After a patch has ended, everything is as before."""
    caller, url = session
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.client.HTTPConnection, "putrequest", http.client.HTTPConnection.putheader)
        assert not shipped.is_as_shipped()
    caller.get(url)

    assert len(exchanged) == 1


def test_who_reads_urllib3s_log_gets_its_lines(session, exchanged, caplog):
    """urllib3 tells of each response at DEBUG; who listens there hears of all."""
    caller, url = session
    with caplog.at_level(logging.DEBUG, "urllib3.connectionpool"):
        caller.get(url)

    assert [record.name for record in caplog.records if '"GET / HTTP/1.1" 200' in record.getMessage()]
    assert not exchanged


def test_a_patch_that_was_there_first_is_noticed():
    """A wrapper that was put in place before this package was imported is no original."""
    calls = []

    assert shipped._is_known()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http.client, "parse_headers", wrapped(http.client.parse_headers, calls))
        assert not shipped._is_known()
        # sentry-sdk's is a function of its own, and wraps nothing.
        patch.undo()
        patch.setattr(http.client.HTTPConnection, "putrequest", lambda self, *args, **kwargs: None)
        assert not shipped._is_known()


def test_a_version_whose_response_takes_other_arguments_is_not_gone_past(monkeypatch):
    """Before 2.4 urllib3's response took fewer arguments."""
    monkeypatch.setattr(shipped, "_ARGUMENTS", {"an argument of another version"})

    assert not shipped._is_known()


@pytest.mark.parametrize("name", ["request", "putrequest", "putheader", "endheaders", "getresponse"])
def test_who_patches_what_is_inherited_is_noticed(monkeypatch, name):
    """TLS connections have these from plain ones, and a program may give them their own."""
    owner = urllib3.connection.HTTPSConnection
    before = shipped.is_as_shipped()
    monkeypatch.setattr(owner, name, wrapped(getattr(owner, name), []))

    assert (before, shipped.is_as_shipped()) == (True, False)


def test_everything_that_is_gone_past_is_tried():
    """Each row of what is watched has a test, but for what is inherited or called inside."""
    watched = {f"{module.__name__}.{name}" for module, names in shipped._GONE_PAST.items() for name in names}
    tried = {
        f"{getattr(owner, '__module__', 'http.client')}.{getattr(owner, '__qualname__', '')}.{name}"
        for owner, name in PATCHED
    }
    inherited = {name for name in watched if ".HTTPS" in name}

    assert {name.replace("..", ".") for name in tried} == watched - inherited - {
        "http.client.HTTPConnection._send_output"
    }
