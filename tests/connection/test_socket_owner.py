"""A socket has an owner from the moment it is connected: whatever raises next, somebody closes it."""

import gc
import select
import socket
import sys
import warnings

import pytest
import requests

from resilient_transport import attempts_of
from resilient_transport.connection.eof import WatchedSSLSocket
from resilient_transport.connection.tls_connection import TLSConnection
from resilient_transport.testing import Script
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT

#: Calls a server that never answers. An audit hook meets the socket that has just been connected, before the
#: connection goes on with it: it waits until the deadline is over, or it refuses.
PROGRAM = """
import gc, socket, sys, time
import requests
from resilient_transport import ResilientAdapter, RetryPolicy

kind, scheme, deed = sys.argv[1:]
server = socket.create_server(("127.0.0.1", 0))
url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
met = []

def hook(event, args):
    if event == "http.client.connect":
        met.append(event)
        if deed == "refuse":
            raise PermissionError("no connections today")
        while time.monotonic() < over:
            time.sleep(0.01)

sys.addaudithook(hook)
with requests.Session() as session:
    session.trust_env = False
    if kind == "ours":
        policy = RetryPolicy(retries=0, deadline=0.5 if deed == "wait" else 60)
        session.mount(f"{scheme}://", ResilientAdapter(policy=policy))
    over = time.monotonic() + 0.5
    try:
        session.get(url)
    except OSError as error:
        print(type(error).__name__, len(met))
gc.collect()
server.close()
"""


def closed(kind: str, scheme: str, deed: str) -> tuple[str, str]:
    """Run the program; return what it printed and what Python said about sockets that nobody closed."""
    ended = run_python("-X", "dev", "-W", "error::ResourceWarning", "-c", PROGRAM, kind, scheme, deed)
    return ended.stdout.strip(), ended.stderr


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_deadline_that_ends_while_connecting_leaves_no_socket(scheme):
    """The deadline may end between the connect and what follows it: the socket is closed all the same."""
    said, left = closed("ours", scheme, "wait")

    assert said == "DeadlineExceeded 1"
    assert left == ""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_audit_hook_that_refuses_leaves_no_socket(scheme):
    """An audit hook may refuse a connection that is there already: the socket is closed."""
    said, left = closed("ours", scheme, "refuse")

    assert said.endswith("1")
    assert left == ""


def test_stock_leaves_a_socket_where_a_hook_refuses():
    """The control: the program sees a socket that nobody closes."""
    _, left = closed("stock", "http", "refuse")

    assert "unclosed <socket.socket" in left


def reset_before_tls(server, session, monkeypatch, is_met):
    """POST to a server whose first connection is reset before TLS begins on it.

    Args:
        is_met: somebody has asked the socket for its error already, so that it tells of none.

    Returns:
        What the call came to, and the warnings of sockets that nobody has closed.
    """
    server.play(Script())
    connect, struck = TLSConnection._new_conn, []

    def connect_and_wait(connection):
        sock = connect(connection)
        if not struck:
            struck.append(True)
            server.wait_for(lambda counts: counts.accepts == 1)
            server.reset_peers()
            poll = select.poll()
            poll.register(sock, 0)
            assert poll.poll(LONG_TIMEOUT * 1000)
            if is_met:
                sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return sock

    monkeypatch.setattr(TLSConnection, "_new_conn", connect_and_wait)
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        try:
            outcome = session.post(server.url + "/echo", data=b"x")
        except requests.RequestException as error:
            outcome = error.with_traceback(None)
        gc.collect()
    return outcome, left


@pytest.mark.parametrize("is_met", [False, True])
def test_a_reset_before_tls_begins_is_one_of_the_handshake(server, dial, monkeypatch, is_met):
    """The socket is closed, and the call is sent again: nothing of it had left."""
    answer, left = reset_before_tls(server, dial(server), monkeypatch, is_met)

    assert answer.text == "x"
    assert [str(attempt.stage) for attempt in attempts_of(answer)] == ["handshake", "done"]
    assert attempts_of(answer)[0].error == "ConnectionResetError: Connection reset by peer"
    assert left == []


def test_a_reset_after_tls_has_begun_closes_nothing(server, dial):
    """Who asks for the peer's address hears that it is gone, and the socket is its owner's."""
    server.play(Script())
    with dial(server).get(server.url + "/bytes/1000", stream=True) as response:
        sock = response.raw._connection.sock
        poll = select.poll()
        poll.register(sock, 0)
        server.reset_peers()
        assert poll.poll(LONG_TIMEOUT * 1000)
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()
        is_open = sock.fileno() >= 0

    assert isinstance(sock, WatchedSSLSocket)
    assert is_open


@pytest.mark.parametrize("is_met", [False, True])
def test_ssl_takes_it_for_another(server, dial, monkeypatch, is_met):
    """The control: without our look at it, it is left open, or counts as one that has shaken hands."""
    monkeypatch.delattr(WatchedSSLSocket, "getpeername")
    outcome, left = reset_before_tls(server, dial(server), monkeypatch, is_met)

    if is_met:
        assert [str(attempt.stage) for attempt in attempts_of(outcome)][0] != "handshake"
    else:
        assert left or sys.version_info >= (3, 12)
