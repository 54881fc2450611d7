"""TCP connections begun before anybody may shake hands over them.

On a long path the callers that wait for the first handshake of a cold pool would each begin with a round trip
of TCP's. So whoever has shaken hands begins connects for them while it waits for proof, to the address that
has answered. Nothing waits here: the kernel connects, and who gets a permit takes a socket and waits for the
rest.
"""

from __future__ import annotations

import socket
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from ..util.clock import monotonic
from ..util.frozen import dataclass
from .eof import WatchedSSLSocket
from .happy_eyeballs import IN_PROGRESS, only_connects
from .open_sockets import note

#: A path is long when its round trip takes longer, in seconds; on a shorter one there is nothing to gain.
LONG: Final = 0.005
#: Where Linux's `struct tcp_info` has the smoothed round trip, in microseconds (`linux/tcp.h`).
_RTT: Final = slice(68, 72)
#: Seconds after which a connect that nobody took is given up: servers do not wait long for a handshake.
FRESH: Final = 5.0


def made(
    family: int,
    options: Sequence[Sequence[Any]] | None,
    source: Any,
    kind: int = socket.SOCK_STREAM,
    protocol: int = 0,
) -> socket.socket:
    """A socket that is ready to connect: with its options, and bound to where it comes from."""
    sock = socket.socket(family, kind, protocol)
    note(sock)
    try:
        for option in options or ():
            sock.setsockopt(*option)
        if source:
            sock.bind(source)
    except BaseException:
        sock.close()
        raise
    return sock


@dataclass(frozen=True, slots=True)
class Route:
    """Where a connect has just succeeded, and with what options."""

    family: int
    address: Any
    source: Any
    options: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, sock: Any, source: Any, options: Any) -> Route | None:
        """The route of a TCP socket; None for anything else that somebody has put in its place."""
        if not _is_tcp(sock):
            return None
        try:
            return cls(sock.family, sock.getpeername(), source, options or ())
        except OSError:
            # It was reset meanwhile.
            return None

    def begin(self) -> socket.socket | None:
        """Begin to connect; None when that is not possible now."""
        sock = None
        try:
            sock = made(self.family, self.options, self.source)
            sock.setblocking(False)
            if sock.connect_ex(self.address) in IN_PROGRESS:
                return sock
        except OSError:
            pass
        if sock is not None:
            sock.close()
        return None


def _is_tcp(sock: Any) -> bool:
    kinds = (socket.socket, WatchedSSLSocket)
    is_tcp = type(sock) in kinds and sock.family in (socket.AF_INET, socket.AF_INET6)
    return is_tcp and only_connects(socket.socket)


def is_long(sock: Any, seconds: float) -> bool:
    """Whether the path is long: by what the kernel has measured, or else by how long the connect took.

    Args:
        sock: the connected socket.
        seconds: that the connect took by our clock, which on a busy machine measures the machine.
    """
    if sys.platform == "linux" and seconds > LONG and _is_tcp(sock):
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.stop)
        seconds = int.from_bytes(info[_RTT], sys.byteorder) / 1e6
    return seconds > LONG


class Begun(NamedTuple):
    """A connect that was begun."""

    sock: socket.socket
    #: Where to.
    address: Any
    #: When, on the monotonic clock.
    since: float


class Preconnects:
    """The begun connects of one shared pool. Takes no lock: each step is one operation of a deque."""

    def __init__(self) -> None:
        self._begun: deque[Begun] = deque()

    def begin(self, route: Route, wanted: int) -> None:
        """Have so many connects under way."""
        for _ in range(wanted - len(self._begun)):
            sock = route.begin()
            if sock is None:
                return
            self._begun.append(Begun(sock, route.address, monotonic()))

    def take(self) -> Begun | None:
        """A connect that was begun a moment ago."""
        self.trim(len(self._begun))
        return self._oldest()

    def trim(self, most: int) -> None:
        """Close all but so many, and what has become old."""
        while len(self._begun) > most or self._has_old():
            oldest = self._oldest()
            if oldest is not None:
                oldest.sock.close()

    def _has_old(self) -> bool:
        with suppress(IndexError):
            return monotonic() - self._begun[0].since > FRESH
        return False

    def _oldest(self) -> Begun | None:
        with suppress(IndexError):
            return self._begun.popleft()
        return None

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors."""
        begun, self._begun = self._begun, deque()
        for one in begun:
            one.sock.close()

    def __len__(self) -> int:
        return len(self._begun)
