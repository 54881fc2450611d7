"""A stream in which no read waits longer than the deadline of its call allows.

A time-out of a socket holds for each operation: a server that sends a byte now and then could go on for ever.
So each operation gets the smaller of the caller's time-out and what is left. A stream is read in a block of
`override`, maybe, that its call knew nothing of: what is left of that counts, too.

Leans on `_sock` of `socket.SocketIO`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

import socket
from typing import Any

from ..retry.deadline import Deadline
from ..settings.override import overrides
from .trace import CURRENT


class Timed(socket.SocketIO):
    """A socket's raw stream that hurries, if there is a deadline."""

    _sock: Any
    #: When the reading has to be over; None: whenever it is.
    deadline: Deadline | None = None
    #: What the caller lets pass between two bytes, in seconds; None: for ever.
    patience: float | None = None

    def readinto(self, buffer: Any) -> int | None:
        """Read what has come, within what is left.

        Raises:
            TimeoutError: nothing came within the caller's time-out, or the deadline is over.
        """
        self.hurry()
        return super().readinto(buffer)

    def hurry(self) -> None:
        """Let the next operation wait no longer than it may."""
        sock, ends = self._sock, overrides().expires
        if sock is None or (self.deadline is None and ends is None):
            return
        if self.deadline is None:
            patience = timeout_of(sock)
            if patience == 0:
                # Nothing waits.
                return
            # What holds again when the block has ended.
            self.deadline, self.patience = Deadline(), patience
        arm(sock, self.deadline.sooner(ends), self.patience)


def arm(sock: Any, deadline: Deadline, patience: float | None) -> None:
    """Let the next operation of a socket wait as long as the caller grants, and the deadline leaves.

    Raises:
        TimeoutError: the deadline is over.
    """
    if deadline.is_over():
        raise TimeoutError("the deadline is over")
    sock.settimeout(deadline.for_socket(patience))


def timeout_of(sock: Any) -> float | None:
    """The time-out of a socket. urllib3's pyOpenSSL leaves that to the socket beneath."""
    timeout: float | None = (sock if hasattr(sock, "gettimeout") else sock.socket).gettimeout()
    return timeout


def set_timeout(sock: Any, seconds: float | None) -> None:
    """Set the time-out of a socket, if it has another one: a system call is saved."""
    if not hasattr(sock, "gettimeout") or sock.gettimeout() != seconds:
        sock.settimeout(seconds)


def _limited() -> Any:
    """The trace of the attempt that runs here, if that has a deadline."""
    trace = CURRENT.value
    return trace if trace is not None and trace.is_limited() else None


def rearm(sock: Any) -> None:
    """The same for a socket that has its time-out already, by the deadline of the attempt that runs here."""
    trace = _limited()
    if trace is None or sock is None:
        return
    patience = timeout_of(sock)
    if patience != 0:
        arm(sock, trace.deadline, patience)


def hasten(file: Any, seconds: float) -> None:
    """Let all further reading of a response's file be over within so many seconds."""
    raw = _stream_under(getattr(file, "file", file))
    if raw is not None and raw._sock is not None:
        raw.patience = timeout_of(raw._sock)
        raw.deadline = Deadline(seconds) if raw.deadline is None else raw.deadline.within(seconds)


def hurriable(response: Any) -> None:
    """Let urllib3's response hurry where it is read in a block of `override` of its own."""
    file = getattr(getattr(response, "_original_response", None), "fp", None)
    _stream_under(getattr(file, "file", file))


def timed(file: Any) -> None:
    """Let a response's file hurry, if the attempt that runs here has a deadline."""
    trace = _limited()
    raw = None if trace is None else _stream_under(file)
    if raw is not None:
        raw.deadline, raw.patience = trace.deadline, trace.between_bytes(timeout_of(raw._sock))


def _stream_under(file: Any) -> Timed | None:
    """The raw stream of a file, which can hurry from now on; None: it is not one of a socket."""
    raw: Any = getattr(file, "raw", None)
    if type(raw) is socket.SocketIO:
        raw.__class__ = Timed
    return raw if isinstance(raw, Timed) else None
