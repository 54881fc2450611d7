"""The addresses of names at which connections have failed a moment ago: they are tried last.

As in OkHttp's `RouteDatabase`. One that has failed is tried after all others until a connection to it
succeeds, and no longer than for half a minute; for twice as long each time that it fails again afterwards.
Where all addresses of a name have failed they are equals again: then, as ever where none has, the order is
the resolver's, which may be the server's way to balance its load. None is ever left out.

One memory serves the process: a name's addresses are the same for all who call it. It takes no lock: each
step is one operation of a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from ..util.bounded_dict import keep_newest
from ..util.clock import monotonic
from .resolver import Address

#: How many addresses are remembered, at the most.
MOST: Final = 256
#: For how many seconds the first time, and for how many at the most.
FIRST: Final = 30.0
LONGEST: Final = 600.0


class _Failure(NamedTuple):
    """That an address has failed."""

    #: When, for the last time, on the monotonic clock.
    at: float
    #: For how many seconds that counts.
    counts_for: float

    def counts(self, now: float) -> bool:
        """Whether it still puts the address behind others."""
        return now - self.at < self.counts_for

    def again(self, now: float) -> _Failure:
        """The same after another failure. Of those that come at once the first counts."""
        if self.counts(now):
            return self._replace(at=now)
        # What has failed again as soon as it was tried is not likely to be well half a minute later.
        grown = now - self.at < 2 * self.counts_for
        return _Failure(now, min(2 * self.counts_for, LONGEST) if grown else FIRST)


class FailedAddresses:
    """Addresses that have failed, by name, the latest last."""

    __slots__ = ("_failed",)

    def __init__(self) -> None:
        self._failed: dict[tuple[str, Any], _Failure] = {}

    def add(self, name: str, address: Any) -> None:
        """A connection to this address of a name has failed."""
        now, key = monotonic(), (name.lower(), address)
        before = self._failed.pop(key, None)
        self._failed[key] = _Failure(now, FIRST) if before is None else before.again(now)
        keep_newest(self._failed, MOST)

    def forgive(self, name: str, addresses: Iterable[Any]) -> None:
        """Connections to these have succeeded, or they are no worse than all others."""
        if self._failed:
            for address in addresses:
                self._failed.pop((name.lower(), address), None)

    def in_order(self, name: str, found: Sequence[Address]) -> Sequence[Address]:
        """The addresses of a name in their order; those that have failed come last, the latest at the end."""
        if not self._failed:
            return found
        failed, wanted = self.of(name), [one[4] for one in found]
        if failed and all(where in failed for where in wanted):
            self.forgive(name, wanted)
            return found
        return sorted(found, key=lambda one: failed.index(one[4]) if one[4] in failed else -1)

    def of(self, name: str) -> list[Any]:
        """The addresses of a name that have failed, the latest last."""
        now, name = monotonic(), name.lower()
        return [
            address
            for (whose, address), failure in list(self._failed.items())
            if whose == name and failure.counts(now)
        ]

    def clear(self) -> None:
        """Forget all."""
        self._failed.clear()


#: Those of the process.
FAILED: Final = FailedAddresses()
