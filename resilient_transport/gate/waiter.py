"""Those who wait at a gate, and what they are told.

Knows nothing of sockets, TLS or urllib3.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final, Generic, TypeVar

from .permit import Permit

#: How long a failure holds for calls that begin after it, in seconds: calls that a program starts at once may
#: begin one after the other, and nobody replaces a certificate, or starts a server, as fast.
HOLDS: Final = 0.05

#: A handshake that takes longer holds nobody else up, in seconds: TCP's first retransmission time-out
#: (RFC 6298 section 2.1).
STALLED: Final = 1.0
#: Seconds between two looks of who waits at what nobody has announced: lost permits, stalled handshakes.
LOOK_EVERY: Final = 1.0

T = TypeVar("T")
Suits = Callable[[T], bool]


@dataclass(frozen=True, slots=True)
class Told:
    """What a waiter gets when another caller's failure is its own, too."""

    failure: Any


class Charges:
    """Which failures one call was charged with; it goes with the call from attempt to attempt.

    Args:
        shares: whether the call may be repeated at all. If not, it has its one attempt, and is not charged
            with others' failures.
        paced: whether the pool's pauses do for the call; if not, it makes pauses of its own.
    """

    __slots__ = ("__weakref__", "chokes", "epoch", "gate", "over", "paced", "shares", "suspect", "times")

    def __init__(self, shares: Callable[[], bool], paced: Callable[[], bool]) -> None:
        self.shares = shares
        self.paced = paced
        #: The gate that it was at last, and the number of the failure there that it has heard of.
        self.gate: object = None
        self.epoch = 0
        #: How many failures at that gate it was charged with, its own included.
        self.times = 0
        #: How many of its handshakes have failed that offered a TLS session. Set by the trace.
        self.chokes = 0
        #: For how many seconds a connection was idle on which the call's last request met its end. Set by it.
        self.suspect: float | None = None
        #: Whether the call is over. Set by the call: nobody waits for it any more.
        self.over = False

    def come_to(self, gate: object, epoch: int) -> None:
        """Come to a gate; the first time it has heard of so many failures there."""
        if self.gate is not gate:
            self.gate, self.epoch, self.times = gate, epoch, 0

    def charge(self) -> None:
        """Count one failure."""
        self.epoch += 1
        self.times += 1


def sharing(charges: Charges | None) -> Charges | None:
    """The charges of a call that shares others' failures; None: it does not."""
    return charges if charges is None or charges.shares() else None


class News:
    """What a cold pool tells those who come to it."""

    def __init__(self) -> None:
        #: The number of failures so far that all share.
        self.epoch = 0
        #: When the latest of them were.
        self._moments: deque[float] = deque(maxlen=32)
        #: Who was told, or has failed itself, and has not come back yet.
        self._away: weakref.WeakSet[Charges] = weakref.WeakSet()
        self._last: Any = None
        self._fatal: Any = None
        self._until = -math.inf
        self._met_by = 0

    def charge(self, charges: Charges) -> None:
        """A call has met one failure, or hears of it."""
        charges.charge()
        self._away.add(charges)

    def failed(self, failure: Any, gate: object, charges: Charges | None, now: float) -> None:
        """A connection could not be made, by a call that may be repeated or not; another one may be."""
        if charges is not None:
            # What others have failed at meanwhile, beside it, it hears when it comes back.
            charges.come_to(gate, self.epoch)
            self.charge(charges)
        self.epoch += 1
        self._moments.append(now)
        self._last = failure

    def refused(self, failure: Any, now: float) -> None:
        """A connection was refused for a reason that lasts."""
        self._fatal, self._until, self._met_by = failure, now + HOLDS, get_ident()

    def forget(self) -> None:
        """Nothing is to be told any more."""
        self._last = self._fatal = None
        self._until = -math.inf
        self._moments.clear()

    def of(self, gate: object, charges: Charges | None, began: float | None) -> Told | None:
        """What a caller has to hear: a refusal of a moment ago, or a failure that it has missed."""
        # Who has met it itself, and calls again, may have changed something.
        if began is not None and began < self._until and get_ident() != self._met_by:
            return Told(self._fatal)
        if charges is None:
            return None
        self._away.discard(charges)
        missed = 0 if began is None else sum(began < moment + HOLDS for moment in self._moments)
        charges.come_to(gate, self.epoch - missed)
        if charges.epoch >= self.epoch or self._last is None:
            charges.epoch = self.epoch
            return None
        self.charge(charges)
        return Told(self._last)

    def is_for_nobody_but(self, charges: Charges | None) -> bool:
        """Whether a call is new here, and nobody will come back that shares failures and pauses."""
        is_new = charges is None or not charges.times
        return is_new and all(other.over for other in list(self._away))


class Waiter(Generic[T]):
    """A place in the queue; `wait` returns what the gate granted, or None when time ran out."""

    __slots__ = ("_event", "charges", "eager", "granted", "since", "suits")

    def __init__(self, suits: Suits[T], charges: Charges | None, eager: bool, since: float) -> None:
        self.suits = suits
        self.charges = charges
        #: Whether any free permit will do. Set by the gate after a mean handshake of waiting.
        self.eager = eager
        #: When it came, on the gate's clock; or when waiting first meant waiting for what others use.
        self.since = since
        #: Set by the gate, once, under its lock; read by the waiter.
        self.granted: T | Permit | Told | None = None
        self._event = threading.Event()

    def is_held(self) -> bool:
        """Whether the pool's pauses hold it back."""
        return self.charges is not None and self.charges.paced()

    def grant(self, what: T | Permit | Told) -> None:
        """Called by the gate: here is what was waited for."""
        self.granted = what
        self._event.set()

    def stir(self, now: float) -> None:
        """Called by the gate: from now on it matters how long a handshake takes."""
        self.since = now
        self._event.set()

    def wait(self, timeout: float | None) -> T | Permit | Told | None:
        """Wait at most `timeout` seconds (None: for ever), or until something has changed."""
        if self.granted is None:
            self._event.wait(timeout)
            self._event.clear()
        return self.granted
