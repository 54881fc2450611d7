"""What a head says about the connection that carries it: who it belongs to, and whether it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Schemes that authenticate the connection and not the request (RFC 4559; MS-NTHT).
_SCHEMES: Final = (b"ntlm", b"negotiate")
_AUTH: Final = ("www-authenticate", "proxy-authenticate")


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
