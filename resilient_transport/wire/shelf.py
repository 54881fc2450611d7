"""What every lease of one key shares: idle connections and the gate.

A shelf knows its key's connections only as things that are alive or not; how one is made is the pool's
affair.  Decisions are the gate's; all I/O happens here, outside of its lock.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterable
from time import monotonic
from typing import Any, Final

from urllib3.exceptions import ConnectTimeoutError

from ..retry.deadline import Deadline
from .connection import PlainConnection, TLSConnection, is_alive
from .gate import Gate, Permit, Waiter
from .trail import Trail

Connection = PlainConnection | TLSConnection

#: How long an idle connection is kept, in seconds: less than nginx's 75 s and most load balancers' 60 s.
IDLE_TIMEOUT: Final = 55.0
#: A request that may not be repeated takes only a connection known to work within this time, in
#: seconds: half of 5 s, the idle limit of Node and Apache.
FRESH_FOR: Final = 2.5
#: Seconds between two looks of who waits for permits that were lost.
_SWEEP_EVERY: Final = 1.0


class Shelf:
    """The idle connections of one key, and the gate before new ones.

    Args:
        key: what tells these connections from all others; it is not looked into.
        generation: the registry's, which a fork raises.
    """

    def __init__(self, key: Hashable, generation: int = 0) -> None:
        self.key = key
        self.generation = generation
        self.gate: Gate[Connection] = Gate()
        #: The pools that use this shelf. Weak: a forgotten adapter must not keep it for ever.
        self._lock = threading.Lock()
        self.leases: weakref.WeakSet[Any] = weakref.WeakSet()
        self.used_at = self._reaped_at = monotonic()

    def join(self, lease: Any) -> None:
        """A pool begins to use this shelf; the largest lease's `pool_maxsize` is the shared capacity."""
        with self._lock:
            self.leases.add(lease)
            self.gate.capacity = max(other.idle_capacity for other in self.leases)

    def leave(self, lease: Any) -> None:
        """A pool stops using this shelf; its connections stay for those that come."""
        with self._lock:
            self.leases.discard(lease)
            capacities = [other.idle_capacity for other in self.leases]
            self.gate.capacity = max(capacities, default=self.gate.capacity)

    def checkout(self, trail: Trail, timeout: float | None) -> Connection | Permit:
        """A live idle connection, or leave to make one.

        Args:
            trail: the attempt that asks.
            timeout: seconds to wait for either; None: for ever.

        Raises:
            ConnectTimeoutError: neither came in time.
        """
        self.used_at = now = monotonic()
        if now - self._reaped_at > 1.0:
            self._reaped_at = now
            close_all(self.gate.take(self._is_stale))
        while True:
            found = self._wait(trail, timeout)
            if isinstance(found, Permit):
                return found
            if is_alive(found.sock):
                return found
            found.close()

    def _wait(self, trail: Trail, timeout: float | None) -> Connection | Permit:
        found = self.gate.enter(lambda connection: suits(connection, trail))
        if not isinstance(found, Waiter):
            return found
        try:
            granted = self._wait_in_turns(found, timeout)
        except BaseException:
            self._return(self.gate.leave(found))
            raise
        if granted is None:
            granted = self.gate.leave(found)
        if granted is None:
            message = f"No connection within {timeout:.3f} s: others are still connecting (connect timeout)"
            error = ConnectTimeoutError(None, message)
            trail.fail(error)
            raise error
        return granted

    def _wait_in_turns(self, waiter: Waiter[Connection], timeout: float | None) -> Connection | Permit | None:
        left = Deadline(timeout)
        while True:
            granted = waiter.wait(left.bound(_SWEEP_EVERY))
            if granted is not None or left.left() <= 0:
                return granted
            self.gate.sweep()

    def _return(self, granted: Connection | Permit | None) -> None:
        if isinstance(granted, Permit):
            granted.unused()
        elif granted is not None:
            self.put(granted)

    def put(self, connection: Connection) -> None:
        """Take a connection back whose response was read to its end."""
        connection.proven_at = monotonic()
        surplus = self.gate.offer(connection)
        if surplus is not None:
            surplus.close()

    def reap(self) -> bool:
        """Close what was idle too long; True when nothing is left and nobody uses the shelf."""
        close_all(self.gate.take(self._is_stale))
        idle_for = monotonic() - self.used_at
        return not self.leases and not self.gate.idle() and idle_for > IDLE_TIMEOUT

    def clear(self) -> None:
        """Close every idle connection."""
        close_all(self.gate.take(lambda _: True))

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors. Takes no lock, since its holder is gone."""
        for connection in self.gate.abandon():
            sock, connection.sock = connection.sock, None
            if sock is not None:
                sock.close()

    def _is_stale(self, connection: Connection) -> bool:
        return monotonic() - connection.proven_at > IDLE_TIMEOUT

    def __repr__(self) -> str:
        return f"<Shelf {len(self.leases)} leases, {self.gate!r}>"


def suits(connection: Connection, trail: Trail) -> bool:
    """Whether an attempt may use a connection that was idle for as long as this one."""
    idle_for = monotonic() - connection.proven_at
    return not trail.fresh and idle_for < (IDLE_TIMEOUT if trail.replayable else FRESH_FOR)


def close_all(connections: Iterable[Connection]) -> None:
    """Close connections that nobody uses."""
    for connection in connections:
        connection.close()
