"""May it be sent again?  TABLE is the whole answer; nothing else in the package decides it.

The rules:

1. The wire records how far an attempt got (its `Stage`) while it happens.  The row is chosen by
   that record, never by the type of the exception: a reset while the body is being sent and a close
   after all of it was sent arrive as the same `ConnectionError(ProtocolError(RemoteDisconnected))`.
2. The column is chosen by the request: its method (RFC 9110 section 9.2.2; QUERY by RFC 10008) and
   whether the caller opted in.
3. Before the first byte of the request has left, repeating is safe for every method.
4. What never heals (a bad certificate, a bad URL) is not repeated, whatever the method.
5. A request body that was touched and cannot be rewound is never sent again: it would be sent empty.

The table in docs/behaviour.md is this one; a test compares them.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from typing import Final

from ..util.frozen import dataclass
from .causes import LASTING, Cause

#: RFC 9110 section 9.2.2, and QUERY by RFC 10008.
IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE", "QUERY"})


class Stage(str, Enum):
    """How far an attempt got, in the order in which the stages are passed."""

    #: Waiting for a connection of the pool, or for leave to open one.
    QUEUE = "queue"
    #: The addresses of the host's name.
    RESOLVE = "resolve"
    #: The TCP connection.
    CONNECT = "connect"
    #: The proxy: TLS with it, and its answer to CONNECT.
    TUNNEL = "tunnel"
    #: TLS with the server.
    HANDSHAKE = "handshake"
    #: The server's first flight after a TLS 1.3 handshake, in which it refuses a certificate.
    CONFIRM = "confirm"
    #: From the first byte of the request sent to the last byte of the response's head.
    REQUEST = "request"
    #: The body of the response, after its head.
    BODY = "body"
    #: A whole response came, and its status says that a repetition may help.
    STATUS = "status"
    #: A whole response that is handed to the caller.
    DONE = "done"

    __str__ = str.__str__

    @property
    def rank(self) -> int:
        """The stage's place in the order above, from 0."""
        return _RANKS[self]


_RANKS: Final = {stage: rank for rank, stage in enumerate(Stage)}
#: The first and the last stage of a handshake with the server.
_IN_HANDSHAKE: Final = (_RANKS[Stage.HANDSHAKE], _RANKS[Stage.CONFIRM])


class Situation(str, Enum):
    """A row of the table."""

    EARLY = "queue, resolve, connect, tunnel, handshake, confirm"
    FATAL = "what never heals: certificates, no TLS in common, a proxy's refusal, bad URL, header, answer"
    REQUEST = "request (first byte sent to response head received)"
    REUSED = "the same on a reused connection"
    STATUS = "status 408 429 502 503 504"
    MISDIRECTED = "status 421 (misdirected)"
    BODY = "body"
    SPENT = "request body touched and not rewindable"


class Column(Enum):
    """A column of the table."""

    IDEMPOTENT = 0
    UNSAFE = 1
    OPTED_IN = 2


class Verdict(str, Enum):
    """A cell of the table."""

    YES = "yes"
    NO = "no"
    #: The first time without backoff: the server closed an idle connection under us.
    AT_ONCE = "yes, at once"
    #: What is missing is asked for where the response allows that, else all of it again.
    RESUME = "yes, resumed if it can be"
    #: One repetition, on a new connection.
    ONCE = "once, on a new connection"


_Y, _N, _A, _R, _1 = Verdict.YES, Verdict.NO, Verdict.AT_ONCE, Verdict.RESUME, Verdict.ONCE

#: Columns: idempotent methods; the others; the others when the caller opted in.
TABLE: Final[dict[Situation, tuple[Verdict, Verdict, Verdict]]] = {
    Situation.EARLY: (_Y, _Y, _Y),
    Situation.FATAL: (_N, _N, _N),
    Situation.REQUEST: (_Y, _N, _Y),
    Situation.REUSED: (_A, _N, _A),
    Situation.STATUS: (_Y, _N, _Y),
    Situation.MISDIRECTED: (_1, _1, _1),
    Situation.BODY: (_R, _N, _Y),
    Situation.SPENT: (_N, _N, _N),
}


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, as the wire recorded it."""

    #: Where it failed.
    stage: Stage
    #: Why it failed.
    cause: Cause
    #: Whether its connection had carried a request before.
    reused: bool = False
    #: Whether a request body that cannot be rewound was touched.
    spent: bool = False
    #: The response's status, for the stage `STATUS`.
    status: int | None = None
    #: What the response's Retry-After asks for, in seconds.
    retry_after: float | None = None
    #: Whether it was another caller's, whom this one had waited for.
    borrowed: bool = False
    #: Whether the pool pauses before it connects again, so that the caller need not.
    paced: bool = False
    #: Whether the server had accepted no connection yet.
    cold: bool = False

    @property
    def was_reset_in_handshake(self) -> bool:
        """Whether the server was reached, and has reset or closed the connection before the request."""
        return self.cause is Cause.RESET and _IN_HANDSHAKE[0] <= self.stage.rank <= _IN_HANDSHAKE[1]

    @property
    def wants_new_connection(self) -> bool:
        """Whether the repetition takes no idle connection.

        There are two cases: the connection led to the wrong server; or it fell silent, after it had been idle
        or in the middle of a body. Then idle ones may be as dead.
        """
        fell_silent = self.cause is Cause.TIMEOUT and (self.reused or self.stage is Stage.BODY)
        return fell_silent or self.cause is Cause.MISDIRECTED

    @property
    def situation(self) -> Situation:
        """The row of the table that this failure belongs to."""
        if self.cause in LASTING:
            return Situation.FATAL
        if self.spent:
            return Situation.SPENT
        if self.stage is Stage.STATUS:
            return Situation.MISDIRECTED if self.cause is Cause.MISDIRECTED else Situation.STATUS
        if self.stage is Stage.REQUEST:
            return Situation.REUSED if self.reused else Situation.REQUEST
        return Situation.BODY if self.stage is Stage.BODY else Situation.EARLY


def column(method: str, allowed: Collection[str] | None, opted_in: bool) -> Column:
    """Choose the column: `allowed` are the methods that may be repeated (None: every one)."""
    method = method.upper()
    listed = allowed is None or method in allowed
    if listed and method in IDEMPOTENT:
        return Column.IDEMPOTENT
    return Column.OPTED_IN if listed or opted_in else Column.UNSAFE
