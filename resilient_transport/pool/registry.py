"""The process-wide pool manager: one shared pool of connections per key, one TLS context per identity.

Adapters lease what is here (`pool/lease.py`, `pool/manager.py`); closing one gives its leases back and closes
nothing that another uses. After a fork the child starts with an empty registry, and never writes to a
socket that it inherited.
"""

from __future__ import annotations

import atexit
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from ssl import SSLContext
from types import TracebackType
from typing import Any, Final

from ..connection.failed_addresses import FAILED
from ..connection.tls_context import is_shared
from ..settings.options import ConnectionOptions
from ..telemetry.stats import count_connections_by, read_certificates_of
from ..util.fork import Turn, before_fork, in_child, in_parent
from ..util.inbox import Inbox
from .contexts import Contexts
from .expiry import CertificatesInUse
from .idle import IdleConnections
from .reaper import Reaper
from .shared_pool import SharedPool, Ticket

#: How many pools that nobody leases are kept, at the most.
MOST_UNLEASED: Final = 100


class Registry:
    """All shared pools and TLS contexts of this process.

    Used as a context manager, it closes every idle connection at the end of the block.
    """

    def __init__(self) -> None:
        self._shared_pools: dict[Hashable, SharedPool] = {}
        #: Pools whose last lease has ended; appended to without the lock.
        self._left: deque[SharedPool] = deque()
        #: Those of them that are kept for their TLS sessions and idle connections, the oldest first.
        self._unleased: dict[SharedPool, None] = {}
        #: The TLS contexts.
        self.contexts = Contexts(self.retire)
        #: The client certificates that calls have shown.
        self.certificates = CertificatesInUse()
        self.reaper = Reaper(self.look)
        #: The idle connections of the process, of which there are at most `idle.most`.
        self.idle = IdleConnections(self.reaper.wake)
        #: Raised by each fork; what was leased under another number is not used any more.
        self.generation = 0

    def lease(
        self,
        key: Hashable,
        origin: str,
        idle_capacity: int,
        options: ConnectionOptions,
        private: bool = False,
    ) -> tuple[SharedPool, Ticket]:
        """Lease the shared pool of a key; it is made when it is not there.

        Args:
            key: what tells its connections from all others.
            origin: `scheme://host:port` that they lead to.
            idle_capacity, options: as in `SharedPool.join`.
            private: whether the key belongs to one caller, so that nobody else can ever find the pool.
        """
        if Inbox.is_mine():
            # A signal handler's call, in the middle of this thread's own bookkeeping: it goes its own way.
            shared_pool = self._make(key, origin, private=True)
            return shared_pool, shared_pool.join(idle_capacity, options)
        with Inbox.lock:
            found = self._shared_pools.get(key)
            # Who has forked in the middle of this may have put one of the parent's here.
            is_ours = found is not None and found.generation == self.generation
            shared_pool = found if found is not None and is_ours else self._make(key, origin, private)
            ticket = shared_pool.join_under_lock(idle_capacity, options)
            self._shared_pools[key] = shared_pool
            forgotten = self._forget_unleased()
        for other in forgotten:
            other.clear()
        return shared_pool, ticket

    def _make(self, key: Hashable, origin: str, private: bool) -> SharedPool:
        shared_pool = SharedPool(key, origin, self.idle, self.generation, self._left.append)
        shared_pool.is_disposable = private
        return shared_pool

    def _forget_unleased(self) -> list[SharedPool]:
        """Under the lock: forget pools that nobody leases; return them, to be closed.

        What the server has accepted is worth keeping, and of these the newest are kept.
        """
        forgotten = []
        while self._left:
            shared_pool = self._left.popleft()
            self._unleased.pop(shared_pool, None)
            if shared_pool.leases():
                continue
            if shared_pool.is_disposable or not shared_pool.gate.window.proven:
                forgotten.append(shared_pool)
            else:
                self._unleased[shared_pool] = None
        for shared_pool in list(self._unleased)[: max(0, len(self._unleased) - MOST_UNLEASED)]:
            del self._unleased[shared_pool]
            if not shared_pool.leases():
                forgotten.append(shared_pool)
        for shared_pool in forgotten:
            # A connection that is in use still is closed when it comes back.
            shared_pool.is_disposable = True
            if self._shared_pools.get(shared_pool.key) is shared_pool:
                del self._shared_pools[shared_pool.key]
        return forgotten

    @property
    def contexts_built(self) -> int:
        """How many TLS contexts were built since the process began."""
        return self.contexts.built

    def clear(self) -> None:
        """Close every idle connection, and forget every TLS session and each context that nobody uses.

        Which addresses have failed is forgotten, too, and which client certificates were in use. Running
        calls go on, and what they give back is kept again.
        """
        self.contexts.clear()
        self.certificates.clear()
        FAILED.clear()
        for shared_pool in self._all():
            shared_pool.clear()
        with Inbox.lock:
            self._leave_unleased()
        self.look()

    def _leave_unleased(self) -> None:
        for shared_pool in self._all():
            if not shared_pool.leases():
                shared_pool.is_disposable = True
                self._left.append(shared_pool)

    def look(self) -> bool:
        """Close idle connections that nobody will use; whether others are idle. The reaper's work."""
        if not Inbox.is_mine():
            with Inbox.lock:
                forgotten = self._forget_unleased()
            for shared_pool in forgotten:
                shared_pool.clear()
        pools = self._all()
        # What closing one connection may raise leaves the others to be looked at.
        with suppress(OSError):
            self._close_superseded(pools)
        for shared_pool in pools:
            with suppress(OSError):
                shared_pool.sort_out()
        self.idle.correct(pools, lambda shared_pool: shared_pool.gate.idle())
        return any(shared_pool.gate.idle() for shared_pool in pools)

    def _close_superseded(self, pools: list[SharedPool]) -> None:
        """Close what is idle as somebody whom no call will be: certificate files were replaced.

        A pool that was leased still when its identity was rotated away may have got connections back since.
        """
        shared = {context for pool in pools for context in contexts_in(pool.key) if is_shared(context)}
        for context in shared - self.contexts.living():
            self.retire(context)
        used = {context for pool in pools if pool.gate.idle() for context in contexts_in(pool.key)}
        for context in self.contexts.superseded(used & shared):
            for shared_pool in pools:
                if context in contexts_in(shared_pool.key):
                    shared_pool.close_idle()

    def retire(self, context: SSLContext) -> None:
        """A TLS context was rotated away, and nobody is given it again: close what is idle with it."""
        for shared_pool in self._all():
            if context in contexts_in(shared_pool.key):
                shared_pool.is_disposable = True
                shared_pool.close_idle()
                if not shared_pool.leases():
                    self._left.append(shared_pool)

    def _all(self) -> list[SharedPool]:
        """All pools; of those that no key finds, such as a handler's, the ones with something idle."""
        return list(dict.fromkeys([*self._shared_pools.values(), *self.idle.holders()]))

    def connections(self) -> dict[str, tuple[int, int]]:
        """How many connections each origin has, and how many of them are idle."""
        found: dict[str, tuple[int, int]] = {}
        for shared_pool in self._all():
            live, idle = found.get(shared_pool.origin, (0, 0))
            gate = shared_pool.gate
            found[shared_pool.origin] = live + gate.open(), idle + len(gate.idle())
        return found

    def before_fork(self) -> None:
        """End the reaper's thread: Python warns of a fork beside threads."""
        self.reaper.stop()

    def after_fork_in_parent(self) -> None:
        """Look on, if anything is idle."""
        self.reaper.resume(bool(len(self.idle)))

    def after_fork(self) -> None:
        """In the child: begin anew. Closing an inherited socket here sends nothing, not even a TLS alert."""
        inherited = self._all()
        generation, most = self.generation + 1, self.idle.most
        self.__init__()  # type: ignore[misc]
        self.generation, self.idle.most = generation, most
        for shared_pool in inherited:
            shared_pool.abandon()

    def __enter__(self) -> Registry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def __repr__(self) -> str:
        pools = self._all()
        leases = sum(shared_pool.leases() for shared_pool in pools)
        counts = f"{len(pools)} pools, {len(self.idle)} idle connections, {leases} leases"
        return f"<Registry {counts}, {len(self.contexts)} TLS contexts>"


def contexts_in(key: Any) -> tuple[Any, Any]:
    """The TLS contexts in the key of a pool: towards the server, and towards an HTTPS proxy."""
    proxy = getattr(getattr(key, "key__proxy_config", None), "ssl_context", None)
    return getattr(key, "key_ssl_context", None), proxy


#: The `Registry` of this process.
registry = Registry()
count_connections_by(registry.connections)
# A fork puts others in the place of those.
read_certificates_of(lambda: registry.certificates.figures())
atexit.register(registry.clear)
before_fork(registry.before_fork)
in_parent(registry.after_fork_in_parent)
in_child(Turn.CONNECTIONS)(registry.after_fork)
