"""TCP connections begun before anybody may shake hands over them.

On a long path the callers that wait for the first handshake of a cold pool would each begin with a round trip
of TCP's. So whoever has shaken hands begins connects for them while it waits for proof, to the address that
has answered. Nothing waits here: the kernel connects, and who gets a permit takes a socket and waits for the
rest.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from urllib3.util.wait import wait_for_write

from ..util.clock import monotonic
from ..util.frozen import dataclass
from .eof import WatchedSSLSocket

#: A path is long when its round trip takes longer, in seconds; on a shorter one there is nothing to gain.
LONG: Final = 0.005
#: Where Linux's `struct tcp_info` has the smoothed round trip, in microseconds (`linux/tcp.h`).
_RTT: Final = slice(68, 72)
#: Seconds after which a connect that nobody took is given up: servers do not wait long for a handshake.
FRESH: Final = 5.0
_IN_PROGRESS: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0))


def made(
    family: int,
    options: Sequence[Sequence[Any]] | None,
    source: Any,
    kind: int = socket.SOCK_STREAM,
    protocol: int = 0,
) -> socket.socket:
    """A socket that is ready to connect: with its options, and bound to where it comes from."""
    sock = socket.socket(family, kind, protocol)
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
            if sock.connect_ex(self.address) in _IN_PROGRESS:
                return sock
        except OSError:
            pass
        if sock is not None:
            sock.close()
        return None


def _is_tcp(sock: Any) -> bool:
    kinds = (socket.socket, WatchedSSLSocket)
    return type(sock) in kinds and sock.family in (socket.AF_INET, socket.AF_INET6)


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


class Preconnects:
    """The begun connects of one shared pool. Takes no lock: each step is one operation of a deque."""

    def __init__(self) -> None:
        self._begun: deque[tuple[float, socket.socket]] = deque()

    def begin(self, route: Route, wanted: int) -> None:
        """Have so many connects under way."""
        for _ in range(wanted - len(self._begun)):
            sock = route.begin()
            if sock is None:
                return
            self._begun.append((monotonic(), sock))

    def take(self) -> socket.socket | None:
        """A connect that was begun a moment ago."""
        self.trim(len(self._begun))
        return self._oldest()

    def trim(self, most: int) -> None:
        """Close all but so many, and what has become old."""
        while len(self._begun) > most or self._has_old():
            sock = self._oldest()
            if sock is not None:
                sock.close()

    def _has_old(self) -> bool:
        with suppress(IndexError):
            return monotonic() - self._begun[0][0] > FRESH
        return False

    def _oldest(self) -> socket.socket | None:
        with suppress(IndexError):
            return self._begun.popleft()[1]
        return None

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors."""
        begun, self._begun = self._begun, deque()
        for _, sock in begun:
            sock.close()

    def __len__(self) -> int:
        return len(self._begun)


def finish(sock: socket.socket, timeout: float | None) -> socket.socket:
    """Wait until a begun connect is done.

    Args:
        sock: the socket.
        timeout: seconds to wait, and the socket's time-out afterwards; None: for ever.

    Raises:
        TimeoutError: it took longer.
        OSError: it failed, as `connect` would.
    """
    try:
        if not wait_for_write(sock, timeout=timeout):
            raise TimeoutError("timed out")
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        _refuse_ended(sock)
        sock.settimeout(timeout)
    except BaseException:
        sock.close()
        raise
    return sock


def _refuse_ended(sock: socket.socket) -> None:
    """Raise if the server has closed a connection on which nothing has happened yet, or says something."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return
    raise ConnectionResetError(errno.ECONNRESET, "closed before the handshake")
