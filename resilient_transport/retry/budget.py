"""The retry quota of an origin: retries may add only so much load to a server that is down.

The numbers are botocore's (`botocore/retries/quota.py`, standard mode): 500 tokens, a retry costs 5, one
after a time-out 10. A call that succeeds gives back what it has drawn (botocore's: what its last retry has
drawn), one without retries gives 1.
"""

from __future__ import annotations

from typing import Final, Protocol

from ..util import atomic

CAPACITY: Final = 500
RETRY_COST: Final = 5
TIMEOUT_COST: Final = 10
PAY_BACK: Final = 1


class AnyQuota(Protocol):
    """What a call draws on: the process's own quota, or one that processes share."""

    @property
    def refusal(self) -> str:
        """Why the last draw was refused, as the end of a sentence."""

    def take(self, cost: int) -> bool:
        """Draw tokens; False, and nothing drawn, when there are too few."""

    def give_back(self, tokens: int) -> None:
        """Return what was drawn, or `PAY_BACK` for a call without retries."""


class Quota:
    """A bucket of tokens that the calls of one origin draw on.

    Each change is one step under the lock of `util/atomic.py`. If a tracer runs something in between, that
    may draw what was just found to be there; then there are fewer than none, until successes pay them back.
    """

    __slots__ = ("capacity", "tokens")

    #: Why a draw is refused, as the end of a sentence.
    refusal: Final = "the retry quota of its origin is empty"

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.tokens = capacity

    def take(self, cost: int) -> bool:
        """Draw tokens; False, and nothing drawn, when there are too few."""
        with atomic.lock:
            if self.tokens < cost:
                return False
            self.tokens -= cost
            return True

    def give_back(self, tokens: int = PAY_BACK) -> None:
        """Return tokens, up to the capacity."""
        if self.tokens >= self.capacity:
            return
        with atomic.lock:
            self.tokens += tokens
            if self.tokens > self.capacity:
                self.tokens = self.capacity

    def __repr__(self) -> str:
        return f"<Quota {self.tokens} of {self.capacity}>"
