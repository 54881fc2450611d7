"""A network and a server that play a script word for word: the nth attempt to reach them meets the nth fault.

Each attempt is a connection of its own (`Connection: close`). What fails before there is a server to see it
(a name, a refused connection) is played by the network, which stands in for `socket`.
"""

import errno
import os
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT

BODY = bytes(range(250)) * 40
#: Bytes of a body that pass before a cut: over 1 % of it, and under.
MUCH, LITTLE = 500, 5
#: A TLS alert, internal_error, and an encrypted record that nobody can decrypt.
ALERT = b"\x15\x03\x03\x00\x02\x02\x50"
SPOILT = b"\x17\x03\x03\x00\x20" + bytes(32)

#: What the network does to a connect.
_LOST = {
    "refused": ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "late": TimeoutError("timed out"),
}


def contexts(authority: Any) -> dict[str, ssl.SSLContext]:
    """Return TLS as it should be, of a server whose certificate nobody trusts, and without tickets."""
    made = {}
    for name, certificate in (("good", "good"), ("stranger", "untrusted"), ("confirm", "good")):
        made[name] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.server(certificate))
        context.load_verify_locations(authority.ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    made["confirm"].num_tickets = 0
    return made


class Player(Listening):
    """Plays a script, then does nothing wrong for ever.

    Args:
        script: one fault for each attempt.
        tls: the contexts.
        proxied: whether clients come to it as to a proxy, and ask for a tunnel first.
        redirect: the status with which `/redirect` sends clients elsewhere.
    """

    def __init__(
        self, script: Sequence[str], tls: dict[str, ssl.SSLContext], proxied: bool, redirect: int = 302
    ) -> None:
        self._script, self._tls, self._proxied, self._redirect = script, tls, proxied, redirect
        #: How many attempts reached the network, and how many requests asked for the rest of a body.
        self.attempts = self.resumes = 0
        #: How often each request was executed, by its path and whether it had credentials.
        self.executed: Counter[tuple[str, bool]] = Counter()

    @contextmanager
    def network(self) -> Iterator[None]:
        """Stand in for `socket` for the connections to this server."""
        find, connect = socket.getaddrinfo, socket.socket.connect

        def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
            if port == self.port and self._next() == "name":
                self.attempts += 1
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return find(host, port, *args, **kwargs)

        def connected(sock: socket.socket, address: Any) -> None:
            if address[1] == self.port and self._next() in _LOST:
                error = _LOST[self._next()]
                self.attempts += 1
                raise type(error)(*error.args)
            connect(sock, address)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", getaddrinfo)
            patch.setattr(socket.socket, "connect", connected)
            yield

    def _next(self) -> str:
        return self._script[self.attempts] if self.attempts < len(self._script) else "good"

    def _serve(self, client: socket.socket) -> None:
        fault = self._next()
        self.attempts += 1
        self._run(self._talk, client, fault)

    def _talk(self, client: socket.socket, fault: str) -> None:
        client.settimeout(LONG_TIMEOUT)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with suppress(OSError):
                client = self._welcome(client, fault) or client
                if isinstance(client, ssl.SSLSocket):
                    self._answer(client, fault)
        finally:
            client.close()

    def _welcome(self, client: socket.socket, fault: str) -> socket.socket | None:
        """Go as far as the end of the handshake; None: it does not get there."""
        if fault == "accept":
            return _reset(client)
        if self._proxied:
            _head(client)
            if fault == "tunnel":
                return _reset(client)
            status = {"denied": b"403 Forbidden", "unable": b"502 Bad Gateway"}.get(fault, b"200 OK")
            client.sendall(b"HTTP/1.1 %b\r\n\r\n" % status)
            if not status.startswith(b"200"):
                return None
        if fault in ("hello", "handshake", "alert"):
            hello = client.recv(5, socket.MSG_WAITALL)
            hello += client.recv(int.from_bytes(hello[3:], "big"), socket.MSG_WAITALL)
            if fault == "alert":
                client.sendall(ALERT)
                client.recv(1)
                return None
            if fault == "handshake":
                flight = self._flight(hello)
                client.sendall(flight[: len(flight) // 2])
            return _reset(client)
        client = self._tls.get(fault, self._tls["good"]).wrap_socket(client, server_side=True)
        return _reset(client) if fault == "confirm" else client

    def _flight(self, hello: bytes) -> bytes:
        """What the server answers to a ClientHello."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        incoming.write(hello)
        with suppress(ssl.SSLWantReadError):
            self._tls["good"].wrap_bio(incoming, outgoing, server_side=True).do_handshake()
        return outgoing.read()

    def _answer(self, client: ssl.SSLSocket, fault: str) -> None:
        head = _request(client)
        if fault == "request":
            _reset(client)
            return
        path, authorized = head.split(b" ", 2)[1].decode(), b"\r\nAuthorization:" in head
        if fault != "421":
            self.executed[path, authorized] += 1
        if fault == "executed":
            _reset(client)
        elif fault == "spoilt":
            os.write(client.fileno(), SPOILT)
            client.recv(1)
        elif fault == "silent":
            client.recv(1)
        elif fault[:3].isdigit():
            again = b"Retry-After: 0\r\n" if fault.endswith("+") else b""
            client.sendall(_told(fault[:3].encode(), again, 0))
            _until_left(client)
        else:
            answer, body = self._good(head, path, authorized, bare=fault == "bare")
            cut = {"head": 0, "much": MUCH, "little": LITTLE, "none": 0, "bare": MUCH}.get(fault, len(body))
            client.sendall(answer[: len(answer) // 2 if fault == "head" else None])
            if not head.startswith(b"HEAD "):
                client.sendall(body[:cut])
            if cut == len(body):
                _until_left(client)

    def _good(self, head: bytes, path: str, authorized: bool, bare: bool) -> tuple[bytes, bytes]:
        """The head and the body of the answer to a request."""
        if path == "/redirect":
            fields = b"Location: /end\r\n"
            return _told(b"%d" % self._redirect, fields, len(BODY)), BODY
        if path == "/digest" and not authorized:
            fields = b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256\r\n'
            return _told(b"401", fields, len(BODY)), BODY
        asked = re.search(rb"\r\nRange: bytes=(\d+)-", head)
        self.resumes += asked is not None
        if bare or asked is None:
            return _told(b"200", b"" if bare else b'ETag: "v"\r\n', len(BODY)), BODY
        at, size = int(asked[1]), len(BODY)
        fields = b'ETag: "v"\r\nContent-Range: bytes %d-%d/%d\r\n' % (at, size - 1, size)
        return _told(b"206", fields, size - at), BODY[at:]


def _told(status: bytes, fields: bytes, length: int) -> bytes:
    return b"HTTP/1.1 %b Told\r\n%bContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, fields, length)


def _reset(client: socket.socket) -> None:
    """Let the close be a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def _until_left(client: socket.socket) -> None:
    """Wait until the client has all of it, and has closed."""
    while client.recv(65536):
        pass


def _head(client: socket.socket) -> bytes:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = client.recv(1)
        if not data:
            raise ConnectionError("it left")
        head += data
    return head


def _request(client: socket.socket) -> bytes:
    """Read a whole request; return its head."""
    head = _head(client)
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    left = int(length[1]) if length else 0
    while left:
        left -= len(client.recv(left))
    if b"\r\nTransfer-Encoding: chunked" in head:
        while _line(client) != b"0\r\n":
            pass
        _line(client)
    return head


def _line(client: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\r\n"):
        line += client.recv(1)
    return line
