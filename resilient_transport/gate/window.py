"""How many handshakes may run at once: plain arithmetic, guarded by the gate.

Knows nothing of sockets, threads or clocks.
"""

from __future__ import annotations

from typing import Final

#: How many handshakes may run at once, at the most.
MAXIMUM: Final = 16
#: How many more may run while the first one, but for the server's proof, is done, where that is far away: so
#: many, or one in so many of those that wait. If the proof is a refusal, they have shaken hands for nothing.
AHEAD: Final = 4


def ahead_of(waiting: int) -> int:
    """How many of those that wait may shake hands before the server's first proof."""
    return max(AHEAD, waiting // AHEAD)


#: How many may have stalled beside these, at the most.
MOST_STALLED: Final = 64


class Window:
    """The window of one pool.

    It is 1 while the pool is cold. The first proof that the server has accepted a connection opens it to
    `maximum`; each reset halves it, never under 1, and each success adds one. A connection that only seems to
    be accepted (the server is silent) opens nothing at first, and each further one adds one.
    """

    __slots__ = ("doubted", "maximum", "proven", "seems_accepted", "size")

    def __init__(self, maximum: int = MAXIMUM) -> None:
        self.maximum = maximum
        self.size = 1
        #: Whether the server has accepted a connection.
        self.proven = False
        #: Whether the last one was reset.
        self.doubted = False
        #: Whether one was made without proof.
        self.seems_accepted = False

    def allow(self, maximum: int) -> None:
        """Never be larger than this, from now on; one that was as large as it could be stays so."""
        full = self.size == self.maximum and self.proven
        self.maximum = maximum
        self.size = maximum if full else min(self.size, maximum)

    def succeeded(self, proof: bool = True) -> None:
        """One was made, with proof that the server has accepted it or without."""
        self.doubted = False
        if proof and not self.proven:
            self.proved()
        elif self.proven or self.seems_accepted:
            self.size = min(self.maximum, self.size + 1)
        else:
            self.seems_accepted = True

    def proved(self) -> None:
        """The server has accepted a connection: the first time, the window opens."""
        if not self.proven:
            self.proven = True
            self.size = self.maximum

    def failed(self) -> None:
        """One was reset: halve the window."""
        self.size = max(1, self.size // 2)
        self.doubted = True

    def has_room(self, making: int, stalled: int, ahead: int = 0) -> bool:
        """Whether one more may be made.

        Args:
            making: how many are being made.
            stalled: how many of these have stalled; they have a bound of their own.
            ahead: how many more than the window one of them lets in. That is for a server of which nothing is
                known: it has neither accepted a connection nor reset one.
        """
        is_new = not self.proven and not self.doubted
        size = min(self.maximum, self.size + ahead) if is_new else self.size
        return making - stalled < size and stalled < MOST_STALLED
