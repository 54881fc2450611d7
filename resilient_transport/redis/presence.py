"""Whether a store is there, and when one that is away is asked again: values, and one step a change.

Knows nothing of Redis and of sockets.
"""

from __future__ import annotations

import random
from typing import Final, NamedTuple

from ..util import atomic

#: Seconds for which a store is not asked after it was lost; twice as long after each try that fails,
FIRST_PAUSE: Final = 1.0
#: and so long at the most. One that was there for so long, and is lost then, is asked after the first again.
LONGEST_PAUSE: Final = 30.0


class _State(NamedTuple):
    """What is known of a store at one time; it becomes another in one step."""

    #: When it is asked next; None: it is there.
    asked_at: float | None = None
    #: The last pause, in seconds.
    pause: float = 0.0
    #: Since when it is there, or away.
    since: float = 0.0


class Presence:
    """What a process knows of a store. The moments are those of the monotonic clock, in seconds."""

    __slots__ = ("_state",)

    def __init__(self) -> None:
        self._state = _State()

    def is_there(self) -> bool:
        """Whether it has answered, or nobody has asked yet."""
        return self._state.asked_at is None

    def may_ask(self, now: float) -> bool:
        """Whether it may be asked: by all while it is there, by one caller whenever a pause is over."""
        state = self._state
        if state.asked_at is None:
            return True
        return now >= state.asked_at and self._become(_paused(state, now, state.since), state)

    def lost(self, now: float) -> bool:
        """It has not answered; whether that is news."""
        before = state = self._state
        if state.asked_at is not None:
            return False
        if now - state.since > LONGEST_PAUSE:
            state = state._replace(pause=0.0)
        # If another was faster, that was the news.
        return self._become(_paused(state, now, now), before)

    def found(self, now: float) -> float | None:
        """It has answered; for how many seconds it was away. None: that is no news."""
        state = self._state
        if state.asked_at is None or not self._become(_State(None, state.pause, now), state):
            return None
        return now - state.since

    def _become(self, after: _State, before: _State) -> bool:
        """Change from one state to the next, unless it is not that one any more."""
        with atomic.lock:
            if self._state is not before:
                return False
            self._state = after
            return True

    def __repr__(self) -> str:
        return f"<Presence {'there' if self.is_there() else 'away'}>"


def _paused(state: _State, now: float, since: float) -> _State:
    """The state during the next pause. Processes that have lost it together do not come back together."""
    pause = min(LONGEST_PAUSE, 2 * state.pause) or FIRST_PAUSE
    return _State(now + random.uniform(pause / 2, pause), pause, since)
