"""What headers say about the connection that carries them: who it belongs to, and whether it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: Schemes that authenticate the connection and not the request (RFC 4559; MS-NTHT).
_SCHEMES: Final = ("ntlm", "negotiate")
_AUTH: Final = ("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate")
_CONNECTION: Final = "connection"
#: Comparing lengths first spares most names the rest.
_LENGTHS: Final = frozenset(map(len, (*_AUTH, _CONNECTION)))


def told_by(headers: Mapping[str, str]) -> tuple[bool, bool]:
    """Whether the connection gets an owner (NTLM, Negotiate), and whether the client asks to close it."""
    owned = closing = False
    for name in headers:
        if len(name) not in _LENGTHS:
            continue
        lower = _lower(name)
        if lower in _AUTH:
            owned = owned or any(scheme in _lower(headers[name]) for scheme in _SCHEMES)
        elif lower == _CONNECTION:
            closing = closing or "close" in _lower(headers[name])
    return owned, closing


def _lower(text: str | bytes) -> str:
    return (text.decode("latin-1") if isinstance(text, bytes) else str(text)).lower()
