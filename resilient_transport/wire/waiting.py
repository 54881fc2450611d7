"""Those who wait at a gate, and what they are told.

Knows nothing of sockets, TLS or urllib3.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from .permit import Permit

#: How long a refusal holds for calls that begin after it, in seconds: nobody replaces a certificate as fast,
#: and calls that a program starts at once may begin one after the other.
REFUSAL_LASTS: Final = 0.05

T = TypeVar("T")
Suits = Callable[[T], bool]


@dataclass(frozen=True, slots=True)
class Told:
    """What a waiter gets when another caller's failure is its own, too."""

    failure: Any


class Charges:
    """Which failures of others one call was charged with; it goes with the call from attempt to attempt.

    Args:
        shares: whether the call may be repeated at all. If not, it has its one attempt, and is not charged.
    """

    __slots__ = ("__weakref__", "chokes", "epoch", "gate", "shares", "times")

    def __init__(self, shares: Callable[[], bool]) -> None:
        self.shares = shares
        #: The gate that it was at last, and the number of the failure there that it has heard of.
        self.gate: object = None
        self.epoch = 0
        #: How often it was charged, or failed itself, at that gate.
        self.times = 0
        #: How many of its handshakes have failed that offered a TLS session. Set by the trail.
        self.chokes = 0

    def come_to(self, gate: object, epoch: int) -> bool:
        """Whether it has missed a failure at this gate since it was here last."""
        if self.gate is not gate:
            self.gate, self.epoch, self.times = gate, epoch, 0
        return self.epoch < epoch

    def charge(self) -> None:
        """Count one failure of somebody else."""
        self.epoch += 1
        self.times += 1

    def own(self, gate: object, epoch: int, shared: bool) -> None:
        """The call has failed by itself; that counts here only if others were told."""
        # What others have failed at meanwhile, beside it, it hears when it comes back.
        self.gate, self.epoch = gate, self.epoch + 1 if self.gate is gate else epoch
        self.times += shared


class News:
    """What a cold pool tells those who come to it."""

    __slots__ = ("_fatal", "_last", "_until", "away", "epoch")

    def __init__(self) -> None:
        #: The number of failures so far that all share.
        self.epoch = 0
        #: Who was told, and has not come back yet. Weak: a call that has given up does not.
        self.away: weakref.WeakSet[Charges] = weakref.WeakSet()
        self._last: Any = None
        self._fatal: Any = None
        self._until = -math.inf

    def tell(self, charges: Charges) -> None:
        """A call hears of one failure."""
        charges.charge()
        self.away.add(charges)

    def failed(self, failure: Any) -> None:
        """A connection could not be made; another one may be."""
        self.epoch += 1
        self._last = failure

    def refused(self, failure: Any, now: float) -> None:
        """A connection was refused for a reason that lasts."""
        self._fatal, self._until = failure, now + REFUSAL_LASTS

    def forget(self) -> None:
        """Nothing is to be told any more."""
        self._last = self._fatal = None
        self._until = -math.inf

    def of(self, gate: object, charges: Charges | None, began: float | None) -> Told | None:
        """What a caller has to hear: a refusal of a moment ago, or a failure that it has missed."""
        if charges is not None:
            self.away.discard(charges)
        if began is not None and began < self._until:
            return Told(self._fatal)
        if charges is not None and charges.come_to(gate, self.epoch):
            self.tell(charges)
            return Told(self._last)
        return None


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
