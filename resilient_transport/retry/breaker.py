"""A circuit breaker: an origin that fails again and again is left alone for a while.

There are three states. Closed: attempts are made; so many failures in a row, within a window, open it. Open:
none is made until it has cooled down. Half-open: one attempt is made, the probe, and all others are refused;
if it succeeds the circuit closes, if it fails it is open anew.

Knows nothing of sockets. Off unless a policy has a `Breaker`.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from ..util.bounded_dict import Remembered


@dataclass(frozen=True, slots=True)
class Breaker:
    """When an origin is left alone, and for how long: `RetryPolicy(breaker=Breaker())`.

    What counts is an attempt: one that failed on the wire, or whose response has a status that is retried or
    is 500 or more, is a failure; any other response is a success, once its head is there or, if it is not
    streamed, its body, and clears the count. A wait for a place in the pool counts as nothing. All adapters
    of the process whose policies have an equal breaker share the state of an origin.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of its range.
    """

    #: So many failures in a row open the circuit,
    failures: int = 5
    #: if they came within so many seconds.
    window: float = 10.0
    #: Seconds for which it stays open before a single probe is made.
    cool_down: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.failures, bool) or not isinstance(self.failures, int):
            raise TypeError(f"failures is a number of attempts, not {self.failures!r}")
        if self.failures < 1:
            raise ValueError(f"failures is 1 or more, not {self.failures!r}")
        for name in ("window", "cool_down"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} is a number of seconds, not {value!r}")
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is a finite number of seconds over 0, not {value!r}")


class Circuit:
    """The state of one origin.

    Args:
        breaker: when it opens.
        clock: the monotonic clock, in seconds.
    """

    def __init__(self, breaker: Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self.breaker = breaker
        self._clock = clock
        self._lock = threading.Lock()
        #: When the latest failures in a row were.
        self._failed: deque[float] = deque(maxlen=breaker.failures)
        #: Until when nothing is tried; None: it is closed.
        self._open_until: float | None = None
        #: Whether a probe is under way. Whoever makes it gives its leave back, however it ends.
        self._is_probing = False
        #: Raised whenever it opens or closes: what began before has no say in what comes after.
        self._epoch = 0

    def enter(self) -> int | None:
        """Ask leave for an attempt.

        Returns:
            What to hand to `failed` or `succeeded` when it is over; None: it may not be made.
        """
        with self._lock:
            if self._open_until is None:
                return self._epoch
            if self._clock() < self._open_until or self._is_probing:
                return None
            self._is_probing = True
            self._epoch += 1
            return self._epoch

    def failed(self, epoch: int | None) -> bool:
        """An attempt has failed; whether that has opened the circuit."""
        with self._lock:
            if epoch != self._epoch:
                return False
            now = self._clock()
            self._failed.append(now)
            in_a_row = len(self._failed) == self.breaker.failures
            recent = now - self._failed[0] <= self.breaker.window
            if not self._is_probing and not (in_a_row and recent):
                return False
            self._set(now + self.breaker.cool_down)
            return True

    def succeeded(self, epoch: int | None) -> bool:
        """An attempt has succeeded; whether that has closed the circuit."""
        if not self._failed and self._open_until is None:
            return False
        with self._lock:
            if epoch != self._epoch:
                return False
            closes = self._open_until is not None
            if closes:
                self._set(None)
            self._failed.clear()
            return closes

    def left(self, epoch: int | None) -> None:
        """An attempt has come to nothing, for a reason that is not the server's: another may probe."""
        with self._lock:
            if epoch == self._epoch:
                self._is_probing = False

    def _set(self, open_until: float | None) -> None:
        self._open_until = open_until
        self._is_probing = False
        self._epoch += 1
        self._failed.clear()

    def is_open(self) -> bool:
        """Whether attempts are refused, but for a probe."""
        return self._open_until is not None

    def opens_in(self) -> float:
        """Seconds until a probe may be made; 0 when it may, or when nothing is refused."""
        return max(0.0, (self._open_until or 0.0) - self._clock())

    def __repr__(self) -> str:
        state = f"open for {self.opens_in():.1f} s" if self.is_open() else "closed"
        return f"<Circuit {state}, {len(self._failed)} failures in a row>"


#: By origin and breaker. One that is forgotten is closed again.
_circuits: Final[Remembered[tuple[Hashable, Breaker], Circuit]] = Remembered(lambda key: Circuit(key[1]))


def circuit_for(origin: Hashable, breaker: Breaker) -> Circuit:
    """The process-wide circuit of an origin (scheme, host, port) for a breaker."""
    return _circuits[origin, breaker]


def clear() -> None:
    """Close every circuit; for tests, and in the child after a fork (its locks may be held)."""
    _circuits.clear()
