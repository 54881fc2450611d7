"""One call, as gates and connections know it, from attempt to attempt."""

from __future__ import annotations

from collections.abc import Callable


class Caller:
    """What goes with a call from attempt to attempt.

    Args:
        shares: whether the call takes part in a cold start: the pool's pauses do for it, and a failure of the
            one that connects is its own. Not so if it may not be repeated, or makes pauses of its own.
    """

    __slots__ = ("chokes", "gate", "joined", "round", "shares", "silent", "suspect")

    def __init__(self, shares: Callable[[], bool]) -> None:
        self.shares = shares
        #: The gate at whose cold start it takes part; the round that it joined; the last one that it was
        #: charged with. Set by the gate.
        self.gate: object = None
        self.joined = 0
        self.round = 0
        #: How many of its handshakes have failed that offered a TLS session. Set by the trace.
        self.chokes = 0
        #: For how many seconds a connection was idle on which the call's last request met its end. Set by the
        #: connection.
        self.suspect: float | None = None
        #: Connections idle since before this moment may be as dead as the one that has been silent, as long
        #: as nobody knows whether that was the connection or the page. Set by the connection.
        self.silent: float | None = None
