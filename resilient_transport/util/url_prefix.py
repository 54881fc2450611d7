"""URL prefixes, compared by scheme, host, port and path segment."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final
from urllib.parse import unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from .frozen import dataclass
from .origin import PORTS, origin_name

#: What no URL has, and who takes one in passes over.
_BLANKS: Final = re.compile(r"[\t\r\n]")
_NUMERIC: Final = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a URL may begin with: all of a host, or a part of its paths."""

    scheme: str
    host: str
    port: int
    #: Of the path, decoded, without empty ones: servers take two slashes for one.
    segments: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Prefix:
        """Read a prefix.

        Raises:
            ValueError: it is no such URL, or has credentials, a query or a fragment.
        """
        parts = parse_url(text)
        if parts.auth is not None or parts.query is not None or parts.fragment is not None:
            raise ValueError("a prefix has no credentials, query or fragment")
        found = cls._of(text)
        if found is None:
            raise ValueError("a prefix has a scheme and a host")
        return found

    def covers(self, url: str) -> bool:
        """Whether a URL begins with this: `/v1` covers `/v1` and `/v1/words`, and not `/v10`."""
        try:
            found = self._of(url)
        except (LocationParseError, ValueError):
            # requests says what is wrong with it.
            return False
        if found is None or (found.scheme, found.host, found.port) != (self.scheme, self.host, self.port):
            return False
        return found.segments[: len(self.segments)] == self.segments

    @classmethod
    def _of(cls, url: str) -> Prefix | None:
        """What a URL begins with, in one spelling of all that some server or other takes for the same."""
        parts = parse_url(_BLANKS.sub("", url.strip()))
        scheme = (parts.scheme or "").lower()
        if scheme not in PORTS or not parts.host:
            return None
        port = PORTS[scheme] if parts.port is None else parts.port
        return cls(scheme, _plain(parts.host), port, _segments(parts.path or ""))

    def __str__(self) -> str:
        return f"{origin_name(self.scheme, self.host, self.port)}/{'/'.join(self.segments)}"


def _segments(path: str) -> tuple[str, ...]:
    """The segments of a path: decoded, without dots, empty ones and parameters."""
    found: list[str] = []
    for segment in unquote(path).replace("\\", "/").split("/"):
        name = segment.partition(";")[0]
        if name == "..":
            del found[-1:]
        elif name not in ("", "."):
            found.append(name)
    return tuple(found)


def _plain(host: str) -> str:
    """A host in one spelling: without the root's dot, an address in its shortest form."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        # Resolvers take "127.1", "0x7f000001" and the like for addresses, too.
        address = ipaddress.ip_address(socket.inet_aton(host) if _NUMERIC.fullmatch(host) else host)
    except (ValueError, OSError):
        return host
    return str(getattr(address, "ipv4_mapped", None) or address)
