"""How a connection ended: told apart where the standard library makes all endings look alike.

`ssl` reports an end of file without close_notify as an orderly one (`suppress_ragged_eofs`), and up to Python
3.12 a reset, too. `http.client` takes an end of file in the middle of a response's head for the end of the
head. Either way a cut response would pass for a whole one (RFC 9112 section 8, RFC 8446 section 6.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from http.client import (
    CONTINUE,
    NO_CONTENT,
    NOT_MODIFIED,
    OK,
    PROCESSING,
    BadStatusLine,
    HTTPResponse,
    RemoteDisconnected,
    parse_headers,
)
from typing import Any, Final

from urllib3 import HTTPHeaderDict

from ..retry.causes import UNREADY_STATUSES
from ..retry.retry_after import retry_after
from .head_parser import parse
from .shipped import is_as_shipped
from .timed_stream import hasten, timed

#: Interim responses before the final one that are read, at the most.
_INTERIM_AT_MOST: Final = 100
_CUT: Final = "Remote end closed connection in the head of the response"


class WatchedHTTPResponse(HTTPResponse):
    """A response whose head is whole or an error, and which is the final one.

    Overrides `_read_status` of `http.client`, pinned in `tests/test_upstream.py`.
    """

    #: How many interim responses have come.
    _interim = 0
    #: The fields of a usual head, as urllib3 has them; None: it was read line by line.
    usual_headers: HTTPHeaderDict | None = None
    #: How many bytes of the body came with such a head: to read them is to wait for nothing.
    ahead = 0
    #: Whether somebody has looked for a usual head, and what was met then: `begin` meets it again.
    _was_tried = False
    _met: BaseException | None = None

    def begin_at_once(self) -> bool:
        """Receive the head in one piece, if it comes in one and is a usual one; never fails.

        Otherwise `begin` is to be called. It is to be called in any case: it knows what was done here.
        """
        self._was_tried = True
        peek = getattr(self.fp, "peek", None)
        try:
            data = b"" if peek is None else peek()
            head = parse(data)
        except BaseException as error:
            self._met = error
            return False
        if head is None:
            return False
        self.fp.read(head.size)
        status = self.code = self.status = head.status
        self.reason, self.version = head.reason, 11
        self.headers = self.msg = head.fields
        has_no_body = status in (NO_CONTENT, NOT_MODIFIED) or self._method == "HEAD"  # type: ignore[attr-defined]
        self.length = 0 if has_no_body else head.length
        self.chunked = head.chunked and not has_no_body
        # Where nothing says how long the body is, the end of the connection is its end.
        self.will_close = head.closes or not (self.chunked or self.length is not None)
        if head.chunked:
            self.chunk_left = None
        if self.chunked:
            self.fp = Chunks(self.fp)
        self.usual_headers, self.ahead = head.headers, len(data) - head.size
        return True

    def _read_status(self) -> tuple[str, int, str]:
        # `http.client` lets go of the file before it says that the line is none.
        lines: Any = self.fp
        try:
            return self._read_final_status()
        except BadStatusLine as error:
            if isinstance(error, RemoteDisconnected) or not _is_cut(lines.last):
                raise
            raise RemoteDisconnected(_CUT) from None

    def _read_final_status(self) -> tuple[str, int, str]:
        # http.client skips 100 only; 103 and its kin are interim, too (RFC 9110 section 15.2), 101 is not.
        while self._interim < _INTERIM_AT_MOST:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            self._interim += status < OK
            if not PROCESSING <= status < OK:
                return version, status, reason
            parse_headers(self.fp)
        raise BadStatusLine("too many interim responses")

    def _is_begun(self) -> bool:
        """Whether the head was received in one piece, now or before."""
        if not self._was_tried and self.debuglevel == 0 and is_as_shipped():
            self.begin_at_once()
        return self.usual_headers is not None

    def begin(self) -> None:
        """Receive the head.

        Raises:
            http.client.RemoteDisconnected: the connection ended before the empty line that ends the head. Its
                `announces_body` says whether what came says that a body follows.
            http.client.HTTPException: the head cannot be parsed.
        """
        if self._is_begun():
            return
        if self._met is not None:
            met, self._met = self._met, None
            try:
                raise met
            finally:
                # The traceback holds this frame: what the frame holds must not be the exception.
                del met
        lines = _Lines(self.fp)
        self.fp: Any = lines
        try:
            super().begin()
        finally:
            if self.fp is lines:
                self.fp = lines.file
        if not lines.last:
            announces_body = bool(self.chunked or self.length)
            self.close()
            raise _cut(announces_body)
        if self.length == 0:
            # Whatever it says: an answer to HEAD, a 204 and a 304 have no body (RFC 9112 section 6.3).
            self.chunked = False
        if self.chunked is True and self.fp is not None:
            self.fp = Chunks(self.fp)

    def has_surplus(self) -> bool:
        """Whether more came than the response has, as far as its head says how much that is."""
        return not self.chunked and self.length is not None and self.ahead > self.length


def _is_cut(line: bytes) -> bool:
    """Whether this is the beginning of a status line, whose rest is missing."""
    return not line.endswith(b"\n") and _HTTP.startswith(line[: len(_HTTP)])


#: What a status line begins with (RFC 9112 section 4).
_HTTP: Final = b"HTTP/"


def _cut(announces_body: bool) -> RemoteDisconnected:
    error = RemoteDisconnected(_CUT)
    error.announces_body = announces_body  # type: ignore[attr-defined]
    return error


class HurriedHTTPResponse(WatchedHTTPResponse):
    """The same within a deadline: no read waits longer than that allows."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        timed(self.fp)


class ConnectAnswer:
    """Makes the response in which a proxy answers CONNECT, and keeps what it says of when to ask again.

    `http.client` raises an error when the status is not 200, and drops the fields; before Python 3.12 it does
    not even read them.

    Args:
        kind: makes the response otherwise.
    """

    def __init__(self, kind: Callable[..., HTTPResponse]) -> None:
        self._kind = kind
        self._fields: dict[str, str] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> HTTPResponse:
        """Make the response."""
        response: Any = self._kind(*args, **kwargs)
        response.fp = _Lines(response.fp)
        read_status = response._read_status

        def read_head() -> tuple[str, int, str]:
            # It is called once, and the response must not hold itself.
            del response._read_status
            told: tuple[str, int, str] = read_status()
            while told[1] == CONTINUE:
                # Nobody has asked for it; some proxies say so all the same.
                parse_headers(response.fp)
                told = read_status()
            if told[1] != OK:
                lines = self._read_fields(response.fp) if told[1] in UNREADY_STATUSES else []
                # Nobody waits for the rest of the head, or for more than that.
                response.fp = _Reread(response.fp, [*lines, b"\r\n"])
            return told

        response._read_status = read_head
        made: HTTPResponse = response
        return made

    def _read_fields(self, file: Any) -> list[bytes]:
        """Read the fields, as far as they come."""
        lines: list[bytes] = []
        hasten(file, _FIELDS_WITHIN)
        with suppress(OSError):
            while len(lines) < _FIELDS_AT_MOST and (not lines or lines[-1].strip()):
                lines.append(file.readline(_LINE_AT_MOST))
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            self._fields.setdefault(name.lower(), value.strip())
        return [line for line in lines if line.strip()]

    def retry_after(self) -> float | None:
        """Seconds after which to ask again, as far as the proxy has said so."""
        return retry_after(self._fields.get("retry-after"), self._fields.get("date"))


#: As many as `http.client` reads, and as long.
_FIELDS_AT_MOST: Final = 100
_LINE_AT_MOST: Final = 65536
#: The status says what has failed: when to ask again is worth so many seconds.
_FIELDS_WITHIN: Final = 1.0


class _Reread:
    """A file some of whose lines were read ahead."""

    __slots__ = ("_ahead", "_file")

    def __init__(self, file: Any, ahead: list[bytes]) -> None:
        self._file = file
        self._ahead = ahead

    def readline(self, limit: int = -1) -> bytes:
        """Read a line."""
        return self._ahead.pop(0) if self._ahead else self._file.readline(limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class Chunks:
    """A file in which a line that is cut is no line: a chunk size of 0005, cut to 0, would end the body."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.read = file.read
        #: The line that was read last; an empty one ends the body (RFC 9112 section 7.1.2).
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        """Read a line; nothing when the file ends before what may be a chunk's size does."""
        line: bytes = self.file.readline(limit)
        if not line.endswith(b"\n") and len(line) != limit and may_be_size(line):
            line = b""
        self.last = line
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def may_be_size(line: bytes) -> bool:
    """Whether a line that is not whole may be the beginning of one with the size of a chunk."""
    return _SIZE.fullmatch(line) is not None


#: As far as `http.client` reads it (RFC 9112 section 7.1).
_SIZE: Final = re.compile(rb"[ \t]*[0-9A-Fa-f]*[ \t]*(;[^\n]*)?\r?")


class _Lines:
    """The part of a file that `http.client` reads a head with; remembers the last line."""

    __slots__ = ("_read", "file", "last")

    def __init__(self, file: Any) -> None:
        self.file = file
        self._read = file.readline
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        """Read a line."""
        self.last = line = self._read(limit)
        return line  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close the file: `http.client` does so when the head cannot be parsed."""
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
