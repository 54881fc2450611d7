"""TLS sessions of one shared pool: kept to be resumed, offered to nobody else.

A resumed handshake skips the checks of certificate and host name. So a session gets here only after every
check has passed, and it is kept with the server's name. A shared pool has one context, one origin, one proxy.
"""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from ..gate.permit import Permit
from ..retry.stages import Stage
from ..util.clock import monotonic
from ..util.here import Here
from .trace import Trace

#: How many unused sessions are kept, at the most.
MOST: Final = 16
#: With so many unused ones no connection is asked for its own: `ssl` makes a copy, which takes a third of
#: what a resumed handshake saves, and most are never offered.
ENOUGH: Final = 2
#: After so many failures in a row nothing is offered for so many seconds.
_CHOKES: Final = 2
SILENCE: Final = 60.0


class TLSSessions:
    """The sessions of a shared pool: unused ones first (RFC 8446 appendix C.4), else the last once more.

    Takes no lock: each step is one operation of a deque, or sets one attribute.
    """

    def __init__(self) -> None:
        self._unused: deque[tuple[str, ssl.SSLSession]] = deque(maxlen=MOST)
        self._last: tuple[str, ssl.SSLSession] | None = None
        #: How many handshakes in a row have failed that offered one, with no other beside them.
        self._chokes = 0
        #: Nothing is offered before this moment of the monotonic clock.
        self._silent_until = 0.0

    def choked(self) -> None:
        """A handshake that offered one has failed; if that goes on, none is offered for a while."""
        self._chokes += 1
        if self._chokes >= _CHOKES:
            self.clear()
            self._silent_until = monotonic() + SILENCE

    def worked(self) -> None:
        """A handshake has succeeded."""
        self._chokes = 0

    def has_enough(self) -> bool:
        """Whether there are unused ones for the next handshakes."""
        return len(self._unused) >= ENOUGH

    def put(self, server_name: str, session: ssl.SSLSession) -> None:
        """Keep a session of a connection that has passed every check."""
        self._unused.append((server_name, session))

    def take(self, server_name: str) -> ssl.SSLSession | None:
        """A session to offer to this server, the newest first; None when there is none."""
        last = self._last
        with suppress(IndexError):
            last = self._last = self._unused.pop()
        if last is None or last[0] != server_name or monotonic() < self._silent_until:
            return None
        return last[1]

    def drop(self, session: ssl.SSLSession) -> None:
        """Forget a session that the server has refused."""
        last = self._last
        if last is not None and last[1] is session:
            self._last = None

    def clear(self) -> None:
        """Forget all."""
        self._unused.clear()
        self._last = None

    def __len__(self) -> int:
        return len(self._unused) + (self._last is not None)


class Offer:
    """What one handshake may resume, and what it did resume."""

    __slots__ = ("_permit", "offered", "sessions", "trace")

    def __init__(self, sessions: TLSSessions, trace: Trace, permit: Permit | None = None) -> None:
        self._permit = permit
        self.sessions = sessions
        self.trace = trace
        #: Set by the context, when it has offered one.
        self.offered: ssl.SSLSession | None = None

    def take(self, server_name: Any) -> ssl.SSLSession | None:
        """The session to offer to a server of this name; a proxy on the way to it gets none."""
        if isinstance(server_name, str) and self.trace.stage is Stage.HANDSHAKE:
            self.offered = self.sessions.take(server_name)
        return self.offered

    def failed(self) -> None:
        """The handshake has failed; with others beside it, that may have been their fault."""
        if self.offered is not None:
            self.trace.choked()
            if self._permit is not None and self._permit.is_alone():
                self.sessions.choked()


#: What the handshake that runs in this thread may resume. Set by the connection, read by the context.
_OFFER: Final[Here[Offer]] = Here()


@contextmanager
def offering(offer: Offer) -> Iterator[Offer]:
    """Let the context resume what is offered, in the block; a failure there is told to the trace."""
    outside, _OFFER.value = _OFFER.value, offer
    try:
        yield offer
    except Exception:
        offer.failed()
        raise
    finally:
        _OFFER.value = outside


def offered(server_name: Any) -> ssl.SSLSession | None:
    """What the handshake that begins now may resume."""
    offer = _OFFER.value
    return None if offer is None else offer.take(server_name)


def resumable(sock: Any) -> ssl.SSLSession | None:
    """The session of a TLS socket if a server can resume it."""
    session = sock.session if isinstance(sock, ssl.SSLSocket) else None
    if session is None:
        return None
    by_id = sock.version() != "TLSv1.3" and bool(session.id)
    return session if session.has_ticket or by_id else None
