"""The floor: HTTP over `ssl` and `socket` by hand, with as little as an answer of a known length takes.

It checks certificates, keeps connections and reads an answer to its end. It knows no redirects, no chunks and
no time-outs for single reads, and repeats nothing.
"""

import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

_TIMEOUT: Final = 10.0
_CHUNK: Final = 65_536
_END: Final = b"\r\n\r\n"
_Result = TypeVar("_Result")


class Floor:
    """A client with one context, and a stack of connections to one server."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        # append and pop are whole steps of the interpreter: threads need no lock.
        self._idle: list[ssl.SSLSocket] = []

    def call(self, method: str, url: str, body: bytes | None = None) -> bytes | bytearray:
        """Send a request; return the body of the answer, which has to be a 200."""
        return self._over(_whole, *_head(method, url, body))

    def prepared(self, method: str, url: str) -> Callable[[], bytes | bytearray]:
        """Return a function that sends this request, whose bytes are there already."""
        return partial(self._over, _whole, *_head(method, url, None))

    def stream(self, url: str) -> int:
        """Fetch a body bit by bit; return its length."""
        return self._over(_streamed, *_head("GET", url, None))

    def close(self) -> None:
        """Close all connections."""
        while self._idle:
            self._idle.pop().close()

    def _over(self, exchange: Callable[[ssl.SSLSocket, bytes], _Result], host: str, head: bytes) -> _Result:
        """Do something over a connection, which is kept when that has gone well."""
        try:
            sock = self._idle.pop()
        except IndexError:
            sock = self._connect(host)
        try:
            result = exchange(sock, head)
        except BaseException:
            sock.close()
            raise
        self._idle.append(sock)
        return result

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


def _asked(sock: ssl.SSLSocket, head: bytes) -> tuple[int, bytes]:
    """Send a request; return the length of the body, and what came of it already."""
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
    return int(length), rest


def _whole(sock: ssl.SSLSocket, head: bytes) -> bytes | bytearray:
    """Return the body of an answer."""
    length, rest = _asked(sock, head)
    if len(rest) == length:
        return rest
    body, place = bytearray(length), len(rest)
    body[:place] = rest
    view = memoryview(body)
    while place < length:
        place += _received(sock, view[place:])
    return body


def _streamed(sock: ssl.SSLSocket, head: bytes) -> int:
    """Read the body of an answer bit by bit; return its length."""
    length, rest = _asked(sock, head)
    left, view = length - len(rest), memoryview(bytearray(_CHUNK))
    while left:
        left -= _received(sock, view[:left])
    return length


def _received(sock: ssl.SSLSocket, view: memoryview) -> int:
    count = sock.recv_into(view)
    if not count:
        raise ConnectionError("the body was cut")
    return count
