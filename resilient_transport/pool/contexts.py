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
from collections.abc import Callable, Hashable, Iterable, Mapping
from math import inf
from ssl import SSLContext
from typing import Any, Final

from urllib3.exceptions import SSLError

from ..telemetry.log import say
from ..util.bounded_dict import keep_newest
from ..util.clock import monotonic
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


class Search:
    """A search for a pool: what it asks for besides its settings, and what came of it.

    Args:
        tell: called when an identity was rotated: with why the new files are not usable; None: they are in
            use.
        since: files that nobody has read since this moment are read, whatever `stat` says.
    """

    __slots__ = ("began", "is_makeshift", "since", "tell")

    def __init__(self, tell: Callable[[str | None], None], since: float = -inf) -> None:
        self.tell = tell
        self.since = since
        #: When it began, on the monotonic clock: what it finds was on disk then, or later.
        self.began = monotonic()
        #: Whether the files are not usable, so that an identity was found that they stood for before.
        self.is_makeshift = False


#: The search that runs in this thread.
SEARCH: Final[Here[Search]] = Here()


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

    @property
    def read_at(self) -> float:
        """When the files were looked at that were read last, on the monotonic clock."""
        return self.seen.at if self.refused is None else self.refused.at

    def is_of(self, contents: Contents) -> bool:
        """Whether these are the contents that it was read from."""
        return replace(self.identity, password=None) == self.sources.identify(contents, None)

    def stands_for(self, identity: Hashable) -> bool:
        """Whether it is this identity, and somebody may still ask for it."""
        is_alive = self.given_by is None or self.given_by() is not None
        return is_alive and self.identity == identity

    def is_current(self, seen: Look) -> bool:
        """Whether there is nothing new to read in files that look like this."""
        return self.is_unchanged(seen) or (
            self.is_refused(seen) and self.refused is not None and seen.at - self.refused.at < _RETRY_EVERY
        )

    def is_unchanged(self, seen: Look) -> bool:
        """Whether files that look like this are those that it was read from."""
        return seen.settled and seen == self.seen

    def is_refused(self, seen: Look) -> bool:
        """Whether files that look like this were found unusable."""
        return self.refused is not None and seen.stamp == self.refused.stamp

    def is_superseded(self) -> bool:
        """Whether something else is in the files by now; whether it is usable, nobody has tried."""
        if self.given_by is not None:
            # Nobody but a call asks a program's callable.
            return False
        seen = self.sources.look()
        if self.is_unchanged(seen) or self.is_refused(seen):
            return False
        try:
            return not self.is_of(self.sources.read())
        except OSError:
            return False


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
        search = SEARCH.value
        since = -inf if search is None else search.since
        waits = "identity" not in settings or not self._is_entered()
        sources = Sources.of(settings, waits=waits, since=since)
        if sources.answer is not None and sources.answer.news is not None:
            _tell(sources.answer.news)
        name = sources.name
        seen, named = sources.look(), self._named.get(name)
        if named is not None and named.is_current(seen) and named.read_at >= since:
            context = self._contexts.get(named.identity)
            if context is not None:
                if not named.is_unchanged(seen):
                    _note_makeshift()
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
            source.trusted = sources.answer.identity
            if sources.shown is not None:
                source.usable = sources.shown
        return context

    def clear(self) -> None:
        """Let go of the contexts that nobody uses now."""
        with Inbox.lock:
            self._newest.clear()

    def living(self) -> set[SSLContext | None]:
        """The contexts that may be handed out again: their identities were not rotated away."""
        return {found() for found in self._contexts.valuerefs()}

    def superseded(self, among: Iterable[SSLContext]) -> list[SSLContext]:
        """Those of some contexts in whose files, all of them, is something else by now.

        Files are read if `stat` says so. No context is built, and nobody is asked for a password: what is in
        the files now is found out by the next call. Until then what they stood for stays in use.
        """
        standing: dict[SSLContext, list[Named]] = {context: [] for context in among}
        for named in list(self._named.values()) if standing else ():
            context = self._contexts.get(named.identity)
            if context in standing and named.stands_for(named.identity):
                standing[context].append(named)
        return [
            context
            for context, names in standing.items()
            if names and all(named.is_superseded() for named in names)
        ]

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
            is_late = before is not None and before.seen.at > now.seen.at
            if not is_late:
                self._named.pop(name, None)
                self._named[name] = now
                keep_newest(self._named, _NAMES)
                # A thread that has looked before may just have retired it.
                found = self._contexts.setdefault(now.identity, context)
                self._newest.pop(now.identity, None)
                self._newest[now.identity] = found
                keep_newest(self._newest, _KEPT)
        if before is None or before.identity == now.identity:
            return
        if is_late:
            # For the call at hand it will do.
            self._retire(now.identity)
        else:
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
            # Another thread may have looked later, and found them usable.
            is_late = named.seen.at > seen.at
            is_news = not (is_late or named.is_refused(seen))
            if not is_late:
                self._named[name] = replace(named, refused=seen)
        _note_makeshift()
        if is_news:
            # Nobody is given the error, whose traceback holds a context.
            is_worded = isinstance(error, UnusableSettings)
            _tell(str(error) if is_worded else f"{error}. {fault(error, sources.files)}")
        return context


def _tell(why: str | None) -> None:
    """Tell who makes the call. Where nobody does, as in a pool manager of a program's own, warn."""
    search = SEARCH.value
    if search is not None:
        search.tell(why)
    elif why is not None:
        words = "new certificates are not usable, and the old ones stay: %s"
        say(logging.WARNING, words, why)


def _note_makeshift() -> None:
    """Tell who searches that the files are not usable now, so that the next call looks again."""
    search = SEARCH.value
    if search is not None:
        search.is_makeshift = True
