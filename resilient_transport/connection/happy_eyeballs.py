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


def only_connects(kind: type) -> bool:
    """Whether the `connect` of this class of sockets may be cut short and gone on with.

    Not where a program has put another class in the place of `socket.socket`, as PySocks advises: that may
    be in the midst of a negotiation with a proxy.
    """
    return kind.__module__.partition(".")[0] in _PLAIN


#: Why a socket cannot be made now, and can be when another one is closed.
_LATER: Final = (errno.EMFILE, errno.ENFILE, errno.EADDRINUSE, errno.ENOBUFS, errno.ENOMEM)


class _Running(NamedTuple):
    """A connect that is under way."""

    address: Any
    #: When it was begun, and when its time is over, on the monotonic clock.
    since: float
    until: float


class Race:
    """A connect to one of several addresses, used once.

    Args:
        make: makes the socket for an address.
        patience: seconds that a connect to one address may take, and the time-out of its socket; None: for
            ever.
        deadline: when a socket has to be connected.
        failed: is told of each address that has failed, or has stayed silent while a later one was connected,
            and of the error.
    """

    #: Where the socket that was connected leads to.
    won: Any = None

    def __init__(
        self,
        make: Callable[[Address], socket.socket],
        patience: float | None,
        deadline: Deadline,
        failed: Callable[[Any, OSError], None],
    ) -> None:
        self._make = make
        self._patience = patience
        self._deadline = deadline
        self._failed = failed
        #: In the order of their beginning.
        self._running: dict[socket.socket, _Running] = {}
        #: When the next one is due.
        self._due = -inf
        #: Of the address that was begun last, of those that have failed; and when it was begun.
        self._error: OSError = OSError("getaddrinfo returns an empty list")
        self._error_of = -inf

    def finish(self, sock: socket.socket, address: Any) -> socket.socket | None:
        """Wait for a connect that was begun before.

        Args:
            sock: the socket, which does not block.
            address: where to.

        Returns:
            The socket; None: it has failed, or is silent, and takes part in the race.
        """
        self._enter(sock, address)
        if not self._ready(monotonic() + DELAY):
            return None
        if _met_by(sock) is not None or _has_something_to_read(sock):
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
            The socket, with its time-out, or what the deadline leaves of that.

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
        try:
            sock = self._make(address)
        except OSError as error:
            # It says nothing of the address.
            self._meet(error, monotonic())
            return None
        running, last = self._enter(sock, address[4]), last or not only_connects(type(sock))
        try:
            if not last or self._deadline.is_limited():
                sock.settimeout(self._deadline.for_socket(self._patience if last else _least(self._patience)))
            sock.connect(address[4])
        except OSError as error:
            if not last and _goes_on(error, sock.gettimeout(), running):
                sock.setblocking(False)
            else:
                self._drop(sock, error)
            return None
        if not last:
            return self._take(sock)
        # Most connects: it has its time-out, and no other is under way.
        del self._running[sock]
        self.won = address[4]
        return sock

    def _beside(self, ahead: deque[Address]) -> socket.socket | None:
        """Begin the next one, if that is due, and wait until the next is, or something happens."""
        if ahead and monotonic() >= self._due:
            self._due = monotonic() + DELAY
            self._begin(ahead)
        for sock in self._ready(self._due if ahead else inf):
            error = _met_by(sock)
            if error is None:
                return self._take(sock)
            self._drop(sock, error)
        now = monotonic()
        for sock in [sock for sock, running in self._running.items() if running.until <= now]:
            self._drop(sock, TimeoutError("timed out"))
        return None

    def _begin(self, ahead: deque[Address]) -> None:
        """Begin to connect to the next address, and do not wait."""
        address = ahead.popleft()
        try:
            sock = self._make(address)
        except OSError as error:
            self._meet(error, monotonic())
            if error.errno in _LATER:
                # Once another one is closed.
                ahead.appendleft(address)
                self._due = inf
            return
        self._enter(sock, address[4])
        sock.setblocking(False)
        try:
            number = sock.connect_ex(address[4])
        except OSError as error:
            # An audit hook's, for one.
            self._drop(sock, error)
        else:
            if number not in IN_PROGRESS:
                self._drop(sock, _numbered(number))

    def _enter(self, sock: socket.socket, address: Any) -> _Running:
        """Let a socket take part until it wins, fails, or is closed with the race."""
        now = monotonic()
        running = _Running(address, now, inf if self._patience is None else now + self._patience)
        self._running[sock] = running
        return running

    def _ready(self, until: float) -> list[Any]:
        """The sockets that are connected or have failed; waits for one, until a moment at the latest."""
        until = min(until, *(running.until for running in self._running.values()))
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
        sock.settimeout(self._deadline.for_socket(self._patience))
        for other in self._running.values():
            if other.since < won.since:
                self._failed(other.address, TimeoutError("timed out"))
        self.won = won.address
        return sock

    def _drop(self, sock: socket.socket, error: OSError) -> None:
        """A socket is out of the race, and the next address need not wait any longer."""
        running = self._running.pop(sock)
        sock.close()
        self._meet(error, running.since)
        self._failed(running.address, error)

    def _meet(self, error: OSError, begun: float) -> None:
        self._due = -inf
        if begun >= self._error_of:
            self._error, self._error_of = error, begun

    def _refuse_late(self) -> None:
        """Raise if the deadline is over: the next call had better begin elsewhere."""
        if self._deadline.is_over():
            for running in self._running.values():
                self._failed(running.address, TimeoutError("timed out"))
            raise TimeoutError("the deadline was over before an address answered")


def _least(patience: float | None) -> float:
    return DELAY if patience is None else min(patience, DELAY)


def _met_by(sock: socket.socket) -> OSError | None:
    """What a connect has failed with; None: it is connected."""
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if number:
        return _numbered(number)
    try:
        sock.getpeername()
    except OSError as missing:
        # It has never begun: what stands in for `connect`, or sees it, has raised a time-out.
        return TimeoutError("timed out") if missing.errno == errno.ENOTCONN else None
    return None


def _numbered(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _has_something_to_read(sock: socket.socket) -> bool:
    """Whether the server has closed a connection on which nothing has happened yet, or says something."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _goes_on(error: OSError, granted: float | None, running: _Running) -> bool:
    """Whether a connect has only not answered yet, in the time that it was granted.

    The system's own time-out has a number. One that comes sooner is a test double's, for example.
    """
    now = monotonic()
    waited = granted is not None and now - running.since >= granted / 2
    return isinstance(error, TimeoutError) and error.errno is None and waited and now < running.until
