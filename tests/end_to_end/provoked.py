"""What can go wrong with a connection, provoked for real: one server a case, which counts who comes.

Where the kernel cannot be made to fail, `socket.socket.connect` is patched.
"""

import datetime
import errno
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

from resilient_transport.testing import Authority
from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

Talk = Callable[[socket.socket], object]


@dataclass
class Case:
    """A call that fails, and how often it may have been attempted by then.

    Attributes:
        url: what is asked for.
        attempts: how often, repetitions included.
        connects: how often the kernel is asked for a connection; None: once for each attempt.
        values: what the call is made with.
        pool: what a subclass gives to `init_poolmanager`.
        server: counts the connections; None: nobody can.
    """

    url: str
    attempts: int
    values: dict[str, Any] = field(default_factory=dict)
    pool: dict[str, Any] = field(default_factory=dict)
    server: "Talking | None" = None
    connects: int | None = None


class Talking(Listening):
    """Talks to each client in the same way, and hangs up."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def _serve(self, client: socket.socket) -> None:
        self._run(self._speak, client)

    def _speak(self, client: socket.socket) -> None:
        client.settimeout(LONG_TIMEOUT)
        with suppress(OSError), client:
            self._talk(client)


def reset(client: socket.socket) -> None:
    """Hang up with a RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def hello(client: socket.socket) -> None:
    """Take in a ClientHello."""
    head = client.recv(5, socket.MSG_WAITALL)
    client.recv(int.from_bytes(head[3:], "big"), socket.MSG_WAITALL)


def until_gone(client: socket.socket) -> None:
    """Wait until the client hangs up, so that what was sent arrives."""
    while client.recv(65536):
        pass


def says(data: bytes, first: Talk = hello) -> Talk:
    """Say this once the client has spoken."""

    def talk(client: socket.socket) -> None:
        first(client)
        client.sendall(data)
        until_gone(client)

    return talk


def alert(code: int) -> bytes:
    """A fatal TLS alert (RFC 8446 section 6)."""
    return b"\x15\x03\x03\x00\x02\x02" + bytes([code])


#: A ServerHello of TLS 1.2 that does not know secure renegotiation (RFC 5746).
_HELLO = b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00"
LEGACY = b"\x16\x03\x03\x00\x2a\x02\x00\x00\x26" + _HELLO


def request(client: socket.socket) -> None:
    """Take in the head of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(65536)
        if not more:
            raise ConnectionResetError
        data += more


class Ground:
    """Where cases happen: certificates, servers, and patches of what the kernel does."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self._stack = ExitStack()
        self.patch = self._stack.enter_context(pytest.MonkeyPatch.context())

    def close(self) -> None:
        """End all servers and patches."""
        self._stack.close()

    def serve(self, talk: Talk) -> Talking:
        """A server that talks to each client in this way."""
        server: Talking = self._stack.enter_context(Talking(talk))
        return server

    def tls(self, certificate: tuple[str, str], **changes: Any) -> ssl.SSLContext:
        """A server's TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        for name, value in changes.items():
            setattr(context, name, value)
        return context

    def over_tls(self, context: ssl.SSLContext, talk: Talk = until_gone) -> Talk:
        """Shake hands, then talk."""

        def speak(client: socket.socket) -> None:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(client, server_side=True) as channel:
                talk(channel)

        return speak

    def case(self, talk: Talk, attempts: int, scheme: str = "https", **values: Any) -> Case:
        """A case with a server of its own."""
        server = self.serve(talk)
        values = {"verify": self.authority.ca_file, "timeout": LONG_TIMEOUT, **values}
        return Case(f"{scheme}://localhost:{server.port}/", attempts, values, server=server)

    def proxied(self, talk: Talk, attempts: int, scheme: str = "http") -> Case:
        """A case with a proxy of its own, and a server that nobody reaches."""
        server = self.serve(talk)
        proxy = f"{scheme}://user:secret@127.0.0.1:{server.port}"
        values = {"proxies": {"https": proxy}, "timeout": LONG_TIMEOUT}
        return Case("https://server.test/", attempts, values, server=server)

    def failing_connect(self, number: int, attempts: int, connects: int | None = None) -> Case:
        """A case in which the kernel refuses to connect."""
        server = self.serve(until_gone)
        connect = socket.socket.connect

        def refuse(sock: socket.socket, address: Any) -> None:
            if address[1] != server.port:
                connect(sock, address)
                return
            server.accepts += 1
            raise OSError(number, os.strerror(number))

        self.patch.setattr(socket.socket, "connect", refuse)
        return Case(f"http://127.0.0.1:{server.port}/", attempts, server=server, connects=connects)


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def of_time(authority: Authority, **times: datetime.timedelta) -> tuple[str, str]:
    """A server's certificate whose time begins, or ends, so long from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    leaf = authority._ca.issue_cert("localhost", **{name: now + value for name, value in times.items()})
    return authority._write(leaf, f"server-{'-'.join(times)}")


def self_signed(authority: Authority) -> tuple[str, str]:
    """A server's certificate that nobody has signed but itself."""
    one = trustme.CA()
    paths = authority.directory / "self.pem", authority.directory / "self.key"
    one.cert_pem.write_to_path(paths[0])
    one.private_key_pem.write_to_path(paths[1])
    return str(paths[0]), str(paths[1])


def socks_reply(code: int) -> Talk:
    """A SOCKS5 proxy that lets everybody in and then replies this (RFC 1928)."""

    def talk(client: socket.socket) -> None:
        socks_welcome(client, b"\x01\x00")
        client.recv(65536)
        client.sendall(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
        until_gone(client)

    return talk


def socks_welcome(client: socket.socket, verdict: bytes) -> None:
    """Ask for a user and a password, and judge them (RFC 1929)."""
    client.recv(65536)
    client.sendall(b"\x05\x02")
    client.recv(65536)
    client.sendall(verdict)


def unauthorized(client: socket.socket) -> None:
    """A SOCKS5 proxy that knows nobody."""
    socks_welcome(client, b"\x01\x01")
    until_gone(client)


def answers(head: bytes) -> Talk:
    """Read a request, then say this."""
    return says(head, first=request)


def cut_body(client: socket.socket) -> None:
    """Announce more than comes."""
    request(client)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")


def connect_answer(status: str) -> Talk:
    """A proxy's answer to CONNECT."""
    return answers(f"HTTP/1.1 {status}\r\n\r\n".encode())


GARBAGE = b"\x17\x03\x03\x00\x20" + bytes(32)


def _spoilt(ground: Ground) -> Talk:
    context = ground.tls(ground.authority.server("good"), num_tickets=0)

    def talk(client: socket.socket) -> None:
        with context.wrap_socket(client, server_side=True, suppress_ragged_eofs=True) as channel:
            raw = socket.socket(fileno=socket.dup(channel.fileno()))
            with raw:
                raw.sendall(GARBAGE)
                with suppress(OSError):
                    until_gone(channel)

    return talk


def _bound(ground: Ground, host: str) -> Case:
    busy = ground.serve(until_gone)
    source = (host, busy.port if host == "127.0.0.1" else 0)
    return Case(f"http://127.0.0.1:{busy.port}/", 1, pool={"source_address": source}, server=busy, connects=0)


#: Each makes a case of its own. Certificates first, then TLS, proxies, this machine, and what comes and goes.
CASES: Mapping[str, Callable[[Ground], Case]] = {
    "untrusted": lambda g: g.case(g.over_tls(g.tls(g.authority.server("untrusted"))), 1),
    "self-signed": lambda g: g.case(g.over_tls(g.tls(self_signed(g.authority))), 1),
    "expired": lambda g: g.case(g.over_tls(g.tls(g.authority.server("expired"))), 1),
    "not valid yet": lambda g: g.case(
        g.over_tls(g.tls(of_time(g.authority, not_before=datetime.timedelta(days=2)))), 1
    ),
    "another name": lambda g: g.case(g.over_tls(g.tls(g.authority.server("misnamed"))), 1),
    "another pin": lambda g: _pinned(g, assert_fingerprint="00" * 32),
    "another pinned name": lambda g: _pinned(g, assert_hostname="other.test"),
    "no client certificate": lambda g: g.case(_demanding(g), 1),
    "unknown client certificate": lambda g: g.case(_demanding(g), 1, cert=g.authority.stranger_client),
    "no TLS": lambda g: g.case(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 1),
    "legacy renegotiation": lambda g: g.case(says(LEGACY), 1),
    **{
        f"alert {code}": lambda g, code=code: g.case(says(alert(code)), 1)  # type: ignore[misc]
        for code in (10, 40, 47, 50, 70, 71, 109, 112, 120)
    },
    "alert 80": lambda g: g.case(says(alert(80)), 2),
    "alert 90": lambda g: g.case(says(alert(90)), 2),
    # The first one is met where the answer is waited for, and all others before their request leaves.
    "damaged record": lambda g: g.case(_spoilt(g), 14),
    "407 to CONNECT": lambda g: g.proxied(connect_answer("407 Proxy Authentication Required"), 1),
    "407 to CONNECT, after 100": lambda g: g.proxied(
        answers(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 Who?\r\n\r\n"), 1
    ),
    "403 to CONNECT": lambda g: g.proxied(connect_answer("403 Forbidden"), 1),
    "500 to CONNECT": lambda g: g.proxied(connect_answer("500 Internal Server Error"), 1),
    "502 to CONNECT": lambda g: g.proxied(connect_answer("502 Bad Gateway"), 3),
    "503 to CONNECT": lambda g: g.proxied(connect_answer("503 Service Unavailable"), 3),
    "504 to CONNECT": lambda g: g.proxied(connect_answer("504 Gateway Timeout"), 3),
    "a proxy that resets": lambda g: g.proxied(lambda c: (request(c), reset(c)), 13),
    "a proxy that is cut": lambda g: g.proxied(lambda c: (request(c), c.sendall(b"HTTP/1.1 50")), 13),
    "a proxy that is no proxy": lambda g: g.proxied(answers(b"SSH-2.0-OpenSSH_9.2\r\n"), 1),
    "SOCKS: wrong password": lambda g: g.proxied(unauthorized, 1, "socks5h"),
    "SOCKS: hangs up": lambda g: g.proxied(lambda c: socks_welcome(c, b""), 2, "socks5h"),
    "SOCKS: not allowed": lambda g: g.proxied(socks_reply(2), 1, "socks5h"),
    "SOCKS: unreachable": lambda g: g.proxied(socks_reply(4), 2, "socks5h"),
    "SOCKS: refused": lambda g: g.proxied(socks_reply(5), 6, "socks5h"),
    "SOCKS: failed": lambda g: g.proxied(socks_reply(1), 2, "socks5h"),
    "SOCKS: no such proxy": lambda g: g.proxied(answers_socks_with_http, 1, "socks5h"),
    "local port in use": lambda g: _bound(g, "127.0.0.1"),
    "no such local address": lambda g: _bound(g, "192.0.2.1"),
    "not permitted": lambda g: g.failing_connect(errno.EACCES, 1),
    "no descriptor": lambda g: g.failing_connect(errno.EMFILE, 1, connects=2),
    "no route": lambda g: g.failing_connect(errno.EHOSTUNREACH, 2),
    "no buffers": lambda g: g.failing_connect(errno.ENOBUFS, 2),
    "label too long": lambda g: Case(f"http://{'a' * 64}.test/", 1),
    "no such name": lambda g: Case("https://no-such-name.test/", 3),
    "nobody listens": lambda g: Case(f"https://localhost:{closed_port()}/", 6),
    "reset in the handshake": lambda g: g.case(lambda c: (hello(c), reset(c)), 13),
    "closed in the handshake": lambda g: g.case(hello, 13),
    "silent in the handshake": lambda g: g.case(until_gone, 2, timeout=SHORT_TIMEOUT),
    "silent after the request": lambda g: g.case(until_gone, 2, "http", timeout=SHORT_TIMEOUT),
    "reset after the request": lambda g: g.case(lambda c: (request(c), reset(c)), 6, "http"),
    "closed after the request": lambda g: g.case(request, 6, "http"),
    "TLS in the place of HTTP": lambda g: g.case(lambda c: (request(c), c.sendall(alert(40))), 1, "http"),
    "no HTTP": lambda g: g.case(answers(b"ICY 200 OK\r\n\r\n"), 1, "http"),
    "a head that is too long": lambda g: g.case(
        answers(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"), 1, "http"
    ),
    "a body that is cut": lambda g: g.case(cut_body, 6, "http"),
    "chunks that are none": lambda g: g.case(
        answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<html>\r\n"), 1, "http"
    ),
}


def answers_socks_with_http(client: socket.socket) -> None:
    """An HTTP server in the place of a SOCKS proxy."""
    client.recv(65536)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _pinned(ground: Ground, **pins: str) -> Case:
    case = ground.case(ground.over_tls(ground.tls(ground.authority.server("good"))), 1)
    case.pool = dict(pins)
    return case


def _demanding(ground: Ground) -> Talk:
    context = ground.tls(ground.authority.server("good"))
    context.load_verify_locations(ground.authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return ground.over_tls(context)


@contextmanager
def ground_for(authority: Authority) -> Iterator[Ground]:
    """Ground that is cleared afterwards."""
    ground = Ground(authority)
    try:
        yield ground
    finally:
        ground.close()
