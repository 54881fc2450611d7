"""HTTP/1.1 on the server's side: reading requests, writing responses. Knows nothing of faults.

It is a test server: it believes what well-behaved clients send, and refuses the rest with `BadRequest`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from .termination import PeerGone

_HEAD_LIMIT = 1 << 17
#: Statuses without a body.
BODILESS = frozenset({204, 304})
_CHUNK = 1 << 14


class BadRequest(Exception):
    """What arrived is not HTTP as this server knows it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request head; the body is read separately."""

    #: The method.
    method: str
    #: The target as sent: a path, a URL (to a proxy) or `host:port` (CONNECT).
    target: str
    #: The HTTP version, as sent.
    version: str
    #: Headers by lower-case name; of repeated ones the last.
    headers: dict[str, str]

    @property
    def origin_form(self) -> str:
        """Path and query, whether a URL was sent or not; of CONNECT `host:port`."""
        if self.target.startswith("/") or self.method == "CONNECT":
            return self.target
        parts = urlsplit(self.target)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @property
    def path(self) -> str:
        """The path alone."""
        return self.origin_form.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The query's fields; of repeated ones the last."""
        fields = parse_qs(self.origin_form.partition("?")[2], keep_blank_values=True)
        return {name: values[-1] for name, values in fields.items()}

    @property
    def wants_close(self) -> bool:
        """Whether the client ends the connection after the response."""
        return self.version == "HTTP/1.0" or "close" in self.headers.get("connection", "").lower()


@dataclass(slots=True)
class Reply:
    """A response, before it is framed."""

    #: The status.
    status: int = 200
    #: The encoded body.
    body: bytes = b""
    #: Headers beyond those of framing.
    headers: dict[str, str] = field(default_factory=dict)
    #: How the body's end is told: `length`, `chunked` or `close`.
    framing: str = "length"
    #: Whether the connection ends after it.
    close: bool = False

    def head(self) -> bytes:
        """Return the response head."""
        lines = [f"HTTP/1.1 {self.status} {_reason(self.status)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif self.framing == "length" and self.status not in BODILESS:
            lines.append(f"Content-Length: {len(self.body)}")
        if self.close or self.framing == "close":
            lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode()

    def framed(self, payload: bytes, cut: int | None = None) -> bytes:
        """Return the payload as it goes over the wire; if `cut`, only so many of its bytes, and no end."""
        if self.framing != "chunked":
            return payload if cut is None else payload[:cut]
        if cut is None:
            return b"".join(_chunks(payload)) + b"0\r\n\r\n"
        return _cut_chunks(payload, cut)


class Reader:
    """A buffer over a channel's `recv`."""

    def __init__(self, recv: Callable[[float | None], bytes]) -> None:
        """Read with this function, which takes a time-out in seconds."""
        self._recv = recv
        self._buffer = b""

    @property
    def buffered(self) -> bool:
        """Whether something is here already."""
        return bool(self._buffer)

    def leftover(self) -> bytes:
        """Take all that is buffered."""
        data, self._buffer = self._buffer, b""
        return data

    def head(self, timeout: float | None, on_first_byte: Callable[[], None]) -> Request | None:
        """Return the next request head, `None` at the end; `timeout` is for its first byte, in seconds."""
        if not self._buffer:
            self._buffer = self._recv(timeout)
        if not self._buffer:
            return None
        on_first_byte()
        return parse_head(self._until(b"\r\n\r\n"))

    def body(self, request: Request) -> Iterator[bytes]:
        """Yield the request body in pieces, without chunk framing."""
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
        else:
            yield from self._exactly(_number(request.headers.get("content-length", "0"), 10))

    def _chunks(self) -> Iterator[bytes]:
        while size := _number(self._until(b"\r\n").partition(b";")[0].decode("latin-1"), 16):
            yield from self._exactly(size)
            self._until(b"\r\n")
        while self._until(b"\r\n"):
            pass  # trailers

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            self._fill()
            piece, self._buffer = self._buffer[:size], self._buffer[size:]
            size -= len(piece)
            yield piece

    def _until(self, end: bytes) -> bytes:
        start = 0
        while (found := self._buffer.find(end, start)) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise BadRequest("too long a line or head")
            start = max(0, len(self._buffer) - len(end))
            self._buffer += self._more()
        taken, self._buffer = self._buffer[:found], self._buffer[found + len(end) :]
        return taken

    def _fill(self) -> None:
        if not self._buffer:
            self._buffer = self._more()

    def _more(self) -> bytes:
        data = self._recv(None)
        if not data:
            raise PeerGone("in the middle of a request")
        return data


def parse_head(head: bytes) -> Request:
    """Return the request; raises `BadRequest`."""
    first, *rest = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("not a request line")
    headers = {}
    for line in rest:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequest("not a header")
        headers[name.lower()] = value.strip()
    return Request(parts[0], parts[1], parts[2], headers)


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError as error:
        raise BadRequest("not a number") from error
    if number < 0:
        raise BadRequest("a negative length")
    return number


def _chunks(payload: bytes) -> Iterator[bytes]:
    for start in range(0, len(payload), _CHUNK):
        piece = payload[start : start + _CHUNK]
        yield b"%x\r\n%b\r\n" % (len(piece), piece)


def _cut_chunks(payload: bytes, cut: int) -> bytes:
    """Return the chunks before the cut; the chunk it falls into announces its full size."""
    whole = cut - cut % _CHUNK
    parts = list(_chunks(payload[:whole]))
    rest = payload[whole : whole + _CHUNK]
    if cut > whole:
        parts.append(b"%x\r\n%b" % (len(rest), rest[: cut - whole]))
    return b"".join(parts)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
