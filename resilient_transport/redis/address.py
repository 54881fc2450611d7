"""The URL of a Redis: what connects to it, and what of it may be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from redis.backoff import NoBackoff
from redis.connection import Connection, parse_url
from redis.retry import Retry

_SCHEMES: Final = ("redis", "rediss", "unix")
#: Arguments of a connection that no message may show.
_SECRET: Final = ("username", "password", "ssl_password")


class Address(NamedTuple):
    """What a URL says."""

    #: The URL without credentials and options.
    place: str
    #: Makes a connection, which is not connected yet.
    connect: Callable[[], Any]
    #: What no message may show.
    secrets: tuple[str, ...]


def address_of(url: str, timeout: float) -> Address:
    """What a URL says.

    Args:
        url: as redis-py spells it.
        timeout: seconds for each step of a connection.

    Raises:
        ValueError: redis-py can make nothing of it. The message shows nothing of it either.
    """
    try:
        parts = urlsplit(url)
        netloc = parts.netloc.rpartition("@")[2]
    except ValueError:
        raise ValueError("url is the URL of a Redis, such as redis://10.0.0.5:6379/0") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError("url begins with redis://, rediss:// or unix://")
    if parts.scheme != "unix" and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ValueError("in the user name and password of url, /, ?, # and @ are percent-encoded")
    try:
        arguments: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        kind = arguments.pop("connection_class", Connection)
        arguments |= _whatever_it_says(timeout)
        kind(**arguments)
    except Exception as error:
        raise ValueError(f"redis-py can make nothing of url ({type(error).__name__})") from None
    place = f"unix://{parts.path}" if parts.scheme == "unix" else f"{parts.scheme}://{netloc}{parts.path}"
    secrets = (str(arguments.get(name) or "") for name in _SECRET)
    return Address(place, lambda: kind(**arguments), tuple(filter(None, secrets)))


def _whatever_it_says(timeout: float) -> dict[str, Any]:
    """What holds for a connection, whatever its URL says: one try, within a time, by the older protocol.

    That needs no greeting, and no server sends what nobody has asked for. Since version 6 redis-py repeats
    by itself what it takes for healable, three times.
    """
    return {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "retry_on_error": [],
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": 2,
    }
