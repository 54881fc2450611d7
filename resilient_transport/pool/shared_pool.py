"""What every lease of one key shares: idle connections and the gate.

A shared pool knows its key's connections only as things that are alive or not; how one is made is the pool's
affair.  Decisions are the gate's; all I/O happens here, outside of its lock.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable, Iterable
from time import monotonic
from typing import Any, Final

from urllib3.exceptions import ConnectTimeoutError

from ..connection.connection import PlainConnection
from ..connection.keepalive import SPARE, KeepAlivePolicy
from ..connection.liveness import is_alive
from ..connection.preconnect import Preconnects, Route
from ..connection.tls_connection import TLSConnection
from ..connection.tls_sessions import TLSSessions
from ..connection.trace import Trace
from ..gate.gate import Gate
from ..gate.permit import Permit
from ..gate.waiter import Told, Waiter
from ..retry.deadline import Deadline
from ..retry.decision import backoff_delay
from ..retry.policy import DEFAULTS, RetryPolicy
from ..settings.options import DEFAULT_OPTIONS, ConnectionOptions

Connection = PlainConnection | TLSConnection

#: How long an idle connection is kept where nobody says so, in seconds: less than nginx's 75 s and most load
#: balancers' 60 s.
IDLE_TIMEOUT: Final = DEFAULT_OPTIONS.idle_timeout
#: How a cold pool paces its attempts to connect: as a call with default settings.
_PACING: Final = RetryPolicy(**DEFAULTS)


def pace(failures: int) -> float:
    """Seconds that a cold pool pauses after so many failures."""
    return backoff_delay(_PACING, failures)


class SharedPool:
    """The idle connections of one key, and the gate before new ones.

    Args:
        key: what tells these connections from all others; it is not looked into.
        generation: the registry's, which a fork raises.
    """

    def __init__(self, key: Hashable, generation: int = 0) -> None:
        self.key = key
        #: `scheme://host:port` that its connections lead to. Set by the first lease.
        self.origin = ""
        self.generation = generation
        self.gate: Gate[Connection] = Gate(pace=pace)
        #: TCP connects that were begun for those that wait.
        self.preconnects = Preconnects()
        #: TLS sessions that the server may resume.
        self.sessions = TLSSessions()
        #: How long the server keeps idle connections.
        self.keep_alive = KeepAlivePolicy()
        #: What all leases together want to be kept. Set by `agree`.
        self.connection_options = DEFAULT_OPTIONS
        #: Whether one that comes back may be too old to be kept. Set by `agree`.
        self._is_picky = False
        #: The pools that use this shared pool. Weak: a forgotten adapter must not keep it for ever.
        self._lock = threading.Lock()
        self.leases: weakref.WeakSet[Any] = weakref.WeakSet()
        #: Whether nobody finds it any more: what comes back to it is closed. Set by the registry.
        self.is_forgotten = False
        self.used_at = self._reaped_at = monotonic()

    def join(self, lease: Any) -> None:
        """A lease of this pool begins; the largest lease's `pool_maxsize` is the shared capacity."""
        with self._lock:
            self.leases.add(lease)
            self.origin = self.origin or lease.origin
            self.gate.capacity = max(other.idle_capacity for other in self.leases)
        self.agree()

    def agree(self) -> None:
        """Keep what any lease may want, and make as many handshakes at once as the most careful allows."""
        with self._lock:
            all_options = {lease.connection_options for lease in self.leases}
        if not all_options:
            # The last lease was given back while it was in use.
            return
        ages = [connection_options.max_age for connection_options in all_options]
        self.connection_options = ConnectionOptions(
            idle_timeout=max(connection_options.idle_timeout for connection_options in all_options),
            max_age=None if None in ages else max(age for age in ages if age is not None),
            handshakes=min(connection_options.handshakes for connection_options in all_options),
        )
        self._is_picky = (
            self.connection_options.max_age is not None or not self.connection_options.idle_timeout
        )
        self.gate.allow(self.connection_options.handshakes)

    def leave(self, lease: Any) -> None:
        """A pool stops using this shared pool; its connections stay for those that come."""
        with self._lock:
            self.leases.discard(lease)
            capacities = [other.idle_capacity for other in self.leases]
            self.gate.capacity = max(capacities, default=self.gate.capacity)
        self.agree()

    def checkout(self, trace: Trace, timeout: float | None) -> Connection | Permit | Told:
        """A live idle connection, or leave to make one, or another caller's failure to share.

        Args:
            trace: the attempt that asks.
            timeout: seconds to wait for either, besides the pauses of a cold pool; None: for ever.

        Raises:
            ConnectTimeoutError: neither came in time.
        """
        self.used_at = now = monotonic()
        trace.cold = not self.gate.window.proven
        if now - self._reaped_at > 1.0:
            self._reaped_at = now
            self._sort_out()
        while True:
            found = self._wait(trace, timeout)
            if isinstance(found, (Permit, Told)):
                return found
            found.taken_at = monotonic()
            if is_alive(found.sock):
                return found
            self.keep_alive.closed_after(found.taken_at - found.proven_at)
            found.close()

    def suits(self, connection: Connection, trace: Trace) -> bool:
        """Whether an attempt may use a connection that was idle for as long as this one."""
        now = monotonic()
        idle_for = now - connection.proven_at
        if trace.fresh or not _is_good(connection, trace.connection_options, now, idle_for):
            return False
        if not self.keep_alive.allows(idle_for):
            return False
        return trace.replayable or idle_for < self.keep_alive.fresh_for(connection.hint)

    def dial_for_others(self, route: Route | None) -> None:
        """Begin a TCP connect for each caller that waits for the first handshake, within the window."""
        if route is not None:
            self.preconnects.begin(route, min(self.gate.waiting(), self.gate.window.maximum))

    def _wait(self, trace: Trace, timeout: float | None) -> Connection | Permit | Told:
        eager = trace.fresh or trace.warming
        found = self.gate.enter(
            lambda connection: self.suits(connection, trace), trace.charges, eager, trace.began
        )
        if not isinstance(found, Waiter):
            return found
        since = monotonic()
        try:
            granted = self._wait_in_turns(found, timeout, trace)
        except BaseException:
            self._return(self.gate.leave(found))
            raise
        finally:
            if trace.counters is not None:
                trace.counters.waited(monotonic() - since)
        if granted is None:
            granted = self.gate.leave(found)
        if granted is None:
            message = f"No connection within {timeout:.3f} s: others are still connecting (connect timeout)"
            error = ConnectTimeoutError(None, message)
            trace.fail(error)
            raise error
        return granted

    def _wait_in_turns(
        self, waiter: Waiter[Connection], timeout: float | None, trace: Trace
    ) -> Connection | Permit | Told | None:
        left = Deadline(timeout)
        while True:
            paused = waiter.is_held() and self.gate.pause() > 0
            before = left.spent()
            half = left.left() - timeout / 2 if timeout is not None else 0.0
            nap = self.gate.nap(waiter)
            granted = waiter.wait(left.bound(min(nap, half) if half > 0 else nap))
            if paused and trace.deadline is not None:
                # A pause is not the server's slowness: as a backoff, it comes on top of the time-out.
                left.expires = min(left.expires + left.spent() - before, trace.deadline.expires)
            if granted is not None or left.left() <= 0:
                if not isinstance(granted, Permit):
                    self.preconnects.trim(self.gate.waiting())
                return granted
            # Half of the time is gone: what is left is for an attempt of its own.
            late = timeout is not None and left.left() <= timeout / 2
            self.gate.look(waiter, urgent=late and not paused)

    def _return(self, granted: Connection | Permit | Told | None) -> None:
        if isinstance(granted, Permit):
            granted.unused()
        elif granted is not None and not isinstance(granted, Told):
            self._offer(granted)

    def put(self, connection: Connection) -> None:
        """Take a connection back whose response was read to its end."""
        if not connection.was_asked:
            # It was warmed, so it is as well known to work as it was before.
            self._offer(connection)
            return
        connection.proven_at = now = monotonic()
        connection.keep_session()
        picky = self._is_picky or connection.hint is not None or connection.requests_left is not None
        if self.is_forgotten or (picky and not _is_good(connection, self.connection_options, now, 0.0)):
            connection.close()
            return
        self._offer(connection, now - connection.taken_at)

    def _offer(self, connection: Connection, held: float | None = None) -> None:
        surplus = self.gate.offer(connection, held)
        if surplus is not None:
            surplus.close()

    def reap(self) -> bool:
        """Close what was idle too long; True when nothing is left and nobody uses the shared pool."""
        self.preconnects.trim(len(self.preconnects))
        self._sort_out()
        idle_for = monotonic() - self.used_at
        return not self.leases and not self.gate.idle() and idle_for > IDLE_TIMEOUT

    def clear(self) -> None:
        """Close every idle connection, and forget every TLS session."""
        self.gate.forget()
        self.sessions.clear()
        self.preconnects.trim(0)
        close_all(self.gate.take(lambda _: True))

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors. Takes no lock, since its holder is gone."""
        self.preconnects.abandon()
        for connection in self.gate.abandon():
            sock, connection.sock = connection.sock, None
            if sock is not None:
                sock.close()

    def _sort_out(self) -> None:
        """Close what nobody may use any more, and learn from it how long the server keeps connections."""
        # A lease may have been forgotten without being given back.
        self.agree()
        for connection in self.gate.take(self._is_stale):
            idle_for = monotonic() - connection.proven_at
            learn = self.keep_alive.outlived if is_alive(connection.sock) else self.keep_alive.closed_after
            learn(idle_for)
            connection.close()

    def _is_stale(self, connection: Connection) -> bool:
        now = monotonic()
        idle_for = now - connection.proven_at
        return not (
            self.keep_alive.allows(idle_for) and _is_good(connection, self.connection_options, now, idle_for)
        )

    def __repr__(self) -> str:
        return f"<Shelf {len(self.leases)} leases, {self.gate!r}>"


def _is_good(
    connection: Connection, connection_options: ConnectionOptions, now: float, idle_for: float
) -> bool:
    """Whether a connection is neither too old nor was idle for too long, nor used up."""
    hint = connection.hint
    if idle_for >= connection_options.idle_timeout or (hint is not None and idle_for >= hint - SPARE):
        return False
    if connection.requests_left == 0:
        return False
    return connection_options.max_age is None or now - connection.made_at < connection_options.max_age


def close_all(connections: Iterable[Connection]) -> None:
    """Close connections that nobody uses."""
    for connection in connections:
        connection.close()
