"""The process-wide pool manager: one shared pool of connections per key, one TLS context per identity.

Adapters lease what is here (`pool/lease.py`, `pool/manager.py`); closing one gives its leases back and closes
nothing that another uses. After a fork the child starts with an empty registry, and never writes to a
socket that it inherited.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from copy import copy
from ssl import SSLContext
from time import monotonic
from types import TracebackType
from typing import Any

from ..telemetry.stats import count_connections_by
from ..util.fork import Turn, in_child
from .shared_pool import SharedPool


class Registry:
    """All shared pools and TLS contexts of this process.

    Used as a context manager, it closes every idle connection at the end of the block.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared_pools: dict[Hashable, SharedPool] = {}
        self._contexts: weakref.WeakValueDictionary[Hashable, SSLContext] = weakref.WeakValueDictionary()
        self._building: dict[Hashable, Future[SSLContext]] = {}
        self._reaped_at = monotonic()
        #: Raised by each fork; what was leased under another number is not used any more.
        self.generation = 0
        #: How many TLS contexts were built since the process began.
        self.contexts_built = 0

    def shared_pool(self, key: Hashable, lease: Any) -> SharedPool:
        """Lease the shared pool of a key; it is made when it is not there."""
        self.reap()
        with self._lock:
            shared_pool = self._shared_pools.get(key)
            if shared_pool is None:
                shared_pool = self._shared_pools[key] = SharedPool(key, self.generation)
            shared_pool.join(lease)
        return shared_pool

    def context(self, identity: Hashable, build: Callable[[], SSLContext]) -> SSLContext:
        """The one TLS context of an identity; threads that need it at once wait for the first to build it."""
        while True:
            with self._lock:
                context = self._contexts.get(identity)
                if context is not None:
                    return context
                pending = self._building.get(identity)
                if pending is None:
                    mine = self._building[identity] = Future()
                    break
            error = pending.exception()
            if error is None:
                return pending.result()
            if isinstance(error, Exception):
                # A copy: each thread raises an exception of its own.
                raise copy(error) from error
            # Who was building was interrupted, which is nobody else's business: try again.
        self._build(identity, build, mine)
        return mine.result()

    def _build(self, identity: Hashable, build: Callable[[], SSLContext], future: Future[SSLContext]) -> None:
        try:
            context = build()
        except BaseException as error:
            with self._lock:
                del self._building[identity]
            future.set_exception(error)
            return
        with self._lock:
            self._contexts[identity] = context
            self.contexts_built += 1
            del self._building[identity]
        future.set_result(context)

    def clear(self) -> None:
        """Close every idle connection, and forget every TLS session.

        Running calls go on, and what they give back is kept again.
        """
        with self._lock:
            shared_pools = list(self._shared_pools.values())
            self._forget({shared_pool.key for shared_pool in shared_pools})
        for shared_pool in shared_pools:
            shared_pool.clear()

    def reap(self) -> None:
        """At most once a second, close what was idle too long, and forget the pools that nobody uses."""
        now = monotonic()
        if now - self._reaped_at < 1.0:
            return
        with self._lock:
            if now - self._reaped_at < 1.0:
                return
            self._reaped_at = now
            shared_pools = list(self._shared_pools.values())
        forgotten = {shared_pool.key for shared_pool in shared_pools if shared_pool.reap()}
        with self._lock:
            self._forget(forgotten)

    def _forget(self, keys: set[Hashable]) -> None:
        """Under the lock: be done with these shared pools; who has leased one in the meantime keeps it."""
        for key in keys:
            shared_pool = self._shared_pools.get(key)
            if shared_pool is not None and not shared_pool.leases:
                shared_pool.is_forgotten = True
                del self._shared_pools[key]

    def connections(self) -> dict[str, tuple[int, int]]:
        """How many connections each origin has, and how many of them are idle."""
        found: dict[str, tuple[int, int]] = {}
        with self._lock:
            shared_pools = list(self._shared_pools.values())
        for shared_pool in shared_pools:
            live, idle = found.get(shared_pool.origin, (0, 0))
            found[shared_pool.origin] = live + len(shared_pool.gate.open), idle + shared_pool.gate.idle()
        return found

    def after_fork(self) -> None:
        """In the child: begin anew. Closing an inherited socket here sends nothing, not even a TLS alert."""
        inherited = self._shared_pools
        generation = self.generation + 1
        self.__init__()  # type: ignore[misc]
        self.generation = generation
        for shared_pool in inherited.values():
            shared_pool.abandon()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def __repr__(self) -> str:
        shared_pools = list(self._shared_pools.values())
        idle = sum(shared_pool.gate.idle() for shared_pool in shared_pools)
        leases = sum(len(shared_pool.leases) for shared_pool in shared_pools)
        contexts = len(self._contexts)
        counts = (
            f"{len(shared_pools)} origins, {idle} idle connections, {leases} leases, {contexts} TLS contexts"
        )
        return f"<Registry {counts}>"


#: The one of this process.
registry = Registry()
count_connections_by(registry.connections)
atexit.register(registry.clear)
in_child(Turn.CONNECTIONS)(registry.after_fork)
