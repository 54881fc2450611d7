"""The head of a usual response, taken apart in one pass.  No I/O.

Usual is: HTTP/1.1 and a final status; lines that end in CR LF, none of them folded; names that are tokens;
and nothing that is said twice of how long the body is and what becomes of the connection. What is not usual
is left to `http.client`, which has the last word about it.

Leans on `_headers` and `_payload` of `email.message.Message` and on `_container` of urllib3's
`HTTPHeaderDict`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import http.client
import re
from http.client import HTTPMessage
from typing import Any, Final, NamedTuple

from urllib3 import HTTPHeaderDict

#: The longest head, in bytes, that is looked at; `http.client` bears one line of as many.
_LONGEST: Final = 65536
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-9][0-9]{2})(?: ([^\r\n]*))?\r\n")
#: A line with a field (RFC 9112 section 5), as `http.client` would have it: blanks at its end stay.
_FIELD: Final = re.compile(r"^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n]*)\r\n", re.MULTILINE)
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
#: What may be said once.
_ONCE: Final = ("content-length", "transfer-encoding", "connection")
_NOT_THERE: Final[list[Any]] = [None]


class Fields(HTTPMessage):
    """The fields of a head, as `http.client` has them, which knows at once what is not among them."""

    #: The names in lower case, and the list that they were taken from, and how long that was.
    _names: frozenset[str] = frozenset()
    _taken_from: Any = None
    _length = -1

    def take(self, fields: list[tuple[str, str]], names: frozenset[str]) -> None:
        """Be these fields.

        Args:
            fields: name and value of each.
            names: their names in lower case.
        """
        self._headers = self._taken_from = fields
        self._names, self._length = names, len(fields)
        # What a parser leaves where nothing follows the head.
        self._payload = ""

    def _lacks(self, name: str) -> bool:
        """Whether a field is missing for certain: nobody has added one since."""
        same = self._headers is self._taken_from and len(self._headers) == self._length
        return same and name.lower() not in self._names

    def get(self, name: str, failobj: Any = None) -> Any:
        """The first value of a field."""
        return failobj if self._lacks(name) else super().get(name, failobj)

    def get_all(self, name: str, failobj: Any = None) -> Any:
        """All values of a field."""
        return failobj if self._lacks(name) else super().get_all(name, failobj)


class Head(NamedTuple):
    """The head of a response."""

    #: How many bytes it has.
    size: int
    status: int
    reason: str
    #: Its fields, for `http.client` and for urllib3.
    fields: Fields
    headers: HTTPHeaderDict
    #: The Content-Length; None where there is none, or chunks say it.
    length: int | None
    #: Whether the body comes in chunks.
    chunked: bool
    #: Whether the server closes the connection after the response.
    closes: bool


def parse(data: bytes) -> Head | None:
    """Take apart the head that some bytes begin with; None: it is not all there, or not usual."""
    size = data.find(b"\r\n\r\n", 0, _LONGEST) + 4
    line = _STATUS_LINE.match(data, 0, size) if size > 3 else None
    if line is None:
        return None
    text = data[line.end() : size].decode("latin-1")
    found = _FIELD.findall(text)
    # Every line has to be one of a field, but for the empty one at the end.
    if text.count("\n") != len(found) + 1 or len(found) >= http.client._MAXHEADERS:  # type: ignore[attr-defined]
        return None
    by_name: dict[str, list[str]] = {}
    for name, value in found:
        known = by_name.setdefault(name.lower(), [name])
        known.append(value)
    framing = _framing_in(by_name)
    if framing is None:
        return None
    fields, headers = Fields(), HTTPHeaderDict()
    # A copy: who changes what urllib3 has changes nothing here.
    fields.take(found, frozenset(by_name))
    headers._container = by_name
    status, reason = line.groups()
    return Head(size, int(status), (reason or b"").decode("latin-1").strip(), fields, headers, *framing)


def _framing_in(by_name: dict[str, list[str]]) -> tuple[int | None, bool, bool] | None:
    """Length, chunks and end, as these fields tell; None: they say something unusual."""
    told = [by_name.get(name, _NOT_THERE) for name in _ONCE]
    if any(len(values) > 2 for values in told):
        return None
    length, coding, connection = (values[-1] for values in told)
    if coding is not None and (length is not None or coding.lower() != "chunked"):
        return None
    if length is not None and not _LENGTH.fullmatch(length):
        return None
    closes = connection is not None and "close" in connection.lower()
    return None if length is None else int(length), coding is not None, closes
