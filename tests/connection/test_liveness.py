"""What a socket says that is not asked anything: alive or dead, accepted or refused. Real TLS."""

import select
import socket
import ssl
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import BadStatusLine, RemoteDisconnected

import pytest
from urllib3.util.wait import wait_for_read

from resilient_transport.connection.liveness import confirm, is_alive, listen, read_for_the_rest
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture
def tcp():
    """A function that makes a TCP connection; returns the client's end and the server's."""
    ends = []

    def connect():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), timeout=LONG_TIMEOUT)
            server, _ = listener.accept()
        server.settimeout(LONG_TIMEOUT)
        # What follows a ticket follows at once.
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends.extend([client, server])
        return client, server

    yield connect
    for each in ends:
        each.close()


@pytest.fixture
def tls(tcp, authority):
    """A function that shakes hands over one; a server that fails to is None."""
    ends = []

    def connect(version=TLS_1_3, tickets=2, wants=ssl.CERT_NONE):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.server("good"))
        context.load_verify_locations(authority.ca_file)
        context.maximum_version = version
        context.num_tickets = tickets
        context.verify_mode = wants
        mine = ssl.create_default_context(cafile=authority.ca_file)
        client, server = tcp()
        with ThreadPoolExecutor(1) as thread:
            accepted = thread.submit(context.wrap_socket, server, server_side=True)
            wrapped = mine.wrap_socket(client, server_hostname="localhost", suppress_ragged_eofs=False)
            ends.append(wrapped)
            error = accepted.exception(LONG_TIMEOUT)
        if error is None:
            ends.append(accepted.result())
        return wrapped, accepted.result() if error is None else None

    yield connect
    for each in ends:
        each.close()


def end(sock, how):
    """End a connection without a word of TLS, by FIN or RST; or send what nobody has asked for."""
    if how == "data":
        sock.sendall(b"unasked")
        return
    raw = socket.socket(fileno=sock.detach())
    if how == "RST":
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def wait_until_readable(sock):
    """Wait until something has come, or has ended."""
    assert select.select([sock], [], [], LONG_TIMEOUT)[0]


def test_a_silent_connection_is_alive(tcp):
    """Nothing to read, nothing wrong."""
    client, _ = tcp()

    assert is_alive(client)


def test_an_unread_ticket_is_no_sign_of_death(tls):
    """It makes a healthy socket readable; who only looks at that, as urllib3 does, throws it away."""
    client, _ = tls()
    wait_until_readable(client)
    looks_dropped = wait_for_read(client, timeout=0)

    assert looks_dropped
    assert is_alive(client)
    assert is_alive(client)


@pytest.mark.parametrize("how", ["FIN", "RST", "data"])
def test_an_end_behind_tickets_is_seen(tls, how):
    """Two tickets lie unread before it, each in a record of its own."""
    client, server = tls(tickets=2)
    end(server, how)
    wait_until_hung_up(client, how)

    assert not is_alive(client)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("how", ["FIN", "RST", "data"])
def test_what_has_ended_is_dead(tcp, tls, encrypted, how):
    """An end of file, a reset, and data that nobody has asked for."""
    client, server = tls(tickets=0) if encrypted else tcp()
    end(server, how)
    wait_until_readable(client)

    assert not is_alive(client)


def test_what_was_decrypted_and_not_read_is_data(tls):
    """It is in no socket's buffer any more, and would be the next call's response."""
    client, server = tls(tickets=0)
    server.sendall(b"unasked")
    assert client.recv(1) == b"u"

    assert not wait_for_read(client, timeout=0)
    assert not is_alive(client)


def test_what_is_closed_is_dead(tcp):
    """Closed by us, or never opened."""
    client, _ = tcp()
    client.close()

    assert not is_alive(client)
    assert not is_alive(None)


@pytest.mark.parametrize(
    ("version", "tickets", "proof"),
    [(TLS_1_3, 2, True), (TLS_1_3, 0, False), (TLS_1_2, 0, True)],
    ids=["ticket", "silence", "TLS 1.2"],
)
def test_a_ticket_is_proof_and_silence_is_weak(tls, version, tickets, proof):
    """In TLS 1.2 the finished handshake is the proof. The socket's time-out is as it was."""
    client, _ = tls(version, tickets)

    assert bool(confirm(client, LONG_TIMEOUT if proof else SHORT_TIMEOUT)) is proof
    assert client.gettimeout() == LONG_TIMEOUT


@pytest.mark.parametrize(
    ("tickets", "answer", "is_proof"),
    [(0, b"", False), (2, b"", True), (0, b"HTTP", True), (2, b"HTTP", True)],
    ids=["silence", "ticket", "answer", "both"],
)
def test_who_listens_loses_nothing(tls, tickets, answer, is_proof):
    """A ticket, or the beginning of an answer, is proof; what was read of that is handed on."""
    client, server = tls(tickets=tickets)
    server.sendall(answer)
    patience = LONG_TIMEOUT if is_proof else SHORT_TIMEOUT
    found, began = listen(client, patience, None, lambda: client.recv(1))
    # Of both, the answer may come a moment later.
    rest = client.recv(len(answer) - len(began or b"")) if answer else b""

    assert bool(found) is is_proof
    assert (began or b"") + rest == answer
    assert client.gettimeout() == LONG_TIMEOUT


@pytest.mark.parametrize(("how", "error"), [("RST", OSError), ("FIN", ssl.SSLError)])
def test_who_listens_meets_what_a_read_does(tls, how, error):
    """A reset, or an end of file: the first read of the answer raises it."""
    client, server = tls(tickets=0)
    end(server, how)
    with pytest.raises(error):
        listen(client, LONG_TIMEOUT, None, lambda: client.recv(1))


def test_the_wait_is_part_of_the_first_read(tls):
    """What was waited for proof is not waited again for the answer; the time-out is as it was afterwards."""
    client, _ = tls(tickets=0)
    seen, since = [], time.monotonic()
    listen(client, SHORT_TIMEOUT, None, lambda: client.recv(1))
    read_for_the_rest(client, since, lambda: seen.append(client.gettimeout()))
    client.settimeout(SHORT_TIMEOUT)
    with pytest.raises(TimeoutError):
        read_for_the_rest(client, since, lambda: seen.append("read"))
    client.settimeout(None)
    read_for_the_rest(client, since, lambda: seen.append(client.gettimeout()))

    assert seen[0] <= LONG_TIMEOUT - SHORT_TIMEOUT
    assert seen[1:] == [None]


def test_without_tls_there_is_nothing_to_confirm(tcp):
    """Nobody waits."""
    assert not confirm(tcp()[0], LONG_TIMEOUT)


def test_a_refusal_is_told_by_its_alert(tls):
    """The client's handshake was over before the server had looked at the certificate."""
    client, _ = tls(wants=ssl.CERT_REQUIRED)
    with pytest.raises(ssl.SSLError) as refusal:
        confirm(client, LONG_TIMEOUT)

    assert refusal.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


@pytest.mark.parametrize("tickets", [0, 2], ids=["at once", "behind a ticket"])
@pytest.mark.parametrize(
    ("how", "errors"),
    [
        ("RST", (ConnectionResetError, ssl.SSLEOFError)),
        ("FIN", (RemoteDisconnected, ssl.SSLEOFError, ssl.SSLZeroReturnError)),
        ("data", (BadStatusLine,)),
    ],
)
def test_an_end_is_no_acceptance(tls, how, errors, tickets):
    """A reset, a close, or data before the request: also where a ticket has come before it."""
    client, server = tls(tickets=tickets)
    end(server, how)
    wait_until_hung_up(client, how)
    with pytest.raises(errors):
        confirm(client, LONG_TIMEOUT)


def wait_until_hung_up(sock, how):
    """Wait until the end itself has come, and not only the ticket before it."""
    if how == "data":
        wait_until_readable(sock)
        return
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP | select.POLLHUP)
    assert poll.poll(LONG_TIMEOUT * 1000)
