"""The server as a proxy: requests with a URL, and tunnels."""

import contextlib
import hashlib
import socket
import ssl
import struct

import pytest
import requests

from resilient_transport.testing import Fault, How, Moment, Rule, Script, Tunnel
from tests.testing.wires import (
    client_context,
    dial,
    get,
    is_silent,
    name_of,
    read_response,
    tcp,
    tls,
    to_the_end,
)
from tests.timeouts import SHORT_TIMEOUT

CONNECT = b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
SECRET = "Basic " + hashlib.sha256(b"dTpw").hexdigest()


def through(session, proxy):
    """Send a session's requests through this proxy, as user u with password p."""
    url = proxy.url.replace("://", "://u:p@")
    session.proxies = {"http": url, "https": url}
    return session


def connect(proxy, target):
    """Ask for a tunnel; return the connection and the answer's head."""
    sock = dial(proxy)
    sock.sendall(CONNECT % target.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock, head


@contextlib.contextmanager
def listening():
    """Listen on a port of our own, to be the far end of a tunnel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def tunnel(proxy):
    """Yield both ends of a tunnel."""
    with listening() as (listener, target):
        near, _ = connect(proxy, target)
        far, _ = listener.accept()
        with near, far:
            yield near, far


def test_a_url_is_answered_as_by_its_origin(plain, session):
    """The page is the path's, and of the proxy's credentials the books have scheme and digest."""
    response = through(session, plain).get("http://example.test/words/2?a=b")
    (execution,) = plain.executions()

    assert response.text == "reset again"
    assert execution.path == "/words/2?a=b"
    assert execution.proxy_authorization == SECRET


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_a_tunnel_leads_to_the_origin(start, session, proxy_tls):
    """TLS to the origin through a plain proxy and through one that speaks TLS itself; all is counted."""
    with start() as origin, start(tls=proxy_tls, client_auth="none") as proxy:
        through(session, proxy)
        seen = session.get(origin.url + "/whoami").json()
        body = session.get(origin.url + "/bytes/300000").content
        session.close()

        assert seen["client"] == "alice"
        assert len(body) == 300_000
        assert proxy.tunnels() == (Tunnel(f"localhost:{origin.port}", 200, SECRET, 1),)
        assert (proxy.counts().tunnels, proxy.counts().requests) == (1, 0)


def test_bytes_sent_with_the_connect_are_carried(server):
    """A client need not wait for the answer, and TLS may have decrypted them with it."""
    with listening() as (listener, target), dial(server) as near:
        near.sendall(CONNECT % target.encode() + b"early")
        near.sendall(b" and late")
        far, _ = listener.accept()
        with far:
            assert far.recv(5, socket.MSG_WAITALL) == b"early"
            assert far.recv(9, socket.MSG_WAITALL) == b" and late"


@pytest.mark.parametrize("target", ["example.test:443", "localhost:none", "localhost:1", "[::1]:1"])
def test_a_tunnel_to_elsewhere_is_refused(plain, target):
    """This machine only, and only where someone listens."""
    sock, head = connect(plain, target)
    with sock:
        assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert plain.tunnels() == (Tunnel(target, 502, None, 1),)


@pytest.mark.parametrize(("status", "challenge"), [(407, True), (503, False)])
def test_a_tunnel_can_be_refused_on_purpose(start, status, challenge):
    """And the connection stays for another try."""
    with start(tls=False, connect_status=status) as proxy, tcp(proxy) as sock:
        for _ in range(2):
            sock.sendall(CONNECT % b"localhost:1")
            head, _ = read_response(sock)

            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert (b"Proxy-Authenticate: Basic" in head) is challenge
        assert [each.status for each in proxy.tunnels()] == [status, status]
        assert proxy.counts().accepts == 1


@pytest.mark.parametrize(
    ("how", "end"), [(How.RST, "reset"), (How.FIN, "closed"), (How.CLOSE_NOTIFY, "closed")]
)
def test_a_tunnel_breaks_before_it_is_answered(plain, how, end):
    """The control is answered; a path chooses by the target."""
    with listening() as (_, target):
        plain.play(Script((Rule(Fault(Moment.TUNNEL, how), first=1, path="127.0.0.1:"),)))
        with dial(plain) as sock:
            sock.sendall(CONNECT % target.encode())

            assert to_the_end(sock) == (b"", end)
        sock, head = connect(plain, target)
        sock.close()

    assert head == ESTABLISHED
    assert [each.status for each in plain.tunnels()] == [0, 200]


def test_a_tunnel_stalls(plain):
    """Asked for, and nothing comes."""
    plain.play(Script((Rule(Fault(Moment.TUNNEL, How.STALL)),)))
    with dial(plain) as sock:
        sock.sendall(CONNECT % b"localhost:1")

        assert is_silent(sock)


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_a_half_close_goes_through(start, proxy_tls):
    """The far end may stop sending and still receive."""
    with start(tls=proxy_tls) as proxy, tunnel(proxy) as (near, far):
        far.sendall(b"last words")
        far.shutdown(socket.SHUT_WR)

        assert to_the_end(near) == (b"last words", "closed")
        near.sendall(b"heard")
        assert far.recv(5, socket.MSG_WAITALL) == b"heard"
        near.shutdown(socket.SHUT_WR) if not proxy_tls else near.unwrap()
        assert to_the_end(far) == (b"", "closed")


def test_a_clean_close_goes_through(server):
    """A close_notify of the client's is an end to the far side, which may still answer."""
    with tunnel(server) as (near, far):
        near.sendall(b"question")
        server.wait_for(lambda counts: counts.tunnels == 1)
        near.settimeout(SHORT_TIMEOUT)
        with pytest.raises(TimeoutError):
            near.unwrap()

        assert to_the_end(far) == (b"question", "closed")


def test_a_half_close_goes_through_the_other_way(plain):
    """The client may be done first."""
    with tunnel(plain) as (near, far):
        near.sendall(b"question")
        near.shutdown(socket.SHUT_WR)

        assert to_the_end(far) == (b"question", "closed")
        far.sendall(b"answer")
        far.close()
        assert to_the_end(near) == (b"answer", "closed")


def test_a_reset_goes_through(plain):
    """From the far end to the client."""
    with tunnel(plain) as (near, far):
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()

        assert to_the_end(near) == (b"", "reset")


def test_a_reset_goes_through_the_other_way(plain):
    """And from the client to the far end."""
    with tunnel(plain) as (near, far):
        near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        near.close()

        assert to_the_end(far) == (b"", "reset")


@pytest.mark.parametrize("half_closed", [False, True])
def test_a_tunnel_is_reset_with_the_others(plain, half_closed):
    """Both its ends, even when the client has sent its last."""
    with tunnel(plain) as (near, far):
        if half_closed:
            near.shutdown(socket.SHUT_WR)
            assert to_the_end(far) == (b"", "closed")
        plain.reset_peers()

        assert to_the_end(near) == (b"", "reset")
        if not half_closed:
            assert to_the_end(far) == (b"", "reset")


def test_faults_of_the_origin_pass_through_a_tunnel(plain, start):
    """A reset inside the inner handshake reaches the client as one."""
    with start(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),))) as origin:
        ends = []
        for _ in range(2):
            sock, _ = connect(plain, f"localhost:{origin.port}")
            with sock:
                ends.append(inner_handshake(origin, sock))

    assert ends == ["reset", "done"]


def inner_handshake(origin, sock):
    """Shake hands through a tunnel; return how it ended."""
    try:
        with client_context(origin).wrap_socket(sock, server_hostname="localhost"):
            return "done"
    except OSError as error:
        return name_of(error)


def test_without_a_proxy_nothing_is_tunnelled(server, session):
    """The control."""
    session.get(server.url)

    assert server.tunnels() == ()
    with tls(server) as sock:
        sock.sendall(get("/"))
        assert read_response(sock)[0].startswith(b"HTTP/1.1 200")


def test_a_refused_tunnel_is_an_error_to_requests(start, session):
    """As from any proxy."""
    with start(tls=False, connect_status=503) as proxy, pytest.raises(requests.exceptions.ProxyError):
        through(session, proxy).get("https://localhost:1/")


def test_the_tunnel_is_not_decrypted(plain, start):
    """What the origin sees is the client's own certificate and session."""
    with start() as origin:
        sock, _ = connect(plain, f"localhost:{origin.port}")
        context = client_context(origin, origin.authority.other_client)
        with sock, context.wrap_socket(sock, server_hostname="localhost") as inner:
            assert isinstance(inner, ssl.SSLSocket)
            inner.sendall(get("/whoami"))
            assert b'"client": "bob"' in read_response(inner)[1]
