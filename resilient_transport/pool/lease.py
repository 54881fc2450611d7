"""urllib3 pools whose connections come from a pool shared by the process.

A pool here is one adapter's lease of a shared pool. It keeps what is its own (how many connections it may
use at once, NTLM and Negotiate connections) and has the rest in common with all leases of the same key.

Leans on these names of urllib3, pinned in `tests/test_upstream.py`: `_get_conn`, `_put_conn`, `_new_conn`,
`_validate_conn`, `ConnectionCls`, `QueueCls`, and `pool`, the queue of slots.
"""

from __future__ import annotations

import queue
import weakref
from collections import deque
from contextlib import suppress
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ClosedPoolError, EmptyPoolError
from urllib3.util import Timeout

from ..connection.connection import ConnectionPlan, PlainConnection
from ..connection.liveness import is_alive
from ..connection.shipped import is_as_shipped
from ..connection.tls_connection import TLSConnection
from ..connection.trace import CURRENT, Trace
from ..gate.permit import Permit
from ..gate.shared_failure import SharedFailure
from ..retry.urllib3_retry import ONE_ATTEMPT
from ..settings.options import DEFAULT_OPTIONS, ConnectionOptions
from ..util.clock import monotonic
from ..util.origin import origin_name
from .registry import registry
from .shared_pool import Connection, SharedPool, Ticket, close_all
from .slots import Slots

#: What requests asks of `urlopen`: these, and some that are false.
_ASKED_FOR: Final = frozenset({"method", "url", "body", "headers", "retries", "timeout"})
_FALSE: Final = ("redirect", "assert_same_host", "preload_content", "decode_content", "chunked")
_ARGUMENTS: Final = _ASKED_FOR.union(_FALSE)


def _is_usual(asked: dict[str, Any]) -> bool:
    """Whether `urlopen` is asked as requests asks it, for one attempt, and for no request in chunks."""
    return (
        asked.keys() == _ARGUMENTS
        and asked["retries"] is ONE_ATTEMPT
        and True not in map(asked.get, _FALSE)
        and type(asked["timeout"]) is Timeout
    )


class LeasedPool(HTTPConnectionPool):
    """What the plain and the TLS pool have in common."""

    #: The class of urllib3 that this one stands in for.
    upstream: type[HTTPConnectionPool] = HTTPConnectionPool
    #: The class of its connections as urllib3 ships it, and ours.
    stock_connection: type[HTTPConnection] = HTTPConnection
    own_connection: type[HTTPConnection] = PlainConnection
    #: What holds its slots.
    QueueCls: Any = Slots
    #: Whether a TCP connect is something that can be done ahead.
    dials_ahead = False
    _shared_pool: SharedPool
    _ticket: Ticket

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        shared_key: Any = None,
        is_private: bool = False,
        maxsize: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(host, port, maxsize=maxsize, **kwargs)
        #: How many idle connections this lease wants to be kept.
        self.idle_capacity = maxsize
        #: How it uses its connections; its adapter's, once that has asked for one.
        self.connection_options = DEFAULT_OPTIONS
        #: Idle connections that have an owner, if there are no slots to hold them.
        self._owned: deque[Any] = deque()
        weakref.finalize(self, close_all, self._owned)
        #: Where its connections lead to.
        self.origin = origin_name(self.scheme, self.host, port)
        self._shared_key = object() if shared_key is None else shared_key
        self._is_private = is_private or shared_key is None
        self._lease()

    def _lease(self) -> SharedPool:
        """Begin the lease, and end the one before, if there was one."""
        shared_pool, self._ticket = registry.lease(
            self._shared_key, self.origin, self.idle_capacity, self.connection_options, self._is_private
        )
        self._shared_pool = shared_pool
        return shared_pool

    @property
    def shared_pool(self) -> SharedPool:
        """The shared pool of this lease: a new one after a fork, leased again after the lease's end."""
        if self._shared_pool.generation != registry.generation:
            self._free_all_slots()
            return self._lease()
        return self._lease() if self._ticket.is_over else self._shared_pool

    def _free_all_slots(self) -> None:
        """In a forked child: who had a slot is gone, or is cut off from its connection."""
        if self.block and self.pool is not None:
            self.pool = self.QueueCls(self.pool.maxsize)
            for _ in range(self.pool.maxsize):
                self.pool.put(None)

    def _use(self, options: ConnectionOptions) -> None:
        """From now on, use connections in this way."""
        before, self.connection_options = self.connection_options, options
        if options != before:
            self._lease()

    def give_back(self) -> None:
        """End the lease: what was its alone is closed, the rest stays for those that come. Takes no lock."""
        self._ticket.end()
        self._close_owned()

    def __str__(self) -> str:
        # Messages name urllib3's class, as they do in stock: people search logs for them.
        return f"{self.upstream.__name__}(host={self.host!r}, port={self.port!r})"

    def _is_foreign(self) -> bool:
        """Whether somebody put a connection class of their own into urllib3, as vcrpy does: it is used."""
        return self.upstream.ConnectionCls is not self.stock_connection

    def urlopen(self, *args: Any, **asked: Any) -> Any:
        """Send a request as urllib3 does; past it where an idle connection takes a usual one at once."""
        trace = CURRENT.value
        if trace is not None and not args and _is_usual(asked) and self._is_open_to(trace):
            response = self._exchange(trace, asked)
            if response is not None:
                return response
        return super().urlopen(*args, **asked)

    def _is_open_to(self, trace: Trace) -> bool:
        """Whether an attempt may be made past urllib3: nothing is unusual with this pool, or patched."""
        plain = not (self.block or self._owned or trace.warming) and self.proxy is None
        return plain and not self._is_foreign() and is_as_shipped()

    def _exchange(self, trace: Trace, asked: dict[str, Any]) -> Any:
        """Send a request over an idle connection; None: urllib3 is to do so, and meets what was met here."""
        method, url, body, timeout = asked["method"], asked["url"], asked["body"], asked["timeout"]
        # There are three cases: the time-outs of a caller, a deadline besides, and what is unusual.
        patience = trace.send_timeout
        is_known = patience is None or patience >= 0
        if not is_known or not (timeout.total is None or trace.is_limited()):
            return None
        if timeout.total is None:
            patience = timeout.read_timeout
        connection = self._pool_for(trace).idle_for(trace)
        if connection is None:
            return None
        self._hand_out(connection, trace)
        head = connection.usual_head(method, url, asked["headers"], body)
        if head is not None:
            self.num_requests += 1
            try:
                self._validate_conn(connection)
                response: Any = connection.exchange(method, url, head, body, patience)
                response.retries, response._connection, response._pool = ONE_ATTEMPT, connection, self
                return response
            except BaseException:
                if connection.met is None:
                    connection.close()
                    raise
                # urllib3 counts it, too.
                self.num_requests -= 1
        trace.given = connection
        return None

    def _pool_for(self, trace: Trace) -> SharedPool:
        """The shared pool, used from now on as an attempt wants it used."""
        if registry.reaper.due is not None:
            registry.reaper.look_if_due()
        if trace.connection_options is not self.connection_options:
            self._use(trace.connection_options)
        return self.shared_pool

    def _get_conn(self, timeout: float | None = None) -> Any:
        trace = CURRENT.value
        if self._is_foreign():
            self.ConnectionCls = self.upstream.ConnectionCls
            if trace is not None:
                trace.hand_over()
            return super()._get_conn(timeout)
        if trace is None:
            trace, granted = Trace(), self.timeout.connect_timeout
            trace.connect_timeout = float(granted) if isinstance(granted, (int, float)) else None
        if trace.given is not None:
            given, trace.given = trace.given, None
            return given
        shared_pool = self._pool_for(trace)
        owned = self._take_slot(timeout, trace)
        if owned is not None:
            if _is_ours(owned) and shared_pool.suits(owned, trace) and is_alive(owned.sock):
                return self._hand_out(owned, trace)
            owned.close()
        found = shared_pool.checkout(trace, trace.patience())
        if isinstance(found, (Permit, SharedFailure)):
            return self._make(shared_pool, found, trace)
        return self._hand_out(found, trace)

    def _take_slot(self, timeout: float | None, trace: Trace) -> Any:
        """Wait for a slot, if their number binds; what lies in it, or beside, is this lease's alone."""
        if self.pool is None:
            raise ClosedPoolError(self, "Pool is closed.")
        if not self.block:
            try:
                return self._owned.pop() if self._owned else None
            except IndexError:
                return None
        if trace.slot_of is self:
            # That of the connection that broke.
            trace.slot_of = None
            return None
        limit = trace.deadline.bound(timeout) if trace.deadline else timeout
        try:
            return self.pool.get(block=True, timeout=limit)
        except queue.Empty:
            pass
        if limit != timeout:
            # urllib3 gives back a slot for every other exception, and none was taken.
            trace.fail(TimeoutError("no slot of the pool came free before the deadline"))
        raise EmptyPoolError(self, "Pool is empty and a new connection can't be opened due to blocking mode.")

    def _make(self, shared_pool: SharedPool, leave: Permit | SharedFailure, trace: Trace) -> Any:
        """A connection that is not made yet; one that fails, when it is, as another caller's did."""
        self.ConnectionCls = self.own_connection
        try:
            connection: Any = self._new_conn()
            connection.prepare(self._plan(shared_pool, leave, trace), trace)
        except BaseException:
            if isinstance(leave, Permit):
                leave.unused()
            raise
        return connection

    def _plan(self, shared_pool: SharedPool, leave: Permit | SharedFailure, trace: Trace) -> ConnectionPlan:
        if isinstance(leave, SharedFailure):
            return ConnectionPlan(shared_failure=leave, home=shared_pool, generation=registry.generation)
        gate = shared_pool.gate
        return ConnectionPlan(
            permit=leave,
            sessions=shared_pool.sessions,
            keep_alive=shared_pool.keep_alive,
            home=shared_pool,
            begun=shared_pool.preconnects.take() if self.dials_ahead else None,
            dial_for_others=shared_pool.dial_for_others
            if self.dials_ahead and not gate.window.proven
            else None,
            wants_proof=trace.warming or not trace.replayable or gate.needs_proof(),
            sends_first=not gate.window.doubted and trace.may_send_first(),
            in_doubt=gate.window.doubted,
            generation=registry.generation,
            free_descriptors=registry.idle.close_all,
        )

    def _hand_out(self, connection: Connection, trace: Trace) -> Connection:
        trace.reused = True
        # Nothing is made that would be told, and an idle connection keeps its trace.
        trace.dispatcher = None
        connection.trace = trace
        trace.address = connection.peer
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is None:
            self._free_slot()
        elif not isinstance(conn, (PlainConnection, TLSConnection)):
            super()._put_conn(conn)
        elif conn.sock is None or not conn.is_drained() or conn.generation != registry.generation:
            # Who has given it back may read on all the same.
            conn.let_go_of_answer()
            try:
                conn.close()
            finally:
                self._free_slot()
        elif conn.has_owner:
            conn.proven_at = monotonic()
            self._keep(conn)
        else:
            # First the connection, then the slot: who waits for the slot finds the connection.
            try:
                (conn.plan.home or self._shared_pool).put(conn)
            finally:
                self._free_slot()

    def _free_slot(self, conn: Any = None) -> None:
        if not self.block and not self._is_foreign():
            return
        trace = CURRENT.value
        if conn is None and trace is not None and trace.keeps_slot and trace.slot_of is None:
            trace.slot_of = self
            return
        try:
            self.pool.put(conn, block=False)  # type: ignore[union-attr]
        except (AttributeError, queue.Full):
            if conn is not None:
                conn.close()

    def _keep(self, conn: Any) -> None:
        """Put an owned connection where only this lease finds it."""
        if self.block:
            self._free_slot(conn)
            return
        self._owned.append(conn)
        if self.pool is None or len(self._owned) > self.idle_capacity:
            with suppress(IndexError):
                # Another thread may have taken it meanwhile.
                self._owned.popleft().close()

    def close(self) -> None:
        """Close the connections that are this lease's alone, and hand out no more."""
        super().close()
        self._close_owned()

    def _close_owned(self) -> None:
        # A slot stays where it is; who takes it finds the connection dead.
        # A copy, which is one step without the GIL, too; a list of what others change is not.
        doomed = list(self.pool.queue.copy()) if self.pool is not None and self.block else []
        with suppress(IndexError):
            while True:
                doomed.append(self._owned.pop())
        close_all(connection for connection in doomed if connection is not None)

    def _validate_conn(self, conn: Any) -> None:
        if getattr(conn, "met", None) is not None:
            # urllib3 is about to meet it.
            return
        # urllib3 connects plain connections only when it sends; here the stages are apart.
        if conn.is_closed:
            conn.connect()
        super()._validate_conn(conn)


def _is_ours(connection: Any) -> bool:
    """Whether a connection is of this transport, and was made in this process rather than before a fork."""
    kinds = (PlainConnection, TLSConnection)
    return isinstance(connection, kinds) and connection.generation == registry.generation


class PlainPool(LeasedPool):
    """Connections without TLS."""


class _Once:
    """A setting that is what the pool was made with; what somebody sets afterwards has no effect.

    requests calls `cert_verify` with every pool, before every request. A subclass's settings have become part
    of the pool's key, and of its TLS context, when it was called with no pool.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"_made_with_{name}"

    def __get__(self, pool: Any, owner: type) -> Any:
        return self if pool is None else vars(pool).get(self._name)

    def __set__(self, pool: Any, value: Any) -> None:
        vars(pool).setdefault(self._name, value)


class TLSPool(LeasedPool, HTTPSConnectionPool):
    """Connections with TLS."""

    key_file = _Once()
    cert_file = _Once()
    cert_reqs = _Once()
    key_password = _Once()
    ca_certs = _Once()
    ca_cert_dir = _Once()
    ssl_version = _Once()
    ssl_minimum_version = _Once()
    ssl_maximum_version = _Once()
    assert_hostname = _Once()
    assert_fingerprint = _Once()

    upstream: type[HTTPConnectionPool] = HTTPSConnectionPool
    stock_connection: type[HTTPConnection] = HTTPSConnection
    own_connection: type[HTTPConnection] = TLSConnection
    dials_ahead = True
