"""A circuit breaker: an origin that fails again and again is left alone for a while.

There are three states. Closed: attempts are made; so many failures in a row, within a window, open it. Open:
none is made until it has cooled down. Half-open: one attempt is made, the probe, and all others are refused;
if it succeeds the circuit closes, if it fails it is open anew.

Knows nothing of sockets. Off unless a policy has a `Breaker`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from ..util import atomic
from ..util.clock import monotonic
from ..util.frozen import dataclass


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

    #: So many failures in a row open the circuit, if they came within `window`.
    failures: int = 5
    #: Seconds within which these failures have to come.
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


class AnyCircuit(Protocol):
    """What a call asks: the process's own circuit, or one that processes share."""

    @property
    def breaker(self) -> Breaker:
        """When it opens."""

    @property
    def where(self) -> str:
        """Where it is kept, as the end of "the circuit of its origin"; "" in this process."""

    def enter(self) -> Any:
        """Ask leave for an attempt; it is handed to the next three methods. None: it may not be made."""

    def failed(self, leave: Any) -> bool:
        """An attempt has failed; whether that has opened the circuit."""

    def succeeded(self, leave: Any) -> bool:
        """An attempt has succeeded; whether that has closed the circuit."""

    def left(self, leave: Any) -> None:
        """An attempt has come to nothing, for a reason that is not the server's, or was reported before."""

    def is_open(self) -> bool:
        """Whether attempts are refused, but for a probe."""

    def opens_in(self) -> float:
        """Seconds until a probe may be made; 0 when it may, or when nothing is refused."""


class _State(NamedTuple):
    """What a circuit is at one time; it becomes another in one step."""

    #: Until when nothing is tried; None: it is closed.
    open_until: float | None = None
    #: Whether a probe is under way. Whoever makes it gives its leave back, however it ends.
    is_probing: bool = False
    #: Raised whenever it opens or closes: what began before has no say in what comes after.
    epoch: int = 0
    #: When the latest failures in a row were.
    failed: tuple[float, ...] = ()


_CLOSED: Final = _State()


class Circuit:
    """The state of one origin.

    There is no lock to wait for: whoever changes it works out what it becomes, and puts that in the place of
    what it was; if another has been faster, it works it out anew.

    Args:
        breaker: when it opens.
        clock: the monotonic clock, in seconds.
    """

    __slots__ = ("_clock", "_state", "breaker", "used_at")

    #: It is kept in this process.
    where: Final = ""

    def __init__(self, breaker: Breaker, clock: Callable[[], float] = monotonic) -> None:
        self.breaker = breaker
        self._clock = clock
        self._state = _CLOSED
        #: When it was used, among others that are remembered. Set by who remembers it.
        self.used_at = 0.0

    def enter(self) -> int | None:
        """Ask leave for an attempt.

        Returns:
            What to hand to `failed` or `succeeded` when it is over; None: it may not be made.
        """
        while (state := self._state).open_until is not None:
            if state.is_probing or self._clock() < state.open_until:
                return None
            probing = state._replace(is_probing=True, epoch=state.epoch + 1)
            if self._become(probing, state):
                return probing.epoch
        return state.epoch

    def failed(self, epoch: int | None) -> bool:
        """An attempt has failed; whether that has opened the circuit."""
        now = self._clock()
        while (state := self._state).epoch == epoch:
            failed = (*state.failed, now)[-self.breaker.failures :]
            in_a_row = len(failed) == self.breaker.failures and now - failed[0] <= self.breaker.window
            opens = state.is_probing or in_a_row
            after = state._replace(failed=failed)
            if opens:
                after = _State(open_until=now + self.breaker.cool_down, epoch=state.epoch + 1)
            if self._become(after, state):
                return opens
        return False

    def succeeded(self, epoch: int | None) -> bool:
        """An attempt has succeeded; whether that has closed the circuit."""
        while (state := self._state).epoch == epoch and (state.failed or state.open_until is not None):
            closes = state.open_until is not None
            if self._become(_State(epoch=state.epoch + closes), state):
                return closes
        return False

    def left(self, epoch: int | None) -> None:
        """An attempt has come to nothing, for a reason that is not the server's: another may probe."""
        while (state := self._state).epoch == epoch and state.is_probing:
            self._become(state._replace(is_probing=False), state)

    def _become(self, after: _State, before: _State) -> bool:
        """Change from one state to the next, unless it is not that one any more."""
        with atomic.lock:
            if self._state is not before:
                return False
            self._state = after
            return True

    def is_open(self) -> bool:
        """Whether attempts are refused, but for a probe."""
        return self._state.open_until is not None

    def is_needed(self) -> bool:
        """Whether it must not be forgotten: it refuses attempts now."""
        return self._state.is_probing or self.opens_in() > 0

    def opens_in(self) -> float:
        """Seconds until a probe may be made; 0 when it may, or when nothing is refused."""
        return max(0.0, (self._state.open_until or 0.0) - self._clock())

    def __repr__(self) -> str:
        state = f"open for {self.opens_in():.1f} s" if self.is_open() else "closed"
        return f"<Circuit {state}, {len(self._state.failed)} failures in a row>"
