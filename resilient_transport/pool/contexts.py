"""One TLS context for each identity, and the identity that each set of files stands for.

Same identity: one context, and so one pool, for the whole process. Different: never. A context is found by
others only when it is complete and was read from what its identity says. Files that are not usable leave the
identity in use that they stood for before; files that are usable again, and differ, retire it.

Knows nothing of pools and adapters. One lock guards what is kept; nobody waits or reads files under it. Each
identity has a lock of its own while its context is built: its holder builds, unless that was done meanwhile.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping
from ssl import SSLContext
from typing import Any, Final

from urllib3.exceptions import SSLError

from ..telemetry.log import say
from ..util.bounded_dict import keep_newest
from ..util.frozen import dataclass, replace
from ..util.here import Here
from ..util.inbox import Inbox
from .given_identity import UnusableSettings
from .identity import Contents, FilesChanged, Look, Sources, TLSIdentity, fault

#: Reads that may differ, because the files are being replaced, before the change counts as an error.
_READS: Final = 3
#: Seconds between two tries to read files that were not usable.
_RETRY_EVERY: Final = 1.0
#: Sets of files whose identity is remembered, at the most.
_NAMES: Final = 4096
#: Contexts that are kept although nobody uses them now. With certifi's authorities, one takes 0.7 MB.
_KEPT: Final = 32

#: Called when an identity was rotated in a call made here: with why the new files are not usable; None: they
#: are in use.
LISTENER: Final[Here[Callable[[str | None], None]]] = Here()


@dataclass(frozen=True, slots=True)
class Named:
    """The identity that a set of files stands for."""

    #: Where it comes from.
    sources: Sources
    identity: TLSIdentity
    #: How the files looked before they were read.
    seen: Look
    #: How they looked when they were last found unusable; None: they are in use.
    refused: Look | None = None
    #: Returns whose callable gives it, as long as anybody may ask that; None: nobody's does.
    given_by: weakref.ref[Any] | None = None

    def is_of(self, contents: Contents) -> bool:
        """Whether these are the contents that it was read from."""
        return replace(self.identity, password=None) == self.sources.identify(contents, None)

    def stands_for(self, identity: Hashable) -> bool:
        """Whether it is this identity, and somebody may still ask for it."""
        is_alive = self.given_by is None or self.given_by() is not None
        return is_alive and self.identity == identity

    def is_current(self, seen: Look) -> bool:
        """Whether there is nothing new to read in files that look like this."""
        if seen.settled and seen == self.seen:
            return True
        return self.refused is not None and (
            seen.stamp == self.refused.stamp and seen.at - self.refused.at < _RETRY_EVERY
        )


class Contexts:
    """The TLS contexts of a registry.

    Args:
        on_retired: called, under no lock, with each context whose identity was rotated away everywhere. It is
            not handed out again.
    """

    def __init__(self, on_retired: Callable[[SSLContext], None]) -> None:
        self._on_retired = on_retired
        self._contexts: weakref.WeakValueDictionary[Hashable, SSLContext] = weakref.WeakValueDictionary()
        #: The lock of each identity that is being built; gone with the last thread that holds or wants it.
        self._building: weakref.WeakValueDictionary[Hashable, Any] = weakref.WeakValueDictionary()
        self._named: dict[Hashable, Named] = {}
        self._newest: dict[Hashable, SSLContext] = {}
        #: How many were built.
        self.built = 0

    def __len__(self) -> int:
        return len(self._contexts)

    def of(self, settings: Mapping[str, Any]) -> SSLContext:
        """The shared context for the TLS settings of a pool.

        Args:
            settings: keyword arguments of urllib3's `HTTPSConnectionPool`, and "identity", an `Asked`.

        Raises:
            OSError: a file cannot be read.
            urllib3.exceptions.ConnectTimeoutError: another thread has been asking `identity=` for too long.
            ssl.SSLError, urllib3.exceptions.SSLError: a file is not what it should be, a key does not belong
                to its certificate, or it is encrypted and there is no password. Neither is raised while the
                files were usable before.
        """
        sources = Sources.of(settings, waits="identity" not in settings or not self._is_entered())
        if sources.answer is not None and sources.answer.news is not None:
            _tell(sources.answer.news)
        name = sources.name
        seen, named = sources.look(), self._named.get(name)
        if named is not None and named.is_current(seen):
            context = self._contexts.get(named.identity)
            if context is not None:
                return context
        try:
            identity, context = self._read(sources, named)
        except (OSError, SSLError) as error:
            context = self._last_usable(name, sources, seen, error)
            if context is None:
                raise
            return context
        source = None if sources.asked is None else sources.asked.source
        if sources.files or source is not None:
            given_by = None if source is None else weakref.ref(source)
            named = Named(sources.without_answer(), identity, seen, given_by=given_by)
            self._remember(name, named, context)
        if source is not None and sources.answer is not None:
            source.usable = sources.answer.identity
        return context

    def clear(self) -> None:
        """Let go of the contexts that nobody uses now."""
        with Inbox.lock:
            self._newest.clear()

    def get(self, identity: Hashable, build: Callable[[], SSLContext]) -> SSLContext:
        """The one context of an identity; threads that need it at once wait for the first to build it.

        Args:
            identity: whose.
            build: makes it. What it raises is the calling thread's alone: the next one tries for itself.
        """
        context = self._contexts.get(identity)
        if context is not None:
            return context
        if self._is_entered():
            # A handler or finaliser calls in the midst of this thread's own work. It waits for nobody.
            return self._register(identity, build())
        with self._lock_of(identity):
            context = self._contexts.get(identity)
            return self._register(identity, build()) if context is None else context

    def _read(self, sources: Sources, named: Named | None) -> tuple[TLSIdentity, SSLContext]:
        """Read the files, until they rest while a context is built from them."""
        error: BaseException | None = None
        for _ in range(_READS):
            contents = sources.read()
            try:
                return self._of_contents(sources, contents, named)
            except FilesChanged as changed:
                error = changed.__cause__
        raise error or SSLError("the certificate files keep changing while they are read")

    def _of_contents(
        self, sources: Sources, contents: Contents, named: Named | None
    ) -> tuple[TLSIdentity, SSLContext]:
        if named is not None and named.is_of(contents):
            # Nobody is asked for the password again.
            context = self._contexts.get(named.identity)
            if context is not None:
                return named.identity, context
        password = sources.password()
        identity = sources.identify(contents, password)
        return identity, self.get(identity, lambda: sources.build(contents, password))

    def _lock_of(self, identity: Hashable) -> Any:
        with Inbox.lock:
            lock = self._building.get(identity)
            if lock is None:
                lock = self._building[identity] = threading.RLock()
            return lock

    def _is_entered(self) -> bool:
        """Whether this thread is already in here, further down its stack, with a lock."""
        locks = (found() for found in self._building.valuerefs())
        return Inbox.is_mine() or any(lock is not None and lock._is_owned() for lock in locks)

    def _register(self, identity: Hashable, context: SSLContext) -> SSLContext:
        """Let others find a context, unless a call in the midst of the building has been faster."""
        with Inbox.lock:
            self.built += 1
            return self._contexts.setdefault(identity, context)

    def _remember(self, name: Hashable, now: Named, context: SSLContext) -> None:
        """Note what files stand for, unless another thread has looked at them later."""
        with Inbox.lock:
            before = self._named.get(name)
            if before is not None and before.seen.at > now.seen.at:
                return
            self._named.pop(name, None)
            self._named[name] = now
            keep_newest(self._named, _NAMES)
            self._newest.pop(now.identity, None)
            self._newest[now.identity] = context
            keep_newest(self._newest, _KEPT)
        if before is not None and before.identity != now.identity:
            self._retire(before.identity)
            _tell(None)

    def _retire(self, identity: TLSIdentity) -> None:
        """Forget the context of an identity that was rotated away, unless other files still stand for it."""
        with Inbox.lock:
            if any(named.stands_for(identity) for named in self._named.values()):
                return
            context = self._contexts.pop(identity, None)
            self._newest.pop(identity, None)
        if context is not None:
            self._on_retired(context)

    def _last_usable(
        self, name: Hashable, sources: Sources, seen: Look, error: Exception
    ) -> SSLContext | None:
        """The context that files stood for before they became what they are; None: there is none."""
        with Inbox.lock:
            named = self._named.get(name)
            context = None if named is None else self._contexts.get(named.identity)
            if named is None or context is None:
                return None
            is_news = named.refused is None or named.refused.stamp != seen.stamp
            self._named[name] = replace(named, refused=seen)
        if is_news:
            # Nobody is given the error, whose traceback holds a context.
            is_worded = isinstance(error, UnusableSettings)
            _tell(str(error) if is_worded else f"{error}. {fault(error, sources.files)}")
        return context


def _tell(why: str | None) -> None:
    """Tell who makes the call. Where nobody does, as in a pool manager of a program's own, warn."""
    listener = LISTENER.value
    if listener is not None:
        listener(why)
    elif why is not None:
        words = "new certificates are not usable, and the old ones stay: %s"
        say(logging.WARNING, words, why)
