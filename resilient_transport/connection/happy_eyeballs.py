"""Connect to whichever of a name's addresses answers first (Happy Eyeballs, RFC 8305).

One address after another, in the order that is wanted: the next one begins when all before it have failed, or
when the last has been silent for a quarter of a second. The first that is connected is taken, and the others
are closed. One thread does all of it by a poll, and polls only once an address was silent for that long.

Knows sockets and clocks, and nothing of names, TLS or pools.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections import deque
from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final, NamedTuple

from ..retry.deadline import Deadline
from ..util.clock import monotonic
from .resolver import Address

#: Seconds until the next address is tried beside those that are silent: RFC 8305 section 5 recommends it, and
#: curl has 200 ms, Go 300.
DELAY: Final = 0.25
#: What a connect says that goes on.
IN_PROGRESS: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", 0))


#: Whose sockets connect and do no more than that, or switch to another thread meanwhile.
_PLAIN: Final = ("socket", "gevent", "eventlet")


def is_plain(kind: type) -> bool:
    """Whether the `connect` of this class of sockets may be cut short and gone on with.

    Not where a program has put another class in the place of `socket.socket`, as PySocks advises: that may
    be in the midst of a negotiation with a proxy.
    """
    return kind.__module__.partition(".")[0] in _PLAIN


class _Running(NamedTuple):
    """A connect that is under way."""

    address: Any
    #: Seconds that it may take; None: for ever.
    patience: float | None
    #: When it was begun, on the monotonic clock.
    since: float

    def until(self) -> float:
        """When its time is over."""
        return inf if self.patience is None else self.since + self.patience


class Race:
    """A connect to one of several addresses, used once.

    Args:
        make: makes the socket for an address; its time-out is what a connect to one address may take.
        deadline: when a socket has to be connected.
        failed: is told of each address that has failed, or has stayed silent while a later one was connected,
            and of the error.
    """

    def __init__(
        self,
        make: Callable[[Address], socket.socket],
        deadline: Deadline,
        failed: Callable[[Any, OSError], None],
    ) -> None:
        self._make = make
        self._deadline = deadline
        self._failed = failed
        #: In the order of their beginning.
        self._running: dict[socket.socket, _Running] = {}
        #: When the next one is due.
        self._due = -inf
        self._error: OSError = OSError("getaddrinfo returns an empty list")

    def finish(self, sock: socket.socket, address: Any, patience: float | None) -> socket.socket | None:
        """Wait for a connect that was begun before.

        Args:
            sock: the socket, which does not block.
            address: where to.
            patience: seconds that it may take from now on; None: for ever.

        Returns:
            The socket; None: it has failed, or is silent, and takes part in the race.
        """
        self._running[sock] = _Running(address, patience, monotonic())
        if not self._ready(monotonic() + DELAY):
            return None
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or _has_something_to_read(sock):
            # It says nothing against the address that the server has given up what was idle.
            del self._running[sock]
            sock.close()
            return None
        return self._take(sock)

    def run(self, addresses: Iterable[Address]) -> socket.socket:
        """Connect.

        Args:
            addresses: in the order in which they are tried.

        Returns:
            The socket, with the time-out with which it was made, or what the deadline leaves of that.

        Raises:
            TimeoutError: the last one was silent for too long, or the deadline is over.
            OSError: what the last one has failed with.
        """
        ahead = deque(addresses)
        for begun in self._running.values():
            ahead = deque(address for address in ahead if address[4] != begun.address)
        try:
            while True:
                self._refuse_late()
                if self._running:
                    connected = self._beside(ahead)
                elif ahead:
                    connected = self._alone(ahead.popleft(), last=not ahead)
                else:
                    raise self._error
                if connected is not None:
                    return connected
        finally:
            # Its traceback holds this frame, which holds this.
            self._error = OSError()

    def close(self) -> None:
        """Close all that is under way."""
        for sock in self._running:
            sock.close()

    def _alone(self, address: Address, last: bool) -> socket.socket | None:
        """Wait for one address; None: it has failed, or others are to be tried beside it.

        By `connect` itself, which waits for less, and which whatever stands in for a socket has.
        """
        sock = self._begin(address)
        if sock is None:
            return None
        running, last = self._running[sock], last or not is_plain(type(sock))
        try:
            if not last or self._deadline.is_limited():
                patience = running.patience if last else _least(running.patience)
                sock.settimeout(self._deadline.for_socket(patience))
            sock.connect(running.address)
        except OSError as error:
            if last or not _goes_on(error) or monotonic() >= running.until():
                self._drop(sock, error)
            else:
                sock.setblocking(False)
            return None
        if not last:
            return self._take(sock)
        # Most connects: it has its time-out, and no other is under way.
        del self._running[sock]
        return sock

    def _beside(self, ahead: deque[Address]) -> socket.socket | None:
        """Begin the next one, if that is due, and wait until the next is, or something happens."""
        if ahead and monotonic() >= self._due:
            self._due = monotonic() + DELAY
            self._connect(ahead.popleft())
        for sock in self._ready(self._due if ahead else inf):
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not error:
                return self._take(sock)
            self._drop(sock, OSError(error, os.strerror(error)))
            self._due = -inf
        now = monotonic()
        for sock in [sock for sock, running in self._running.items() if running.until() <= now]:
            self._drop(sock, TimeoutError("timed out"))
        return None

    def _connect(self, address: Address) -> None:
        """Begin to connect, and do not wait."""
        sock = self._begin(address)
        if sock is None:
            return
        sock.setblocking(False)
        error = sock.connect_ex(self._running[sock].address)
        if error not in IN_PROGRESS:
            self._drop(sock, OSError(error, os.strerror(error)))
            self._due = -inf

    def _begin(self, address: Address) -> socket.socket | None:
        """A socket that takes part from now on, until it wins or is closed; None: there can be none."""
        try:
            sock = self._make(address)
        except OSError as error:
            self._lose(address[4], error)
            return None
        self._running[sock] = _Running(address[4], sock.gettimeout(), monotonic())
        return sock

    def _ready(self, until: float) -> list[Any]:
        """The sockets that are connected or have failed; waits for one, until a moment at the latest."""
        until = min(until, *(running.until() for running in self._running.values()))
        wait = self._deadline.bound(None if until == inf else max(0.0, until - monotonic()))
        # Asked for here: libraries with green threads replace what cannot wait their way, or remove it.
        kind = getattr(selectors, "PollSelector", None) or selectors.SelectSelector
        with kind() as selector:
            for sock in self._running:
                selector.register(sock, selectors.EVENT_WRITE)
            return [key.fileobj for key, _ in selector.select(wait)]

    def _take(self, sock: socket.socket) -> socket.socket:
        """The socket has won; what has been silent for longer is not worth as much."""
        won = self._running.pop(sock)
        sock.settimeout(self._deadline.for_socket(won.patience))
        for other in self._running.values():
            if other.since < won.since:
                self._failed(other.address, TimeoutError("timed out"))
        return sock

    def _drop(self, sock: socket.socket, error: OSError) -> None:
        running = self._running.pop(sock)
        sock.close()
        self._lose(running.address, error)

    def _lose(self, address: Any, error: OSError) -> None:
        self._error = error
        self._failed(address, error)

    def _refuse_late(self) -> None:
        """Raise if the deadline is over: the next call had better begin elsewhere."""
        if self._deadline.is_over():
            for running in self._running.values():
                self._failed(running.address, TimeoutError("timed out"))
            raise TimeoutError("the deadline was over before an address answered")


def _least(patience: float | None) -> float:
    return DELAY if patience is None else min(patience, DELAY)


def _has_something_to_read(sock: socket.socket) -> bool:
    """Whether the server has closed a connection on which nothing has happened yet, or says something."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _goes_on(error: OSError) -> bool:
    """Whether a connect has only not answered yet. The system's own time-out has a number."""
    return isinstance(error, TimeoutError) and error.errno is None
