"""TCP keep-alive is ours where nobody else has said anything; what a program has set is left alone."""

import socket

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt.adapters.socket_options import TCPKeepAliveAdapter
from urllib3.connection import HTTPConnection

from resilient_transport import ResilientAdapter
from resilient_transport.connection.socket_options import with_keepalive
from tests.plain_server import plain_server
from tests.programs import run_python

pytestmark = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="not Linux")

ON = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
OFF = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
IDLE = (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPIDLE", 0), 33)
PAUSE = (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPINTVL", 0), 7)
PATIENCE = (socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 0), 9000)
NAMES = [ON[:2], IDLE[:2], PAUSE[:2], (socket.IPPROTO_TCP, getattr(socket, "TCP_KEEPCNT", 0)), PATIENCE[:2]]
#: What ours sets, in the order of `NAMES`.
OURS = [1, 60, 10, 6, 0]


@pytest.fixture
def url():
    """That of a server."""
    with plain_server() as url:
        yield url


def options_of(url, adapter):
    """What the socket of a call is set to, in the order of `NAMES`."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        with session.get(url, stream=True) as response:
            sock = response.raw._connection.sock
            return [sock.getsockopt(*name) for name in NAMES]


OWN = [[ON], [OFF], [IDLE], [ON, IDLE], [list(ON), list(IDLE)], [ON, IDLE, PAUSE], [OFF, PATIENCE]]


@pytest.mark.parametrize("own", OWN, ids=str)
@pytest.mark.parametrize("when", ["before", "after", "replaced"])
def test_what_the_program_has_set_stays(url, monkeypatch, own, when):
    """As in stock, whether it is set before or after the adapter is made; a new list counts, too."""
    adapter = ResilientAdapter()
    if when == "replaced":
        monkeypatch.setattr(
            HTTPConnection, "default_socket_options", [*HTTPConnection.default_socket_options, *own]
        )
    else:
        # The list itself is the default of an argument.
        monkeypatch.setattr(
            "urllib3.connection.HTTPConnection.default_socket_options", HTTPConnection.default_socket_options
        )
        HTTPConnection.default_socket_options.extend(own)
    try:
        if when == "before":
            adapter = ResilientAdapter()
        stock, ours = options_of(url, HTTPAdapter()), options_of(url, adapter)
    finally:
        if when != "replaced":
            del HTTPConnection.default_socket_options[-len(own) :]

    for name, value in ((tuple(option[:2]), option[2]) for option in own):
        assert ours[NAMES.index(name)] == value
    assert ours == stock or when == "replaced"


def test_ours_where_nobody_has_said_anything(url):
    """The control: without such options the socket has ours."""
    assert options_of(url, ResilientAdapter()) == OURS


def test_a_limit_for_what_is_unanswered_is_no_keep_alive(url, monkeypatch):
    """TCP_USER_TIMEOUT stays as the program has set it, and ours is beside it."""
    monkeypatch.setattr(HTTPConnection, "default_socket_options", [PATIENCE])

    assert options_of(url, ResilientAdapter()) == [*OURS[:4], PATIENCE[2]]


@pytest.mark.parametrize("way", ["constructor", "environment"])
@pytest.mark.parametrize(("seconds", "expected"), [(60, [1, 60, 10, 6]), (6, [1, 6, 1, 6]), (0, [0])])
def test_what_this_package_was_told_is_stronger(url, monkeypatch, say, way, seconds, expected):
    """A setting of this package that somebody has made says more than a list for the whole program."""
    monkeypatch.setattr(HTTPConnection, "default_socket_options", [ON, IDLE, PAUSE])
    adapter = ResilientAdapter(**say(way, tcp_keepalive=seconds).arguments)

    assert options_of(url, adapter)[: len(expected)] == expected


def test_what_a_subclass_gives_its_pools_is_stronger_still(url):
    """requests-toolbelt's adapter sets socket options for its pools; ours below it leaves them."""

    class Both(TCPKeepAliveAdapter, ResilientAdapter):
        pass

    class Stock(TCPKeepAliveAdapter):
        pass

    given = {"idle": 33, "interval": 7, "count": 5}

    assert options_of(url, Both(**given)) == options_of(url, Stock(**given)) == [1, 33, 7, 5, 0]


def test_the_list_of_urllib3_is_not_changed():
    """Ours are put into a copy."""
    before = list(HTTPConnection.default_socket_options)
    with_keepalive(60)

    assert before == HTTPConnection.default_socket_options


PROGRAM = """
import socket, sys
from urllib3.connection import HTTPConnection
HTTPConnection.default_socket_options += [(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33)]
import requests, resilient_transport
session = requests.Session()
resilient_transport.mount(session)
with session.get(sys.argv[1], stream=True) as response:
    print(response.raw._connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
"""


def test_set_before_the_import(url):
    """A program that has set them before it imports this package keeps them."""
    assert run_python("-c", PROGRAM, url).stdout == "33\n"
