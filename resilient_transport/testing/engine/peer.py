"""One accepted socket, and every way to end it. Knows nothing of TLS, HTTP or scripts.

Only the connection's own thread closes the socket; another thread asks it to, with `doom`, which wakes it
from whatever it waits for. So a descriptor is never closed under a poll and never reused by surprise.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import select
import socket
import struct
import termios
import threading
import time
from collections.abc import Callable

from ..script import How
from .termination import Ending, PeerGone

#: Seconds any single wait for the client may take: the bound on every connection thread.
LIMIT = 60.0
#: Seconds that a connection still reads after our FIN: unread data would turn the FIN into a reset.
LINGER = 2.0
_HANG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)
_SLICE_MS = 100


class Peer:
    """A socket whose waits are bounded and can be ended from another thread."""

    def __init__(self, sock: socket.socket, on_end: Callable[[], None]) -> None:
        """Take over the socket; `on_end` is called once, when our side has ended."""
        sock.setblocking(False)
        # The client may be gone already.
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._on_end: Callable[[], None] | None = on_end
        self._readable = _poller(sock, select.POLLIN)
        # Set by `doom`, on the control thread; read by the connection's thread after every wait.
        self._doom: How | None = None
        self._doomed = threading.Event()

    def fileno(self) -> int:
        """Return the descriptor, for a poll of several."""
        return self._sock.fileno()

    def doom(self, how: How) -> None:
        """Make the owning thread end the connection this way; called from any other thread."""
        self._doom = how
        self._doomed.set()
        # Wakes a poll and sends nothing. The socket may be closed already.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def obey(self) -> None:
        """Raise `Ending` if another thread asked for it."""
        if self._doom is not None:
            raise Ending(self._doom)

    def recv(self, timeout: float | None = None) -> bytes:
        """Return what comes within `timeout` seconds, empty at the client's end. Raises `PeerGone`."""
        ready = self._readable.poll(int((LIMIT if timeout is None else timeout) * 1000))
        self.obey()
        if not ready:
            raise PeerGone("silent")
        try:
            return self._sock.recv(65536)
        except OSError as error:
            raise PeerGone(str(error)) from error

    def send(self, data: bytes) -> None:
        """Send all of it. Raises `PeerGone` when the client left or stopped reading."""
        try:
            sent = self._try_send(data)
            if sent < len(data):
                self._send_slowly(memoryview(data)[sent:])
        except OSError as error:
            raise PeerGone(str(error)) from error

    def pause(self, seconds: float) -> None:
        """Wait; raises `Ending` if another thread asks for it meanwhile."""
        if seconds > 0:
            self._doomed.wait(min(seconds, LIMIT))
        self.obey()

    def stall(self, seconds: float) -> None:
        """Wait in silence, but no longer than the client stays, and read nothing."""
        _poller(self._sock, _HANG_UP).poll(int(min(seconds, LIMIT) * 1000))

    def reset(self) -> None:
        """End with an RST, once the client's kernel has all that was sent."""
        self._await_delivery()
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def finish(self) -> None:
        """End with a FIN, reading on for a while so that it stays one."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
        self._ended()
        deadline = time.monotonic() + LINGER
        with contextlib.suppress(OSError, PeerGone, Ending):
            while self.recv(max(0.0, deadline - time.monotonic())):
                pass
        self.close()

    def close(self) -> None:
        """Close as any program would: with a FIN, or with an RST if data of the client lies unread."""
        self._sock.close()
        self._ended()

    def shutdown_write(self) -> None:
        """Send a FIN and go on reading."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _ended(self) -> None:
        tell, self._on_end = self._on_end, None
        if tell is not None:
            tell()

    def _try_send(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def _send_slowly(self, rest: memoryview) -> None:
        # In slices: unlike a wait for input, a wait for room cannot be woken without sending a FIN.
        writable = _poller(self._sock, select.POLLOUT)
        patience = time.monotonic() + LIMIT
        while rest:
            writable.poll(_SLICE_MS)
            self.obey()
            sent = self._try_send(rest)
            rest = rest[sent:]
            if sent:
                patience = time.monotonic() + LIMIT
            elif time.monotonic() > patience:
                raise PeerGone("stopped reading")

    def _await_delivery(self) -> None:
        """Wait until the kernel holds nothing unsent, which a reset would throw away, or the client stops."""
        least, deadline = math.inf, 0.0
        with contextlib.suppress(OSError):
            while (unsent := self._unsent()) and self._doom is None:
                if unsent < least:
                    least, deadline = unsent, time.monotonic() + LINGER
                elif time.monotonic() > deadline:
                    return
                time.sleep(0.0005)

    def _unsent(self) -> int:
        answer = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        return int.from_bytes(answer, "little")


def _poller(sock: socket.socket, events: int) -> select.poll:
    poller = select.poll()
    poller.register(sock, events)
    return poller
