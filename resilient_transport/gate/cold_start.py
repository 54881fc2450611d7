"""The cold start of a pool, as one value: what those who wait share until the server accepts a connection.

A *round* is one connect that fails, and the shared pause after it. Who waits has joined a round, and is
charged with the rounds that have ended since. Knows nothing of threads or clocks: moments are given to it.
"""

from __future__ import annotations

from math import inf
from typing import Any, Final

from ..util.frozen import dataclass

#: A failure holds for calls that begin so many seconds after it: calls that a program starts at once may
#: begin one after the other, and nobody replaces a certificate, or starts a server, as fast.
HOLDS: Final = 0.05
#: Two moments that are further apart, in seconds, were read off different clocks (freezegun's is one): then
#: neither says anything about the other.
_BELIEVED: Final = 60.0
#: Of so many rounds it is known when they ended: a call may have begun before several of them did, and come
#: to the gate afterwards.
_MOST_ENDS: Final = 16


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a pool has met so far. The server has accepted nothing yet; afterwards this is of no account."""

    #: How many rounds have ended.
    round: int = 0
    #: When the last rounds ended, on the monotonic clock; or when a connect met a failure that lasts.
    failed: tuple[float, ...] = ()
    #: Nobody that the pool paces connects before this moment.
    resume_at: float = -inf
    #: What the last connect met; None: nothing, or nothing that is to be told.
    last_failure: Any = None
    #: Whether it repeats for as long as nobody changes the set-up.
    is_fatal: bool = False
    #: The thread that has met it: who calls again from there may have changed something.
    met_by: int = 0

    def ended(self, failure: Any, now: float, pause: float) -> ColdStart:
        """A round has ended with this failure; the next one begins after so many seconds."""
        failed = () if self.is_fatal else self.failed[1 - _MOST_ENDS :]
        return ColdStart(self.round + 1, (*failed, now), now + pause, failure)

    def refused(self, failure: Any, now: float, met_by: int) -> ColdStart:
        """A connection was refused for a reason that lasts. Nobody's next call is slowed by it."""
        return ColdStart(self.round, (now,), -inf, failure, True, met_by)

    def forgotten(self) -> ColdStart:
        """The same with nothing to tell and nothing to wait for."""
        return ColdStart(self.round)

    def refusal_for(self, began: float, thread: int) -> Any:
        """The lasting failure that a call in this thread shares, by when it began; None: it shares none."""
        holds = self.is_fatal and self._missed(began) and thread != self.met_by
        return self.last_failure if holds else None

    def round_for(self, began: float, now: float, others_wait: bool) -> int:
        """The round that a newcomer joins.

        There are two cases: where others wait out a pause, or rounds have ended a moment ago, it joins those
        rounds and is charged with them; otherwise it joins the next.
        """
        missed = 0 if self.is_fatal else self._missed(began)
        if self.is_paused(now) and others_wait:
            missed = max(1, missed)
        return max(0, self.round - missed)

    def has_ended_since(self, moment: float) -> bool:
        """Whether a connect has failed after this moment."""
        return bool(self.failed) and 0 < self.failed[-1] - moment < _BELIEVED

    def is_paused(self, now: float) -> bool:
        """Whether the pause after the last round is not over."""
        return 0 < self.resume_at - now < _BELIEVED

    def left(self, now: float) -> float:
        """Seconds until the pause is over; 0 when it is."""
        return self.resume_at - now if self.is_paused(now) else 0.0

    def _missed(self, began: float) -> int:
        """How many of the last failures are news to a call that began at this moment."""
        return sum(_is_news(moment, began) for moment in self.failed)


def _is_news(failed_at: float, began: float) -> bool:
    """Whether a failure holds for a call that began at this moment."""
    return -HOLDS < failed_at - began < _BELIEVED
