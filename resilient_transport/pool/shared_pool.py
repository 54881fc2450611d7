"""What all leases of one key share: idle connections, TLS sessions, and the gate before new connections.

A shared pool knows its connections only as things that are alive or not; how one is made is the lease's
affair. Decisions are the gate's; all I/O happens here, outside of its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from math import inf
from typing import Any, Final
from weakref import WeakSet

from urllib3.exceptions import ConnectTimeoutError

from ..connection.connection import LEAST_SHARE_OF_AGE, PlainConnection
from ..connection.keepalive import SPARE, KeepAlivePolicy
from ..connection.liveness import has_something_to_read, is_alive
from ..connection.preconnect import Preconnects, Route
from ..connection.resolver import Address
from ..connection.tls_connection import TLSConnection
from ..connection.tls_sessions import TLSSessions
from ..connection.trace import Trace
from ..gate.gate import Gate
from ..gate.permit import Permit
from ..gate.shared_failure import SharedFailure
from ..gate.waiter import Waiter
from ..gate.window import ahead_of
from ..retry.decision import RESET_PAUSE, backoff_delay
from ..retry.policy import DEFAULTS, RetryPolicy
from ..settings.options import DEFAULT_OPTIONS, ConnectionOptions
from ..util.clock import monotonic
from .idle import IdleConnections

Connection = PlainConnection | TLSConnection

#: For so many seconds after the server's first proof some of those who wait are left to the connections that
#: are there: the first answers come sooner than handshakes that would begin now.
THRIFT: Final = 0.05
#: How a cold pool paces its attempts to connect: as a call with default settings.
_PACING: Final = RetryPolicy(**DEFAULTS)


def pace(failures: int, reset: bool) -> float:
    """Seconds that a cold pool pauses after so many failures; after a reset the server is there."""
    return backoff_delay(_PACING, failures, most=RESET_PAUSE if reset else inf)


class Ticket:
    """A lease's part in a shared pool, until it is over.

    The pool refers to it weakly, so that one which is forgotten is over. Ending it waits for nobody.
    """

    #: Whether the lease has ended. Set by whoever ends it.
    is_over = False
    _pool: SharedPool | None = None

    def __init__(self, pool: SharedPool) -> None:
        self._pool = pool

    def end(self) -> None:
        """End the lease; its connections stay for those that come."""
        self.is_over = True
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.leave(self)

    def __del__(self) -> None:
        self.end()


class SharedPool:
    """The idle connections of one key, and the gate before new ones.

    Args:
        key: what tells these connections from all others; it is not looked into.
        origin: `scheme://host:port` that its connections lead to.
        idle: the idle connections of the process.
        generation: the registry's, which a fork raises.
        on_unleased: is called with the pool when its last lease has ended; takes no lock.
    """

    def __init__(
        self,
        key: Hashable,
        origin: str = "",
        idle: IdleConnections | None = None,
        generation: int = 0,
        on_unleased: Callable[[SharedPool], None] = lambda pool: None,
    ) -> None:
        self.key = key
        self.origin = origin
        self.generation = generation
        self.gate: Gate[Connection] = Gate(pace=pace, thrift=THRIFT)
        #: TCP connects that were begun for those that wait.
        self.preconnects = Preconnects()
        #: TLS sessions that the server may resume.
        self.sessions = TLSSessions()
        #: How long the server keeps idle connections.
        self.keep_alive = KeepAlivePolicy()
        #: Since when idle connections are doubted, and since when those have been idle, at the latest.
        self._doubt = (inf, -inf)
        #: Whether nobody can find it again once its last lease has ended. Set by the registry.
        self.is_disposable = False
        #: The addresses of its name; when they were asked for, on the monotonic clock; and whether an answer
        #: since then was another one.
        self._addresses: frozenset[Any] = frozenset()
        self._asked_at = -inf
        self._varies = False
        #: What was made before is not used any more at an address that the name has not.
        self._moved_at = -inf
        #: What all leases together want to be kept.
        self.connection_options = DEFAULT_OPTIONS
        #: The tickets of those that want to keep so many idle connections, and use them in this way.
        self._tickets: dict[tuple[int, ConnectionOptions], WeakSet[Ticket]] = {}
        self._all_idle = IdleConnections() if idle is None else idle
        self._on_unleased = on_unleased

    def join(self, idle_capacity: int, options: ConnectionOptions) -> Ticket:
        """Begin a lease.

        Args:
            idle_capacity: how many idle connections it wants to be kept.
            options: how it uses its connections.
        """
        ticket = Ticket(self)
        self.gate.inbox.do(self._join, ticket, (idle_capacity, options))
        return ticket

    def join_under_lock(self, idle_capacity: int, options: ConnectionOptions) -> Ticket:
        """The same for who holds the lock already: the lease is counted before it is released."""
        ticket = Ticket(self)
        self._join(ticket, (idle_capacity, options))
        return ticket

    def _join(self, ticket: Ticket, terms: tuple[int, ConnectionOptions]) -> None:
        self._tickets.setdefault(terms, WeakSet()).add(ticket)
        self._agree()

    def leave(self, ticket: Ticket) -> None:
        """A lease has ended. Called by its ticket, perhaps in a finaliser: waits for nobody."""
        for tickets in list(self._tickets.values()):
            tickets.discard(ticket)
        self.gate.inbox.leave(self._agree)
        self.gate.inbox.try_to_empty()
        if not self.leases():
            if self.is_disposable:
                self._close(self.gate.give_up_idle())
            self._on_unleased(self)

    def leases(self) -> int:
        """How many leases there are."""
        return sum(map(len, list(self._tickets.values())))

    def _agree(self) -> None:
        """Under the lock: keep what any lease may want.

        Of handshakes as many run at once as the most careful lease allows; the largest `pool_maxsize` is the
        shared capacity. What the last lease wanted holds until another one comes.
        """
        wanted = {terms: tickets for terms, tickets in self._tickets.items() if tickets}
        if not wanted:
            return
        self._tickets = wanted
        all_options = [options for _, options in wanted]
        ages = [options.max_age for options in all_options]
        self.connection_options = ConnectionOptions(
            idle_timeout=max(options.idle_timeout for options in all_options),
            max_age=None if None in ages else max(age for age in ages if age is not None),
            handshakes=min(options.handshakes for options in all_options),
        )
        self.gate.allow(self.connection_options.handshakes, max(size for size, _ in wanted))

    def checkout(self, trace: Trace, timeout: float | None) -> Connection | Permit | SharedFailure:
        """A live idle connection, or leave to make one, or another caller's failure to share.

        Args:
            trace: of the attempt that asks.
            timeout: seconds to wait for either, besides the pauses of a cold pool; None: for ever.

        Raises:
            ConnectTimeoutError: neither came in time.
        """
        trace.cold = not self.gate.window.proven
        while True:
            idle = self.idle_for(trace)
            if idle is not None:
                return idle
            suits = partial(self.suits, trace=trace)
            found = self._wait(Waiter(suits, trace.as_caller(), trace.began), timeout, trace)
            if isinstance(found, (Permit, SharedFailure)):
                return found
            if self._is_taken(found):
                return found

    def idle_for(self, trace: Trace) -> Connection | None:
        """A live idle connection that an attempt may use at once; None: there is none."""
        suits = partial(self.suits, trace=trace)
        while True:
            found = self.gate.take(suits)
            if found is None or self._is_taken(found):
                return found

    def _is_taken(self, found: Connection) -> bool:
        """Take a connection that was idle; False: the server has closed it, and so it is here."""
        self._all_idle.discard(found)
        found.taken_at = monotonic()
        if is_alive(found.sock):
            return True
        self.keep_alive.closed_after(found.taken_at - found.proven_at)
        found.close()
        return False

    def suits(self, connection: Connection, trace: Trace) -> bool:
        """Whether an attempt may use a connection that was idle for as long as this one."""
        now = monotonic()
        idle_for = now - connection.proven_at
        if trace.fresh or not self._is_good(connection, trace.connection_options, now):
            return False
        if not self.keep_alive.allows(idle_for):
            return False
        if not trace.replayable and connection.proven_at <= self._doubt[1]:
            return False
        return trace.replayable or idle_for < self.keep_alive.fresh_for(connection.hint)

    def doubt(self, before: float) -> None:
        """One that was idle was silent when it was asked: others that have been idle for as long may be dead.

        Until one of them has answered only a request that may be repeated takes one. If a second one is
        silent instead, whoever met it has them closed.

        Args:
            before: since when they have been idle, at the latest.
        """
        self._doubt = monotonic(), before

    def trust(self) -> None:
        """What was silent was a page."""
        self._doubt = (inf, -inf)

    def doubts(self, connection: Connection) -> bool:
        """Whether a connection was doubted when it was taken."""
        since, before = self._doubt
        return connection.proven_at <= before and since <= connection.taken_at

    def dial_for_others(self, route: Route | None, for_all: bool) -> None:
        """Begin TCP connects for callers that wait for the first handshake, within the window.

        Args:
            route: where to; None: nobody can say.
            for_all: for each of them; otherwise for those that may shake hands before the server's proof.
        """
        if route is not None:
            waiting, most = self.gate.waiting(), self.gate.window.maximum
            ahead = min(ahead_of(waiting), most)
            # Those ahead have not taken theirs yet.
            self.preconnects.begin(route, min(waiting, most + ahead if for_all else ahead))

    def _wait(
        self, waiter: Waiter[Connection], timeout: float | None, trace: Trace
    ) -> Connection | Permit | SharedFailure:
        try:
            granted = self.gate.enter(waiter)
            if granted is None:
                granted = self._wait_in_turns(waiter, timeout, trace)
        except BaseException:
            self._return(self.gate.leave(waiter))
            raise
        if granted is None:
            granted = self.gate.leave(waiter)
        if granted is None:
            message = (
                f"No connection within {timeout or 0:.3f} s: others are still connecting (connect timeout)"
            )
            error = ConnectTimeoutError(None, message)
            trace.fail(error)
            try:
                raise error
            finally:
                # Its traceback holds this frame: what the frame holds must not be the exception.
                del error
        return granted

    def _wait_in_turns(self, waiter: Waiter[Connection], timeout: float | None, trace: Trace) -> Any:
        """Wait for what the gate grants; None: time ran out.

        A pause is not the server's slowness: as a backoff, it comes on top of the time-out.
        """
        left = inf if timeout is None else timeout
        granted, began = None, monotonic()
        while granted is None and left > 0 and not trace.is_late():
            nap, is_pause = self.gate.nap(waiter)
            before, patience = monotonic(), trace.within_deadline(min(nap, left))
            granted = waiter.wait(patience)
            if granted is None:
                # What was waited counts, whatever clock a test has put in the place of ours.
                left -= 0.0 if is_pause else max(monotonic() - before, patience)
                # Half of the time is gone: what is left is for an attempt of its own.
                late = timeout is not None and left <= timeout / 2 and not is_pause
                self.gate.look(waiter, urgent=late)
                granted = waiter.granted
        if trace.counters is not None:
            trace.counters.waited(monotonic() - began)
        if not isinstance(granted, Permit):
            self.preconnects.trim(self.gate.waiting())
        return granted

    def _return(self, granted: Connection | Permit | SharedFailure | None) -> None:
        if isinstance(granted, Permit):
            granted.unused()
        elif granted is not None and not isinstance(granted, SharedFailure):
            self._offer(granted)

    def put(self, connection: Connection) -> None:
        """Take a connection back whose response was read to its end."""
        if connection.was_asked:
            self.keep_alive.open_after(connection.taken_at - connection.proven_at)
            if self.doubts(connection):
                self.trust()
            connection.proven_at = monotonic()
            connection.keep_session()
        # Otherwise it was warmed, so it is as well known to work as it was before.
        if self._is_over() or not self._is_good(connection, self.connection_options, connection.proven_at):
            # No lease may use it again.
            connection.close()
            return
        self._offer(connection)
        if self._is_over():
            # The last lease has ended meanwhile.
            self.close_idle()

    def _is_over(self) -> bool:
        """Whether nobody leases it, and nobody can find it again."""
        return self.is_disposable and not self.leases()

    def _offer(self, connection: Connection) -> None:
        surplus = self.gate.offer(connection)
        if surplus is not None:
            # Of too many the oldest goes: it may be too old for some who share the pool.
            oldest = self.gate.idle()[:1]
            self._close(self.gate.take_out(lambda idle: idle in oldest))
            surplus = self.gate.offer(connection)
        if surplus is not None:
            surplus.close()
        elif self.is_idle(connection):
            self._all_idle.add(connection, self)

    def learn_addresses(self, found: Sequence[Address]) -> None:
        """The name was asked for a new connection.

        When the answer before is as old as connections may be, this one holds: no connection is used again
        whose address is not in it. That is not so for a name whose answers have varied meanwhile, as those of
        large services do: it has more addresses than it tells.
        """
        max_age, now = self.connection_options.max_age, monotonic()
        age, told = now - self._asked_at, frozenset(one[4] for one in found)
        if age == inf or (max_age is not None and age >= LEAST_SHARE_OF_AGE * max_age):
            self._moved_at = -inf if self._varies else now
            self._addresses, self._asked_at, self._varies = told, now, False
        elif told != self._addresses:
            self._varies = True

    def is_idle(self, connection: Connection) -> bool:
        """Whether a connection lies idle here."""
        return connection in self.gate.idle()

    def evict(self, connection: Connection) -> bool:
        """Take an idle connection out; False: it is not idle any more."""
        return bool(self.gate.take_out(lambda idle: idle is connection))

    def sort_out(self) -> None:
        """Close what nobody may use any more, and learn from it how long the server keeps connections."""
        self.preconnects.trim(len(self.preconnects))
        for connection in self.gate.take_out(self._is_stale):
            is_open = is_alive(connection.sock)
            learn = self.keep_alive.outlived if is_open else self.keep_alive.closed_after
            learn(monotonic() - connection.proven_at)
            self._close([connection])
        speaking = []
        for connection in self.gate.idle():
            if has_something_to_read(connection.sock):
                speaking.append(connection)
            else:
                self.keep_alive.open_after(monotonic() - connection.proven_at)
        for connection in self.gate.take_out(lambda idle: idle in speaking):
            # A TLS session ticket, as a rule.
            if is_alive(connection.sock):
                self._offer(connection)
            else:
                self.keep_alive.closed_after(monotonic() - connection.proven_at)
                self._close([connection])

    def close_idle(self, before: float = inf) -> None:
        """Close every idle connection, or those that have been idle since before a moment."""
        self._close(self.gate.take_out(lambda connection: connection.proven_at <= before))

    def _close(self, connections: list[Connection]) -> None:
        for connection in connections:
            self._all_idle.discard(connection)
            connection.close()

    def clear(self) -> None:
        """Close every idle connection, and forget every TLS session."""
        self.gate.forget()
        self.sessions.clear()
        self.preconnects.trim(0)
        self.close_idle()

    def abandon(self) -> None:
        """In a forked child: close the inherited descriptors. Takes no lock, since its holder is gone.

        Who has forked in the middle of this finds connections here that are dead.
        """
        self.preconnects.abandon()
        for connection in self.gate.idle():
            sock, connection.sock = connection.sock, None
            if sock is not None:
                sock.close()

    def _is_stale(self, connection: Connection) -> bool:
        now = monotonic()
        is_good = self._is_good(connection, self.connection_options, now)
        return not (is_good and self.keep_alive.allows(now - connection.proven_at))

    def _is_good(self, connection: Connection, options: ConnectionOptions, now: float) -> bool:
        """Whether a connection is neither too old nor was idle for too long, nor used up, nor elsewhere."""
        hint, idle_for = connection.hint, now - connection.proven_at
        if not 0 <= idle_for < options.idle_timeout or (hint is not None and idle_for >= hint - SPARE):
            # Before 0 it was put back by another clock, such as freezegun's.
            return False
        if connection.made_at < self._moved_at and connection.address not in self._addresses:
            return False
        if connection.requests_left == 0:
            return False
        most = options.max_age
        return most is None or now - connection.made_at < most * connection.share_of_age

    def __repr__(self) -> str:
        return f"<SharedPool {self.leases()} leases, {self.gate!r}>"


def close_all(connections: Iterable[Connection]) -> None:
    """Close connections that nobody uses."""
    for connection in connections:
        connection.close()
