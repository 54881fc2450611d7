"""A retry quota that processes share: one bucket for all, and behind it each process's own.

A repetition draws on both. So all processes together add no more load than one quota allows, and no process
adds more than it would alone. While the store is away, each process's own is what is left.

Tokens come back as in `retry/budget.py`. What a call has drawn is given back at once when it succeeds. The
token of a call without retries is given back only by a process that knows that tokens are missing, gathered,
at most once a second: a call that succeeds at once asks the store for nothing.
"""

from __future__ import annotations

from typing import Final

from ..retry.budget import CAPACITY, PAY_BACK, Quota
from ..util import atomic
from ..util.clock import monotonic
from .store import Asker, Store

#: Seconds for which tokens of calls without retries are gathered.
GATHERED: Final = 1.0


class SharedQuota:
    """The quota of an origin, as one call draws on it.

    Args:
        own: that of the process.
        store: keeps the one for all.
        asker: the call.
    """

    __slots__ = ("_asker", "_drawn", "_known", "_own", "_store", "refusal")

    def __init__(self, own: Quota, store: Store, asker: Asker) -> None:
        self._own = own
        self._store = store
        self._asker = asker
        self._known = store.origins.used(asker.origin)
        #: What the call has drawn on the shared one: no more is given back to that.
        self._drawn = 0
        #: Why the last draw was refused, as the end of a sentence.
        self.refusal: str = own.refusal

    def take(self, cost: int) -> bool:
        """Draw tokens of both; False, and nothing drawn, when there are too few."""
        if not self._own.take(cost):
            self.refusal = self._own.refusal
            return False
        if cost == 0 or self._ask(cost):
            return True
        self._own.give_back(cost)
        self.refusal = "the retry quota of its origin, shared in Redis, is empty"
        return False

    def give_back(self, tokens: int) -> None:
        """Return tokens to both, each up to its capacity."""
        known = self._known
        self._own.give_back(tokens)
        has_repeated = tokens > PAY_BACK
        if has_repeated:
            tokens, self._drawn = min(tokens, self._drawn), 0
        elif not known.is_low:
            return
        now = monotonic()
        with atomic.lock:
            known.pending += tokens
            is_due = has_repeated or now - known.given_at >= GATHERED
            if is_due:
                known.given_at = now
        if is_due:
            self._ask(0)

    def _ask(self, cost: int) -> bool:
        """Give back what is pending, and draw; whether nothing speaks against a repetition."""
        known = self._known
        with atomic.lock:
            pending, known.pending = known.pending, 0
        taken = self._store.take(self._asker, cost, min(pending, CAPACITY))
        if taken is None:
            # The store is away. Whether it has got what was pending, nobody knows: it gets it no second time.
            # What it has when it is back, nobody knows either: the next success asks.
            known.is_low = True
            return True
        known.is_low = taken.tokens < CAPACITY
        if taken.is_granted:
            self._drawn += cost
        return taken.is_granted
