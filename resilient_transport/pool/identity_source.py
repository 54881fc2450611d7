"""The callable of `identity=`: asked at most once a second for all adapters, and by one thread at a time.

While it is asked, other threads use what it has given before, and wait only if there is nothing yet, or if a
server has refused that. It may make calls through the same adapter: those use what was usable last, or show
no certificate. A callable that fails leaves in use what it has given before.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from itertools import count
from math import inf
from types import MethodType
from typing import Any, Final

from urllib3.exceptions import ConnectTimeoutError

from ..connection.trace import CURRENT
from ..telemetry.dispatch import last_line
from ..util.clock import monotonic
from ..util.fork import Turn, in_child
from ..util.frozen import dataclass, field, replace
from ..util.inbox import Inbox
from .given_identity import Identity, NoIdentity, UnusableSettings

#: Seconds from an answer until the callable is asked again; as long as files are not looked at again.
_ASK_EVERY: Final = 1.0
#: Seconds that a thread waits for another's asking where its call has no limit of its own. The callable may
#: wait for that thread in turn.
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a callable has given."""

    #: The newest identity; None: it has given none yet.
    identity: Identity | None = field(repr=False)
    #: Why it has given none when it was asked last; None: it has.
    why: str | None
    #: When it had answered, on the monotonic clock.
    at: float
    #: The same reason, if nobody was told yet; for the thread that has asked.
    news: str | None = None


class IdentitySource:
    """A callable that gives an identity. There is one object for each callable in the process.

    Args:
        ask: the callable; or an `Identity`, for a program that has one that does not change.
    """

    def __init__(self, ask: Callable[[], Identity] | Identity) -> None:
        self.ask = ask
        #: No other source has it, ever. Who knows a source by that does not keep it, nor the callable.
        self.number = next(_numbers)
        #: What was loaded into a TLS context last, with its certificate; and with its authorities, at the
        #: least. Set by who has loaded it.
        self.usable: Identity | None = None
        self.trusted: Identity | None = None
        self._answer: Answer | None = None
        #: Held while the callable is asked.
        self._asking: Any = threading.RLock()

    @classmethod
    def of(cls, ask: Callable[[], Identity] | Identity) -> IdentitySource:
        """The source of a callable.

        Raises:
            TypeError: it is none.
        """
        if not (callable(ask) or isinstance(ask, Identity)):
            raise TypeError(f"identity takes a callable that returns an Identity, not {type(ask).__name__}")
        name = _name_of(ask)
        with Inbox.lock:
            source = _sources.get(name)
            if source is None:
                source = _sources[name] = cls(ask)
        return source

    def answer(self, *, waits: bool = True, since: float = -inf, is_shown: bool = True) -> Answer | None:
        """What the callable gives now, or has given within the last second; there are four cases.

        Args:
            waits: whether to wait for another thread's asking, where nothing was given before, or nothing
                since that moment.
            since: what was given before this moment, on the monotonic clock, is asked for anew.
            is_shown: whether more than the authorities is wanted.

        Returns:
            None: this thread is in the middle of asking, and nothing was usable before.

        Raises:
            UnusableSettings: the callable fails, and nothing was given before.
            urllib3.exceptions.ConnectTimeoutError: another thread has been asking for too long.
        """
        known, asking = self._answer, self._asking
        if known is not None and monotonic() - known.at < _ASK_EVERY and known.at >= since:
            return _identity_in(known)
        if asking._is_owned():
            # The callable makes a call itself, or a handler does in the middle of it.
            usable = self.usable if is_shown else self.trusted
            return None if usable is None else Answer(usable, None, 0.0)
        has_older = known is not None and known.identity is not None
        # A server has refused what is known: it is of no use any more.
        is_refused = known is not None and known.at < since
        seconds = _patience() if waits and (is_refused or not has_older) else 0.0
        asked: Answer | None = None
        try:
            # An interrupt may strike as soon as the lock is taken, so that it is released in any case.
            if asking.acquire(timeout=seconds):
                asked = self._asked(known)
        finally:
            try:
                asking.release()
            except RuntimeError:
                # Another thread holds it.
                asked = None
        if asked is not None:
            return _identity_in(asked)
        if known is not None and has_older:
            return known
        raise ConnectTimeoutError(f"another thread has been asking {self!r} for {seconds:.1f} s")

    def is_asked_here(self) -> bool:
        """Whether this thread is in the middle of asking."""
        return bool(self._asking._is_owned())

    def _asked(self, before: Answer | None) -> Answer:
        """Ask, unless another thread has done so meanwhile; under the lock.

        Raises:
            UnusableSettings: the callable has raised, and nothing was given before.
        """
        known = self._answer
        if known is not None and known is not before:
            return known
        older = None if known is None else known.identity
        given, why, failed = self._call()
        known = self._answer = Answer(given or older, why, monotonic())
        try:
            if known.identity is None and failed is not None:
                raise UnusableSettings(why) from failed
        finally:
            # Its traceback may hold this frame: what the frame holds must not be the exception.
            del failed
        is_told = why is None or (before is not None and before.why == why)
        return known if is_told else replace(known, news=why)

    def _call(self) -> tuple[Identity | None, str | None, Exception | None]:
        """The identity; or why there is none, and what was raised."""
        if isinstance(self.ask, Identity):
            return self.ask, None, None
        try:
            given: Any = self.ask()
        except Exception as error:
            return None, f"{self!r} has raised {_in_short(error)}", error
        if isinstance(given, Identity):
            return given, None, None
        return None, f"{self!r} has to return an Identity, and has returned {type(given).__name__}", None

    def renew_lock(self) -> None:
        """In a forked child: the thread that was asking is not there."""
        self._asking = threading.RLock()

    def __repr__(self) -> str:
        name = getattr(self.ask, "__qualname__", None) or type(self.ask).__qualname__
        return f"identity={name}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pool takes from a source."""

    source: IdentitySource
    #: Whether its certificate is shown.
    is_shown: bool
    #: Whether its authorities are trusted, if it has any.
    is_trusted: bool

    @property
    def name(self) -> tuple[int, bool, bool]:
        """What tells it from others."""
        return self.source.number, self.is_shown, self.is_trusted


_numbers: Final = count(1)
#: By callable.
_sources: Final[weakref.WeakValueDictionary[Hashable, IdentitySource]] = weakref.WeakValueDictionary()


@in_child(Turn.LOCKS)
def _renew_locks() -> None:
    for found in _sources.valuerefs():
        if (source := found()) is not None:
            source.renew_lock()


def _name_of(ask: Any) -> Hashable:
    """What tells a callable from others, as long as it lives; a method is another object each time."""
    if isinstance(ask, MethodType):
        return id(ask.__self__), id(ask.__func__)
    return id(ask)


def _identity_in(answer: Answer) -> Answer:
    """The answer itself.

    Raises:
        UnusableSettings: there is no identity in it.
    """
    if answer.identity is None:
        raise UnusableSettings(answer.why)
    return answer


def _patience() -> float:
    """Seconds that the call of this thread grants for getting a connection."""
    trace = CURRENT.value
    if trace is None:
        return _PATIENCE
    limits = [_PATIENCE, trace.connect_timeout, None if trace.deadline is None else trace.deadline.left()]
    return max(0.0, min(limit for limit in limits if limit is not None))


def _in_short(error: Exception) -> str:
    """The type of an exception, and the line that has raised it; what it says, where that holds no secret."""
    if isinstance(error, NoIdentity):
        return f"ValueError: {error}"
    return last_line(error)
