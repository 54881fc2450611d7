"""TCP connects begun ahead: real sockets, on loopback."""

import select
import socket
import struct
from contextlib import nullcontext

import pytest
from urllib3.exceptions import NewConnectionError

from resilient_transport.connection import preconnect as dial
from resilient_transport.connection.connection import ConnectionPlan, PlainConnection
from resilient_transport.connection.failed_addresses import FAILED
from resilient_transport.connection.happy_eyeballs import Race
from resilient_transport.connection.preconnect import Preconnects, Route
from resilient_transport.connection.trace import Trace
from resilient_transport.retry.deadline import Deadline
from tests.timeouts import LONG_TIMEOUT

NODELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.fixture
def listener():
    """A port that is listened to; nobody accepts."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def route(listener):
    """The route that a connection to it has taken."""
    with socket.create_connection(listener.getsockname()) as sock, listener.accept()[0]:
        yield Route.of(sock, None, [NODELAY])


@pytest.fixture
def preconnects():
    """Begun connects, closed at the end."""
    preconnects = Preconnects()
    yield preconnects
    preconnects.trim(0)


def test_a_route_is_where_a_connect_has_succeeded(listener, route):
    """Address, family and options are those of the socket that has connected."""
    assert route == Route(socket.AF_INET, listener.getsockname(), None, [NODELAY])


def test_what_is_no_plain_tcp_socket_has_no_route():
    """A socket that somebody has put in its place, as a patched `create_connection` may, is not imitated."""
    first, second = socket.socketpair()
    with first, second:
        unix = Route.of(first, None, None)

    assert unix is None
    assert Route.of(object(), None, None) is None


def finish(begun):
    """Finish a begun connect; None: it has failed."""
    return Race(None, LONG_TIMEOUT, Deadline(), None).finish(begun.sock, begun.address)


def test_a_begun_connect_is_finished(listener, route, preconnects):
    """Who takes it gets a connected socket with the options and the time-out of any other."""
    preconnects.begin(route, 1)
    with finish(preconnects.take()) as sock, listener.accept()[0] as accepted:
        accepted.sendall(b"hello")
        received = sock.recv(5)
        nodelay = sock.getsockopt(*NODELAY[:2])
        timeout = sock.gettimeout()

    assert (received, bool(nodelay), timeout) == (b"hello", True, LONG_TIMEOUT)


def test_no_more_are_begun_than_wanted(route, preconnects):
    """What is under way counts."""
    preconnects.begin(route, 2)
    preconnects.begin(route, 3)
    preconnects.begin(route, 1)

    assert len(preconnects) == 3


def test_a_connect_that_fails_is_given_up(listener, route, preconnects):
    """Here the server has reset it, and the socket is closed."""
    preconnects.begin(route, 1)
    begun = preconnects.take()
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    select.select([begun.sock], [], [], LONG_TIMEOUT)

    assert finish(begun) is None
    assert begun.sock.fileno() == -1


def test_what_cannot_be_begun_is_none(route):
    """No descriptor left, an option that is refused: then nobody dials ahead, and nothing is leaked."""
    assert Route(route.family, route.address, None, [(1, 9999, 1)]).begin() is None
    assert Route(route.family, route.address, ("203.0.113.1", 0), ()).begin() is None
    assert Route(12345, route.address, None, ()).begin() is None


def test_a_list_of_what_cannot_be_begun_is_empty(route, preconnects):
    """One refusal is enough: no further one is tried."""
    preconnects.begin(Route(12345, route.address, None, ()), 3)

    assert len(preconnects) == 0
    assert preconnects.take() is None


def test_the_surplus_is_closed(route, preconnects):
    """The oldest go; those that stay are for whoever comes."""
    preconnects.begin(route, 3)
    socks = [begun.sock for begun in preconnects._begun]
    preconnects.trim(1)

    assert [sock.fileno() == -1 for sock in socks] == [True, True, False]


def test_an_old_connect_is_not_used(monkeypatch, route, preconnects):
    """A server does not wait long for a handshake."""
    preconnects.begin(route, 2)
    socks = [begun.sock for begun in preconnects._begun]
    monkeypatch.setattr(dial, "FRESH", 0.0)

    assert preconnects.take() is None
    assert {sock.fileno() for sock in socks} == {-1}


def test_a_short_path_is_short_on_a_busy_machine(route, listener):
    """The kernel knows the round trip; a connect that took us a second says nothing about it."""
    with socket.create_connection(listener.getsockname()) as sock:
        assert not dial.is_long(sock, 1.0)
        assert not dial.is_long(sock, 0.0)


def test_elsewhere_the_clock_decides(monkeypatch, listener):
    """Where the kernel cannot be asked, it is how long the connect took; so it is for what is no socket."""
    monkeypatch.setattr(dial.sys, "platform", "darwin")
    with socket.create_connection(listener.getsockname()) as sock:
        assert dial.is_long(sock, 1.0)
        assert not dial.is_long(sock, 0.001)
        assert dial.is_long(object(), 1.0)


@pytest.mark.parametrize("has_failed", [True, False])
def test_one_to_an_address_that_has_failed_meanwhile_is_not_taken(listener, route, preconnects, has_failed):
    """Whoever began it may have failed there. Then the next connection begins anew, and may go elsewhere."""
    preconnects.begin(route, 1)
    if has_failed:
        FAILED.add("localhost", listener.getsockname())
    connection = PlainConnection("localhost", 1, timeout=LONG_TIMEOUT)
    connection.prepare(ConnectionPlan(begun=preconnects.take()), Trace())
    try:
        with pytest.raises(NewConnectionError) if has_failed else nullcontext():
            # Nobody listens at the port that it would go to instead.
            connection._dial()
    finally:
        connection.close()
        FAILED.clear()

    assert connection._begun is None
