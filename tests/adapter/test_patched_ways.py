"""A program that has put its own way to connect into urllib3 keeps it, whatever else it asks for."""

import functools
import threading
import time

import pytest
import requests
import urllib3.util.connection
from urllib3.connection import HTTPConnection

from resilient_transport import DeadlineExceeded, ResilientAdapter, RetryPolicy
from tests.call.test_deadline import LATE
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told
from tests.missing import require
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

OK = told("200 OK", b"", Content_Length="0")
NAME = "mapped.invalid"
#: What an adapter may be asked for that it would connect by its own hand for.
WISHES = {
    "nothing": {},
    "deadline": {"deadline": LONG_TIMEOUT},
    "attempt_timeout": {"attempt_timeout": LONG_TIMEOUT},
    "dns_order": {"dns_order": "ipv4first"},
    "both": {"dns_order": "ipv6first", "deadline": LONG_TIMEOUT},
}
#: Connects in its own way to where its argument says, having imported this package before or afterwards.
PROGRAM = """
import sys
import {first}
import {then}
import urllib3.connection, urllib3.util.connection

stock, stocks = urllib3.util.connection.create_connection, urllib3.connection.HTTPConnection._new_conn

def create_connection(address, *args, **values):
    return stock(("127.0.0.1", address[1]), *args, **values)

def _new_conn(self):
    self._dns_host = "127.0.0.1"
    return stocks(self)

{patch}
import requests, resilient_transport

for policy in ({{}}, {{"deadline": 10}}):
    with requests.Session() as session:
        session.trust_env = False
        resilient_transport.mount(session, policy=resilient_transport.RetryPolicy(retries=0, **policy))
        print(session.get(sys.argv[1]).status_code)
    resilient_transport.registry.clear()
"""
PATCHES = {
    "create_connection": "urllib3.util.connection.create_connection = create_connection",
    "_new_conn": "urllib3.connection.HTTPConnection._new_conn = _new_conn",
}


class Finder:
    """A way to connect that is an object, and no function."""

    def __init__(self, connect):
        self._connect = connect

    def __call__(self, address, *args, **values):
        return self._connect(address, *args, **values)


class Theirs:
    """What a program's own way to connect was asked for, and what it has made.

    Args:
        before: is called before each connect.
    """

    def __init__(self, before=lambda: None):
        self.before = before
        self.asked, self.made = [], []

    def connected(self, name, connect):
        """Note a name and the socket that was made for it."""
        self.asked.append(name)
        self.before()
        self.made.append(connect())
        return self.made[-1]


def of_create_connection(theirs):
    """Return a way to connect to a mapped name, in the place of urllib3's function."""
    stock = urllib3.util.connection.create_connection

    def create_connection(address, *args, **values):
        return theirs.connected(address[0], lambda: stock(("127.0.0.1", address[1]), *args, **values))

    return create_connection


def of_new_conn(theirs):
    """Return the same in the place of urllib3's method."""
    stock = HTTPConnection._new_conn

    def _new_conn(self):
        name, self._dns_host = self._dns_host, "127.0.0.1"
        return theirs.connected(name, lambda: stock(self))

    return _new_conn


def wrapped(make, stock):
    """Return a function that makes a way which looks like urllib3's own."""
    return lambda theirs: functools.wraps(stock)(make(theirs))


def proxied(make, stock):
    """Return a function that makes a way which answers every question as urllib3's own does."""

    def way(theirs):
        own = make(theirs)

        def call(usual, instance, args, values):
            return own(*args, **values) if instance is None else own(instance)

        return require("wrapt").FunctionWrapper(stock, call)

    return way


FUNCTION, METHOD = urllib3.util.connection.create_connection, HTTPConnection._new_conn
WAYS = {
    "function": (urllib3.util.connection, "create_connection", of_create_connection),
    "wrapped function": (
        urllib3.util.connection,
        "create_connection",
        wrapped(of_create_connection, FUNCTION),
    ),
    "object": (
        urllib3.util.connection,
        "create_connection",
        lambda theirs: Finder(of_create_connection(theirs)),
    ),
    "method": (HTTPConnection, "_new_conn", of_new_conn),
    "wrapped method": (HTTPConnection, "_new_conn", wrapped(of_new_conn, METHOD)),
    "proxied function": (
        urllib3.util.connection,
        "create_connection",
        proxied(of_create_connection, FUNCTION),
    ),
    "proxied method": (HTTPConnection, "_new_conn", proxied(of_new_conn, METHOD)),
}


@pytest.fixture(params=WAYS)
def connect(request, monkeypatch):
    """Return a function that replaces urllib3's way, and returns what is known of the new one."""

    def put(*before):
        owner, name, make = WAYS[request.param]
        theirs = Theirs(*before)
        monkeypatch.setattr(owner, name, make(theirs))
        return theirs

    return put


def mapped(verbatim):
    """The URL of a server by a name that no resolver knows."""
    return verbatim.url.replace("localhost", NAME)


def adapter_for(dns_order="system", **policy):
    """Return an adapter that repeats nothing."""
    return ResilientAdapter(dns_order=dns_order, policy=RetryPolicy(retries=0, **policy))


def session_with(adapter):
    """Return a session that goes straight to its servers."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter)
    return session


@pytest.mark.parametrize("wish", WISHES)
def test_a_way_of_ones_own_is_kept(connect, wish):
    """The name is resolved by the program's own way, with a deadline and an order of addresses, too."""
    theirs = connect()
    with VerbatimServer([Answer(OK)]) as verbatim, session_with(adapter_for(**WISHES[wish])) as session:
        status = session.get(mapped(verbatim)).status_code

    assert status == 200
    assert theirs.asked == [NAME]


@pytest.mark.parametrize("wish", WISHES)
def test_one_that_comes_later_is_kept(connect, wish):
    """An adapter that has connected in urllib3's way takes the program's as soon as it is there."""
    with VerbatimServer([Answer(OK)] * 2) as verbatim, session_with(adapter_for(**WISHES[wish])) as session:
        session.get(verbatim.url)
        theirs = connect()
        status = session.get(mapped(verbatim)).status_code

    assert status == 200
    assert theirs.asked == [NAME]


@pytest.mark.parametrize("wish", WISHES)
def test_no_resolver_knows_the_name(wish):
    """The control: without such a way the name is not found, and nothing is opened."""
    with VerbatimServer([]) as verbatim, session_with(adapter_for(name_retries=0, **WISHES[wish])) as session:
        with pytest.raises(requests.ConnectionError, match="resolve"):
            session.get(mapped(verbatim))

        assert verbatim.accepts == 0


@pytest.mark.slow
@pytest.mark.parametrize("first", ["resilient_transport", "urllib3"])
@pytest.mark.parametrize("patch", PATCHES)
def test_it_is_kept_whoever_was_imported_first(patch, first):
    """A program that patches urllib3 before it imports this package is served like one that does it later."""
    text = PROGRAM.format(first=first, then="requests", patch=PATCHES[patch])
    with VerbatimServer([Answer(OK)] * 2) as verbatim:
        done = run_python("-c", text, mapped(verbatim), check=False)

    assert done.stderr == ""
    assert done.stdout.split() == ["200", "200"]


@pytest.mark.parametrize("order", ["system", "ipv4first"])
def test_a_deadline_bounds_it(connect, order):
    """A way that hangs ends with the deadline of its call, and what it brings afterwards is closed."""
    go_on = threading.Event()
    theirs = connect(lambda: go_on.wait(LONG_TIMEOUT))
    with (
        VerbatimServer([]) as verbatim,
        session_with(adapter_for(order, deadline=SHORT_TIMEOUT)) as session,
    ):
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            session.get(mapped(verbatim))
        took = time.monotonic() - began
        go_on.set()
        for thread in threading.enumerate():
            if thread.name == "resilient_transport-dial":
                thread.join(LONG_TIMEOUT)

    assert SHORT_TIMEOUT <= took < SHORT_TIMEOUT + LATE
    assert [sock.fileno() for sock in theirs.made] == [-1]
    assert verbatim.heads == []
