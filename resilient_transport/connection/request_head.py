"""The head of a request: written in one pass where it is a usual one; and what it says of its connection.

Leans on `_store` of requests' `CaseInsensitiveDict`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from requests.structures import CaseInsensitiveDict
from urllib3.util import SKIP_HEADER

#: Schemes that authenticate the connection and not the request (RFC 4559; MS-NTHT).
_SCHEMES: Final = (b"ntlm", b"negotiate")
_AUTH: Final = ("www-authenticate", "proxy-authenticate")

#: A target that urllib3 sends as it is.
_TARGET: Final = re.compile(
    r"/(?:[-\w.~!$&'()*+,;=:@/]|%[0-9A-F]{2})*(?:\?(?:[-\w.~!$&'()*+,;=:@/?]|%[0-9A-F]{2})*)?", re.ASCII
)
#: A head that nobody can take for more than it is: what is in it is of `http.client`'s kind, and stricter.
_HEAD: Final = re.compile(
    r"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)+\r\n"
)
#: Methods for which urllib3 says nothing of a body that is not there.
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "TRACE", "OPTIONS"})


def rendered(method: str, target: str, host: str, headers: Any, body: Any) -> bytes | None:
    """The head that urllib3 and `http.client` would write; None: it is not a usual one, and theirs to write.

    Args:
        method, target: of the request.
        host: the line of the Host field that `http.client` writes where the caller has none.
        headers: the caller's.
        body: what follows.
    """
    if type(headers) is not CaseInsensitiveDict or _TARGET.fullmatch(target) is None:
        return None
    fields = headers._store  # type: ignore[attr-defined]
    if "user-agent" not in fields or "accept-encoding" not in fields or "transfer-encoding" in fields:
        return None
    length = fields.get("content-length")
    if body is None:
        # requests says 0 where urllib3 would: there it does not matter whose it is.
        if method not in _BODILESS if length is None else length[1] != "0":
            return None
    elif type(body) is not bytes or length is None or length[1] != str(len(body)):
        return None
    host = "" if "host" in fields else host
    try:
        lines = "\r\n".join(map(": ".join, fields.values()))
        text = f"{method} {target} HTTP/1.1\r\n{host}{lines}\r\n\r\n"
        head = text.encode("latin-1")
    except (TypeError, UnicodeEncodeError):
        return None
    # A line for each field, the first one, the empty one, and that of the host. A name has no colon: it would
    # end there, and the rest would be sent as a part of the value.
    if text.count("\n") != len(fields) + 2 + bool(host) or SKIP_HEADER in text or ":" in "".join(fields):
        return None
    return head if _HEAD.fullmatch(text) else None


def host_line(head: bytes) -> str:
    """The line of the Host field in a head that `http.client` has written."""
    lines = head.split(b"\r\n", 2)
    return f"{lines[1].decode('latin-1')}\r\n" if lines[1].startswith(b"Host: ") else ""


def told_by(head: bytes) -> tuple[bool, bool, int | None]:
    """Whether a request gives its connection an owner (NTLM, Negotiate), asks to close it; its body's length.

    Args:
        head: the request's head as it is sent; looking there costs less than asking for headers by name.
    """
    lower = head.lower()
    owned = closing = False
    # "Proxy-Authorization" ends like "Authorization"; both schemes begin with an n.
    if b"authorization: n" in lower:
        owned = any(scheme in line for line in _lines(lower, b"authorization:") for scheme in _SCHEMES)
    if b"close" in lower:
        closing = any(b"close" in line for line in _lines(lower, b"\r\nconnection:"))
    return owned, closing, _length_in(lower) if b"content-length:" in lower else None


def _length_in(lower: bytes) -> int | None:
    """The body's Content-Length; None where there is none: then chunks say it."""
    lengths = _lines(lower, b"\r\ncontent-length:")
    value = lengths[0].partition(b":")[2].strip() if lengths else b""
    return int(value) if value.isdigit() else None


def _lines(head: bytes, name: bytes) -> list[bytes]:
    found = []
    at = head.find(name)
    while at >= 0:
        end = head.find(b"\r\n", at + len(name))
        found.append(head[at:end])
        at = head.find(name, end) if end >= 0 else -1
    return found


def is_asked_for(headers: Mapping[str, str]) -> bool:
    """Whether a response asks for authentication of the connection."""
    values = [headers.get(name, "").lower().encode() for name in _AUTH]
    return any(scheme in value for value in values for scheme in _SCHEMES)
