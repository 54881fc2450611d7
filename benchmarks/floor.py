"""The floor: HTTP over `ssl` and `socket` by hand, with as little as an answer of a known length takes.

It checks certificates, keeps connections and reads an answer to its end. It knows no redirects, no chunks and
no time-outs for single reads, and repeats nothing.
"""

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

_TIMEOUT: Final = 10.0
_CHUNK: Final = 65_536
_END: Final = b"\r\n\r\n"


class Floor:
    """A client with one context, and a stack of connections to one server."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        # append and pop are whole steps of the interpreter: threads need no lock.
        self._idle: list[ssl.SSLSocket] = []

    def call(self, method: str, url: str, body: bytes | None = None) -> bytes:
        """Send a request; return the body of the answer, which has to be a 200."""
        host, head = _head(method, url, body)
        return self._exchange(host, head)

    def prepared(self, method: str, url: str) -> Callable[[], bytes]:
        """Return a function that sends this request, whose bytes are there already."""
        return partial(self._exchange, *_head(method, url, None))

    def stream(self, url: str) -> int:
        """Fetch a body bit by bit; return its length."""
        host, head = _head("GET", url, None)
        sock, length, rest = self._ask(host, head)
        left, buffer = length - len(rest), bytearray(_CHUNK)
        while left:
            left -= _received(sock, memoryview(buffer)[:left])
        self._idle.append(sock)
        return length

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(self, host: str, head: bytes) -> bytes:
        sock, length, rest = self._ask(host, head)
        if len(rest) < length:
            whole = bytearray(length)
            whole[: len(rest)] = rest
            view, place = memoryview(whole), len(rest)
            while place < length:
                place += _received(sock, view[place:])
            rest = whole
        self._idle.append(sock)
        return bytes(rest)

    def _ask(self, host: str, head: bytes) -> tuple[ssl.SSLSocket, int, bytes]:
        """Send a request; return the connection, the length of the body and what came of it already."""
        sock = self._idle.pop() if self._idle else self._connect(host)
        sock.sendall(head)
        data = sock.recv(_CHUNK)
        while _END not in data:
            if not (more := sock.recv(_CHUNK)):
                raise ConnectionError("the server has closed the connection")
            data += more
        fields, _, rest = data.partition(_END)
        if not fields.startswith(b"HTTP/1.1 200 "):
            raise ConnectionError(f"no good answer: {fields[:40]!r}")
        length = fields.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return sock, int(length), rest

    def _connect(self, host: str) -> ssl.SSLSocket:
        name, _, port = host.partition(":")
        sock = socket.create_connection((name, int(port)), _TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(sock, server_hostname=name)


def _head(method: str, url: str, body: bytes | None) -> tuple[str, bytes]:
    """Return the host, and all bytes of a request: head and body leave in one write."""
    host, _, path = url.removeprefix("https://").partition("/")
    length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
    return host, f"{method} /{path} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n".encode() + (body or b"")


def _received(sock: ssl.SSLSocket, view: memoryview) -> int:
    count = sock.recv_into(view)
    if not count:
        raise ConnectionError("the body was cut")
    return count
