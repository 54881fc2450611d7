"""The retry quota of an origin: retries may add only so much load to a server that is down.

The numbers are botocore's (`botocore/retries/quota.py`, standard mode): 500 tokens, a retry costs 5, one
after a time-out 10. A call that succeeds gives back what it has drawn (botocore's: what its last retry has
drawn), one without retries gives 1.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import Final

from ..util.bounded_dict import Remembered

CAPACITY: Final = 500
RETRY_COST: Final = 5
TIMEOUT_COST: Final = 10
PAY_BACK: Final = 1


class Quota:
    """A bucket of tokens that the calls of one origin draw on."""

    __slots__ = ("_lock", "capacity", "tokens")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._lock = threading.Lock()
        self.capacity = capacity
        self.tokens = capacity

    def take(self, cost: int) -> bool:
        """Draw tokens; False, and nothing drawn, when there are too few."""
        with self._lock:
            if self.tokens < cost:
                return False
            self.tokens -= cost
            return True

    def give_back(self, tokens: int = PAY_BACK) -> None:
        """Return tokens, up to the capacity."""
        if self.tokens >= self.capacity:
            return
        with self._lock:
            self.tokens = min(self.capacity, self.tokens + tokens)

    def __repr__(self) -> str:
        return f"<Quota {self.tokens} of {self.capacity}>"


#: One that is forgotten is full again.
_quotas: Final[Remembered[Hashable, Quota]] = Remembered(lambda _: Quota())


def quota_for(origin: Hashable) -> Quota:
    """The process-wide quota of an origin (scheme, host, port)."""
    return _quotas[origin]


def clear() -> None:
    """Fill every quota; for tests, and in the child after a fork (its locks may be held)."""
    _quotas.clear()
