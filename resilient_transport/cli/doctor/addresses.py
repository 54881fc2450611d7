"""From a name to its addresses, in bounded time, as often as is asked for: nothing is remembered."""

from __future__ import annotations

import ipaddress
import socket
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from ...connection.resolver import in_thread

#: What a resolver says of a name that does not exist, or has no address of that family.
_ABSENT: Final = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)


@dataclass(frozen=True, slots=True)
class Address:
    """An address of a name, with a port."""

    #: `socket.AF_INET` or `socket.AF_INET6`.
    family: int
    #: What `socket.connect` takes.
    where: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The address alone."""
        return str(self.where[0])

    @property
    def dialled(self) -> tuple[int, tuple[Any, ...]]:
        """The same, as a line takes it."""
        return self.family, self.where

    @property
    def is_loopback(self) -> bool:
        """Whether it leads to this machine."""
        return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback

    def __str__(self) -> str:
        host, port = self.where[:2]
        return f"[{host}]:{port}" if ":" in self.host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a resolver has answered once."""

    #: Seconds that it took.
    seconds: float
    #: The addresses in its order; empty: there is none.
    addresses: tuple[Address, ...] = ()
    #: What it says of that; None: there are addresses.
    error: str | None = None
    #: Whether there is no such name, rather than no answer.
    is_absent: bool = False

    @property
    def hosts(self) -> frozenset[str]:
        """The addresses, whatever their order."""
        return frozenset(one.host for one in self.addresses)


def is_literal(host: str) -> bool:
    """Whether a host is an address already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def look_up(host: str, port: int, timeout: float, family: int = socket.AF_UNSPEC) -> Lookup:
    """Ask the system's resolver, in a thread of its own, since that takes no time-out.

    Args:
        host: the name.
        port: the port of the addresses.
        timeout: seconds.
        family: of the addresses; any.
    """
    began = monotonic()
    answer: Future[Any] = Future()
    in_thread(
        lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM), answer, "resilient-doctor-name"
    )
    try:
        found = answer.result(timeout)
    except FutureTimeout:
        return Lookup(monotonic() - began, (), f"no answer within {timeout:g} s")
    except socket.gaierror as error:
        return Lookup(monotonic() - began, (), error.strerror or "it fails", error.errno in _ABSENT)
    except (OSError, UnicodeError) as error:
        # A label of a name has at most 63 letters.
        return Lookup(monotonic() - began, (), type(error).__name__, isinstance(error, UnicodeError))
    unique = dict.fromkeys(Address(one[0], tuple(one[4])) for one in found)
    return Lookup(monotonic() - began, tuple(unique))
