"""What a process knows of an origin's quota and circuits in a store, so that it need not ask each time."""

from __future__ import annotations

from typing import Final, NamedTuple

from ..retry.breaker import Breaker
from ..util.bounded_dict import BoundedDict

#: How many circuits of an origin are known at the most: one for each different `Breaker`.
_CIRCUITS: Final = 16


class Look(NamedTuple):
    """A circuit as it was seen last."""

    #: When the store was asked, and until when this is gone by, on the monotonic clock.
    asked_at: float
    holds_until: float
    #: Its epoch, and how many attempts have failed in a row.
    epoch: int
    failures: int
    #: From when on a probe may be made; None: it is closed.
    probed_at: float | None


class KnownCircuit:
    """A circuit. Each of its fields is a value that others put another in the place of."""

    __slots__ = ("alone", "look", "used_at")

    def __init__(self) -> None:
        #: None: nobody has looked yet.
        self.look: Look | None = None
        #: When the latest attempts of this process have failed in a row.
        self.alone: tuple[float, ...] = ()
        #: When it was used, among others that are remembered.
        self.used_at = 0.0

    def is_needed(self) -> bool:
        """It may be forgotten: who asks again learns it again."""
        return False


class KnownOrigin:
    """An origin. Its numbers change under the lock of `util/atomic.py`."""

    __slots__ = ("circuits", "given_at", "is_low", "pending", "used_at")

    def __init__(self) -> None:
        #: Whether tokens of its quota were missing when it was seen last.
        self.is_low = False
        #: Tokens that are to be given back, and when some were given back last.
        self.pending = 0
        self.given_at = 0.0
        self.circuits: BoundedDict[Breaker, KnownCircuit] = BoundedDict(lambda _: KnownCircuit(), _CIRCUITS)
        #: When it was used, among others that are remembered.
        self.used_at = 0.0

    def is_needed(self) -> bool:
        """It may be forgotten: who asks again learns it again."""
        return False
