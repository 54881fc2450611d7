"""Loopback, and nothing else: what keeps tests on this machine, and an address on it that answers nobody.

It imports nothing of `tests`: requests' own suite, which it serves too, has a package of that name.
"""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

#: More connections than a queue of length 0 takes on any machine.
FILLERS = 16


class LeftThisMachine(AssertionError):
    """A test connected to somewhere else. Not an OSError, so that no code under test retries or hides it."""


def has_ipv6() -> bool:
    """Tell whether this machine has a loopback of IPv6."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that this text spells, None for a name."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Tell whether an address, or the one name that needs no resolver, is this machine."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def refuse_elsewhere(sock: socket.socket, address: Any) -> None:
    """Raise LeftThisMachine for an internet address that is not loopback."""
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(address[0]):
        sock.close()  # urllib3 closes it only after an OSError
        raise LeftThisMachine(f"tests connect to loopback only, not to {address[0]}")


@contextmanager
def only_loopback() -> Iterator[None]:
    """Refuse connections that leave this machine, and answer for DNS that no other name exists."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def local_connect(sock: socket.socket, address: Any) -> None:
        refuse_elsewhere(sock, address)
        connect(sock, address)

    def local_connect_ex(sock: socket.socket, address: Any) -> int:
        refuse_elsewhere(sock, address)
        return connect_ex(sock, address)

    def local_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
        if name and name != "localhost" and address_of(name) is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return getaddrinfo(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", local_connect)
        patch.setattr(socket.socket, "connect_ex", local_connect_ex)
        patch.setattr(socket, "getaddrinfo", local_getaddrinfo)
        yield


def full_queue(
    family: int, stack: ExitStack, timeout: float, host: str | None = None, port: int = 0
) -> socket.socket:
    """Return a listening socket that has no room: who connects to it waits.

    Args:
        family: socket.AF_INET or socket.AF_INET6.
        stack: closes the socket, and what fills it.
        timeout: seconds; a connection that takes longer tells that there is no room.
        host, port: where it listens; None and 0: at the first address of loopback, at any port.
    """
    listener = stack.enter_context(socket.socket(family))
    # As `socket.create_server` does: the port may be one that another test has just left.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host or ("::1" if family == socket.AF_INET6 else "127.0.0.1"), port))
    listener.listen(0)
    for _ in range(FILLERS):
        filler = stack.enter_context(socket.socket(family))
        filler.settimeout(timeout)
        try:
            filler.connect(listener.getsockname())
        except TimeoutError:
            return listener
    raise AssertionError("this queue is never full")
