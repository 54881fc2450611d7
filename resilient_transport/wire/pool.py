"""urllib3 pools whose connections come from a shelf shared by the process.

A pool here is one adapter's lease of a shelf. It keeps what is its own (how many connections it may use at
once, NTLM and Negotiate connections) and has the rest in common with every other lease of the same key.

Leans on these names of urllib3, pinned in `tests/test_upstream.py`: `_get_conn`, `_put_conn`, `_new_conn`,
`_validate_conn`, `ConnectionCls`, and `pool`, the queue of slots.
"""

from __future__ import annotations

import queue
import weakref
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ClosedPoolError, EmptyPoolError

from ..origins import origin_name
from .connection import PlainConnection
from .permit import Permit
from .proof import is_alive
from .registry import registry
from .shelf import Connection, Shelf, close_all
from .tls import TLSConnection
from .trail import CURRENT, Trail
from .usage import USUAL
from .waiting import Told


class _Lease(HTTPConnectionPool):
    """What the plain and the TLS pool have in common."""

    #: The class of urllib3 that this one stands in for.
    upstream: type[HTTPConnectionPool] = HTTPConnectionPool
    #: The class of its connections as urllib3 ships it, and ours.
    stock_connection: type[HTTPConnection] = HTTPConnection
    own_connection: type[HTTPConnection] = PlainConnection
    #: Whether a TCP connect is something that can be done ahead.
    dials_ahead = False

    def __init__(
        self, host: str, port: int | None = None, *, shelf_key: Any = None, maxsize: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(host, port, maxsize=maxsize, **kwargs)
        #: How many idle connections this lease asks the shelf to keep.
        self.idle_capacity = maxsize
        #: How it uses its connections; its adapter's, once that has asked for one.
        self.usage = USUAL
        #: Idle connections that have an owner, if there are no slots to hold them.
        self._owned: deque[Any] = deque()
        weakref.finalize(self, close_all, self._owned)
        #: Where its connections lead to.
        self.origin = origin_name(self.scheme, self.host, port)
        self._shelf_key = shelf_key if shelf_key is not None else object()
        self._shelf = registry.shelf(self._shelf_key, self)

    @property
    def shelf(self) -> Shelf:
        """The shelf of this lease; a new and empty one after a fork."""
        if self._shelf.generation != registry.generation:
            self._shelf = registry.shelf(self._shelf_key, self)
        return self._shelf

    def give_back(self) -> None:
        """End the lease: what was its alone is closed, the rest stays for those that come."""
        self.shelf.leave(self)
        self._close_owned()

    def __str__(self) -> str:
        # Messages name urllib3's class, as they do in stock: people search logs for them.
        return f"{self.upstream.__name__}(host={self.host!r}, port={self.port!r})"

    def _is_foreign(self) -> bool:
        """Whether somebody put a connection class of their own into urllib3, as vcrpy does: it is used."""
        return self.upstream.ConnectionCls is not self.stock_connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        if self._is_foreign():
            self.ConnectionCls = self.upstream.ConnectionCls
            return super()._get_conn(timeout)
        registry.reap()
        trail = CURRENT.get() or Trail(connect_timeout=self.timeout.connect_timeout)
        if trail.usage is not self.usage:
            self.usage = trail.usage
            self.shelf.agree()
        owned = self._take_slot(timeout, trail)
        if owned is not None:
            if _is_ours(owned) and self.shelf.suits(owned, trail) and is_alive(owned.sock):
                return self._hand_out(owned, trail)
            owned.close()
        found = self.shelf.checkout(trail, trail.patience())
        if isinstance(found, Permit):
            return self._make(found, trail)
        if isinstance(found, Told):
            return self._fail(found, trail)
        return self._hand_out(found, trail)

    def _take_slot(self, timeout: float | None, trail: Trail) -> Any:
        """Wait for a slot, if their number binds; what lies in it, or beside, is this lease's alone."""
        if self.pool is None:
            raise ClosedPoolError(self, "Pool is closed.")
        if not self.block:
            try:
                return self._owned.pop() if self._owned else None
            except IndexError:
                return None
        limit = trail.deadline.bound(timeout) if trail.deadline else timeout
        try:
            return self.pool.get(block=True, timeout=limit)
        except queue.Empty:
            pass
        if limit != timeout:
            # urllib3 gives back a slot for every other exception, and none was taken.
            trail.fail(TimeoutError("no slot of the pool came free before the deadline"))
        raise EmptyPoolError(self, "Pool is empty and a new connection can't be opened due to blocking mode.")

    def _make(self, permit: Permit, trail: Trail) -> Any:
        try:
            connection = self._own_conn(trail)
            shelf = self.shelf
            unused_or_once = trail.warming or not trail.replayable
            connection.wants_proof = unused_or_once or shelf.gate.needs_proof()
            connection.in_doubt = shelf.gate.window.doubted
            connection.sessions, connection.habits = shelf.sessions, shelf.habits
            if self.dials_ahead:
                connection.begun = shelf.dials.take()
                connection.dial_for_others = None if shelf.gate.window.proven else shelf.dial_for_others
            connection.permit = permit
        except BaseException:
            permit.unused()
            raise
        return connection

    def _fail(self, told: Told, trail: Trail) -> Any:
        """A connection that fails when it is made, in urllib3's hands, as another caller's did."""
        connection = self._own_conn(trail)
        connection.told = told.failure
        return connection

    def _own_conn(self, trail: Trail) -> Any:
        self.ConnectionCls = self.own_connection
        connection: Any = self._new_conn()
        connection.generation = registry.generation
        connection.trail = trail
        return connection

    def _hand_out(self, connection: Connection, trail: Trail) -> Connection:
        trail.reused = True
        # Nothing is made that would be told, and an idle connection keeps its trail.
        trail.teller = None
        connection.trail = trail
        return connection

    def _put_conn(self, conn: Any) -> None:
        if conn is None:
            self._free_slot()
        elif not isinstance(conn, (PlainConnection, TLSConnection)):
            super()._put_conn(conn)
        elif conn.sock is None or not conn.is_drained() or conn.generation != registry.generation:
            conn.close()
            self._free_slot()
        elif conn.has_owner:
            conn.proven_at = monotonic()
            self._keep(conn)
        else:
            # First the connection, then the slot: who waits for the slot finds the connection.
            self.shelf.put(conn)
            self._free_slot()

    def _free_slot(self, conn: Any = None) -> None:
        if not self.block and not self._is_foreign():
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
        doomed = list(self.pool.queue) if self.pool is not None and self.block else []
        with suppress(IndexError):
            while True:
                doomed.append(self._owned.pop())
        close_all(connection for connection in doomed if connection is not None)

    def _validate_conn(self, conn: Any) -> None:
        # urllib3 connects plain connections only when it sends; here the stages are apart.
        if conn.is_closed:
            conn.connect()
        super()._validate_conn(conn)


def _is_ours(connection: Any) -> bool:
    """Whether a connection is of this transport, and was made in this process rather than before a fork."""
    kinds = (PlainConnection, TLSConnection)
    return isinstance(connection, kinds) and connection.generation == registry.generation


class PlainPool(_Lease):
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


class TLSPool(_Lease, HTTPSConnectionPool):
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
