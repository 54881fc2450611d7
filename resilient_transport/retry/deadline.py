"""One object for the time that a call has left.  Nothing else works that out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from ..util.clock import monotonic

#: Seconds that a socket waits at the least.
_LEAST: Final = 0.001


class Deadline:
    """A moment on the monotonic clock after which a call has no time left.

    Args:
        seconds: how long from now; None: for ever.
        clock: the monotonic clock, in seconds.
    """

    __slots__ = ("_clock", "expires", "started")

    def __init__(self, seconds: float | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        #: When the call began.
        self.started = clock()
        #: When it has to end; infinite when nobody asked for a limit.
        self.expires = math.inf if seconds is None else self.started + seconds

    def until(self, moment: float | None) -> Deadline:
        """Bring the deadline forward to a moment of the same clock; return itself."""
        if moment is not None and moment < self.expires:
            self.expires = moment
        return self

    def within(self, seconds: float | None) -> Deadline:
        """A deadline of so many seconds from now, or this one if that is no later (None: this one)."""
        return self if seconds is None else Deadline(seconds, self._clock).until(self.expires)

    def sooner(self, moment: float | None) -> Deadline:
        """This one, or another that ends at an earlier moment of the same clock."""
        if moment is None or moment >= self.expires:
            return self
        other = Deadline(None, self._clock)
        other.started, other.expires = self.started, moment
        return other

    def put_off_to(self, other: Deadline) -> None:
        """Last from now on as long as another one; who holds this one need not be told."""
        self.expires = other.expires

    def spent(self) -> float:
        """Seconds since the call began."""
        return self._clock() - self.started

    def left(self) -> float:
        """Seconds left; 0 when it is over, infinite when there is no limit."""
        if self.expires == math.inf:
            return math.inf
        return max(0.0, self.expires - self._clock())

    def allowed(self) -> float:
        """Seconds from the start of the call to its end."""
        return self.expires - self.started

    def is_limited(self) -> bool:
        """Whether anybody asked for a limit."""
        return self.expires != math.inf

    def is_over(self) -> bool:
        """Whether there is no time left."""
        return self.expires != math.inf and self._clock() >= self.expires

    def for_socket(self, timeout: float | None) -> float | None:
        """The same as `bound` for a socket, to which 0 means not to wait at all; urllib3 refuses that."""
        within = self.bound(timeout)
        return within if within is None or not self.is_limited() else max(within, _LEAST)

    def bound(self, timeout: float | None) -> float | None:
        """The smaller of a time-out (None: no limit) and what is left, in seconds."""
        left = self.left()
        if left == math.inf:
            return timeout
        return left if timeout is None else min(timeout, left)

    def __repr__(self) -> str:
        return f"<Deadline {self.left():.3f} s left>"
