"""How an origin is written: `scheme://host:port`, without the port that goes without saying."""

from __future__ import annotations

from typing import Final

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
