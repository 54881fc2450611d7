"""How many handshakes may run at once, and when one is worth making: plain arithmetic, guarded by the gate.

Knows nothing of sockets, threads or clocks. Times are in seconds, as somebody else has measured them.
"""

from __future__ import annotations

from typing import Final

#: How many handshakes may run at once, at the most.
MAXIMUM: Final = 16
#: The weight of a new measurement in a mean, as in TCP's round-trip times (RFC 6298 section 2.3).
_WEIGHT: Final = 1 / 8
#: A longer hold than so many handshakes counts as so many: after one download nobody must think that
#: connections come back slowly, and beyond this everybody dials anyway.
_LONGEST_HOLD: Final = 8.0


class Window:
    """The window of one pool, and what it has learned of the path to its server.

    It is 1 while the pool is cold. The first proof that the server has accepted a connection opens it to
    `maximum`; each reset halves it, never under 1, and each success adds one. A connection that only seems to
    be accepted (the server is silent) opens nothing at first, and each further one adds one.
    """

    __slots__ = ("doubted", "handshake", "hold", "maximum", "proven", "size", "weak")

    def __init__(self, maximum: int = MAXIMUM) -> None:
        self.maximum = maximum
        self.size = 1
        #: Whether the server has accepted a connection.
        self.proven = False
        #: Whether the last one was reset.
        self.doubted = False
        #: How many were made without proof, before the first proof.
        self.weak = 0
        #: The mean of how long making one takes; None before the first.
        self.handshake: float | None = None
        #: The mean of how long a caller keeps one; None before the first has come back.
        self.hold: float | None = None

    def allow(self, maximum: int) -> None:
        """Never be larger than this, from now on; one that was as large as it could be stays so."""
        full = self.size == self.maximum and self.proven
        self.maximum = maximum
        self.size = maximum if full else min(self.size, maximum)

    def succeeded(self, seconds: float, proof: bool = True) -> None:
        """One was made in so many seconds, with proof that the server has accepted it or without."""
        self.handshake = _mean(self.handshake, seconds)
        self.doubted = False
        if proof and not self.proven:
            self.proved()
        elif self.proven:
            self.size = min(self.maximum, self.size + 1)
        else:
            # The first leaves it at one at a time.
            self.size = min(self.maximum, self.size + (self.weak > 0))
            self.weak += 1

    def proved(self) -> None:
        """The server has accepted a connection: the first time, the window opens."""
        if not self.proven:
            self.proven = True
            self.size = self.maximum

    def failed(self) -> None:
        """One was reset: halve the window."""
        self.size = max(1, self.size // 2)
        self.doubted = True

    def held(self, seconds: float) -> None:
        """A caller has given one back after so many seconds."""
        most = _LONGEST_HOLD * self.handshake if self.handshake else seconds
        self.hold = _mean(self.hold, min(seconds, most))

    def has_room(self, making: int, stalled: int) -> bool:
        """Whether one more may be made beside these; those that have stalled hold up nobody."""
        return making - stalled < self.size and (making < self.maximum or not stalled)

    def is_worth(self, ahead: int, made: int) -> bool:
        """Whether making one would serve a caller sooner than waiting for one of those that are in use.

        Args:
            ahead: the callers that wait, oneself included.
            made: the connections that are open.
        """
        if not made or self.handshake is None:
            return True
        # A short call takes a round trip; TCP and TLS take at least two.
        hold = self.handshake / 2 if self.hold is None else self.hold
        return ahead * hold / made >= self.handshake


def _mean(mean: float | None, sample: float) -> float:
    return sample if mean is None else mean + _WEIGHT * (sample - mean)
