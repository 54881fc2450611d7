"""How an origin is written, and what a URL's origin is: `scheme://host:port`, without a default port."""

from __future__ import annotations

import re
from typing import Final

from urllib3.util import parse_url

#: The ports that go without saying.
PORTS: Final = {"http": 80, "https": 443}


def origin_name(scheme: str, host: str, port: int | None) -> str:
    """The name of an origin.

    Args:
        scheme: "http" or "https".
        host: a name or an address; one of IPv6 with its brackets or without.
        port: None: the usual one.
    """
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    usual = port in (None, PORTS.get(scheme))
    return f"{scheme}://{name}" + ("" if usual else f":{port}")


#: The origin of a URL as requests prepares it: lower case, nothing that takes a parser to tell.
_ORIGIN: Final = re.compile(r"(https?://[^/?#@\\]+)/")


def origin_of(url: str) -> str | None:
    """`scheme://host:port` of a URL as requests prepares it; None when it takes a parser to tell."""
    found = _ORIGIN.match(url)
    if not found:
        return None
    origin = found[1]
    if not origin.endswith((":80", ":443")):
        return origin
    return origin.removesuffix(f":{PORTS[origin.partition(':')[0]]}")


def origin_at(url: str) -> str:
    """`scheme://host:port` of any URL, without credentials; `scheme:` alone where it names no host."""
    return origin_of(url) or _origin_by_parser(url)


def _origin_by_parser(url: str) -> str:
    try:
        parts = parse_url(url)
    except ValueError:
        return _UNKNOWN
    if parts.host is None:
        return f"{parts.scheme}:" if parts.scheme else _UNKNOWN
    return origin_name(parts.scheme or "http", parts.host, parts.port)


#: What follows the origin of a URL, up to its query.
_PATH: Final = re.compile(r"[^/?#]*//[^/?#]*([^?#]*)")


def path_at(url: str) -> str:
    """The path of any URL, without its query; "/" where there is none."""
    found = _PATH.match(url)
    return (found[1] if found else "") or "/"


#: What stands for the origin of a URL that cannot be parsed.
_UNKNOWN: Final = "an unnamed origin"
