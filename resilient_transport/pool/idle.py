"""The idle connections of the process: one bound for all of them, whatever pools they lie in.

Takes no lock of its own: each step is one operation of a dictionary, which keeps the order of their
coming. It refers to connections weakly, so that one which an interrupt has lost is not kept open.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from ..settings import default


class Holder(Protocol):
    """A pool that connections lie idle in."""

    def is_idle(self, connection: Any) -> bool:
        """Whether a connection lies idle in it."""

    def evict(self, connection: Any) -> bool:
        """Take a connection out; False: it is not idle any more."""


class IdleConnections:
    """All idle connections, the oldest first.

    Each is added once its pool keeps it, and discarded once somebody took it. What an interrupt or another
    thread has left out, or left here, the reaper's look corrects.

    Args:
        wake: sees to it that somebody looks at what is idle.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._holders: dict[int, tuple[weakref.ref[Any], Holder]] = {}
        self._wake = wake
        #: How many are kept at the most; Go's `MaxIdleConns` is 100, too. Set by the newest adapter, as the
        #: environment says.
        self.most: int = default("max_idle")

    def add(self, connection: Any, holder: Holder) -> None:
        """A connection becomes idle; the oldest beyond the bound is closed."""
        self._holders.pop(id(connection), None)
        self._holders[id(connection)] = weakref.ref(connection), holder
        while len(self._holders) > self.most and self._close_oldest():
            pass
        self._wake()

    def discard(self, connection: Any) -> None:
        """A connection is idle no more."""
        self._holders.pop(id(connection), None)

    def correct(self, holders: Iterable[Holder], idle_in: Callable[[Any], list[Any]]) -> None:
        """Know what is idle in these pools, and nothing else.

        Args:
            holders: the pools.
            idle_in: returns what is idle in one.
        """
        for holder in holders:
            for connection in idle_in(holder):
                if id(connection) not in self._holders:
                    self._holders[id(connection)] = weakref.ref(connection), holder
        for key, (reference, holder) in list(self._holders.items()):
            connection = reference()
            if connection is None or not holder.is_idle(connection):
                self._holders.pop(key, None)

    def holders(self) -> list[Any]:
        """The pools in which something is idle."""
        return list({id(holder): holder for _, holder in list(self._holders.values())}.values())

    def close_all(self) -> bool:
        """Close every idle connection; whether there were any."""
        closed = [self._close(key) for key in list(self._holders)]
        return any(closed)

    def _close_oldest(self) -> bool:
        keys = list(self._holders)
        if keys:
            self._close(keys[0])
        return bool(keys)

    def _close(self, key: int) -> bool:
        found = self._holders.pop(key, None)
        connection = None if found is None else found[0]()
        if found is None or connection is None or not found[1].evict(connection):
            return False
        connection.close()
        return True

    def __len__(self) -> int:
        return len(self._holders)
