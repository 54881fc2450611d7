"""What happens in calls, as frozen values that hold no secrets: attempts, and events for hooks.

>>> with resilient_transport.events.subscribed(print):
...     session.get("https://api.example/")

A hook gets each event in the thread in which it happens. It may be given to one adapter
(`ResilientAdapter(on_event=...)`), or to all of the process (`subscribe`, `subscribed`). What it raises
breaks no call, and the calls that it makes itself are told to nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import current_thread
from typing import Any, ClassVar, Final

from ..util.clock import date_of
from ..util.frozen import dataclass, field, names_of
from .attempt import Attempt, outcome_of


def _name_of_thread() -> str:
    return current_thread().name


@dataclass(frozen=True, slots=True)
class Event:
    """Something has happened."""

    #: The level of its line in the log; None: it has none.
    level: ClassVar[int | None] = None

    #: `scheme://host:port`, without credentials.
    origin: str
    #: The name of the thread in which it has happened.
    thread: str = field(default_factory=_name_of_thread, kw_only=True)

    def as_dict(self) -> dict[str, Any]:
        """Its fields by name, and its own name as "event", in types that JSON has."""
        told = {name: getattr(self, name) for name in names_of(self)}
        attempt = told.get("attempt")
        if isinstance(attempt, Attempt):
            told["attempt"] = attempt.as_dict()
        return {"event": type(self).__name__, **told}


@dataclass(frozen=True, slots=True)
class CallEvent(Event):
    """Something has happened in a call."""

    #: A number that all events of a call have in common, and no other call of the process.
    call: int
    #: The request's method.
    method: str
    #: The path of its URL, without the query.
    path: str = field(default="", kw_only=True)

    @property
    def request(self) -> str:
        """The request, the number of its call, and the thread: what each line of the log begins with."""
        return f"{self.method} {self.origin}{self.path} (call {self.call}, {self.thread})"

    def __str__(self) -> str:
        return f"{self.request}: {type(self).__name__}"


@dataclass(frozen=True, slots=True)
class AttemptStarted(CallEvent):
    """An attempt begins, by looking for a connection."""

    #: 1 for the first.
    number: int
    #: Whether it connects only, and sends nothing (`ResilientAdapter.warm`).
    warming: bool = False

    def __str__(self) -> str:
        return f"{self.request}: attempt {self.number} begins"


@dataclass(frozen=True, slots=True)
class HandshakeDone(CallEvent):
    """A connection was made: TCP, the proxy, TLS, and proof where that is waited for."""

    level: ClassVar[int | None] = logging.DEBUG

    #: "TLSv1.3" and the like; None without TLS.
    tls_version: str | None
    #: Whether a TLS session was resumed.
    tls_resumed: bool
    #: Whether the server has shown that it accepts the client (a ticket, or TLS 1.2).
    confirmed: bool
    #: Seconds that it took, waiting for leave to connect not included.
    seconds: float

    def __str__(self) -> str:
        how = (self.tls_version or "no TLS") + ", resumed" * self.tls_resumed + ", confirmed" * self.confirmed
        return f"{self.request}: connected in {self.seconds:.3f} s ({how})"


@dataclass(frozen=True, slots=True)
class AttemptSucceeded(CallEvent):
    """An attempt has brought the response that is handed out."""

    #: What it did.
    attempt: Attempt

    def __str__(self) -> str:
        return f"{self.request}: {self.attempt}"


@dataclass(frozen=True, slots=True)
class AttemptFailed(CallEvent):
    """An attempt has failed, on the wire or by its status, or its body was cut."""

    level: ClassVar[int | None] = logging.DEBUG

    #: What it did, and what was decided after it.
    attempt: Attempt

    def __str__(self) -> str:
        return f"{self.request}: {self.attempt}"


@dataclass(frozen=True, slots=True)
class RetryScheduled(CallEvent):
    """Another attempt will be made."""

    #: The number of the attempt that has failed.
    number: int
    #: Seconds until the next one.
    delay: float
    #: Why, in one sentence.
    why: str

    def __str__(self) -> str:
        return f"{self.request}: attempt {self.number} is not the last; {self.why}"


@dataclass(frozen=True, slots=True)
class BodyResumed(CallEvent):
    """A response goes on with a body that was cut."""

    level: ClassVar[int | None] = logging.DEBUG

    #: The attempt that brought the rest, as far as it has got.
    attempt: Attempt
    #: The first byte that was missing, as encoded on the wire: so many need not come again.
    from_byte: int

    @property
    def number(self) -> int:
        """The number of that attempt."""
        return self.attempt.number

    def __str__(self) -> str:
        return f"{self.request}: attempt {self.number} goes on from byte {self.from_byte}"


@dataclass(frozen=True, slots=True)
class BodyEnded(CallEvent):
    """The body of a response has ended that was handed out before it was read, or nobody reads on.

    It is told once for the response of a call with `stream=True`, when its body was read, broke off, or was
    closed; and for one whose head somebody looks at first (a hook, or who answers a 401), when its body was
    read. It is not told of a response that is forgotten.
    """

    #: The attempt that brought the last of it, until now.
    attempt: Attempt
    #: Whether all of it was read.
    whole: bool

    def __str__(self) -> str:
        how = "has ended" if self.whole else "is left"
        return f"{self.request}: the body of attempt {self.attempt.number} {how}"


@dataclass(frozen=True, slots=True)
class Recovered(CallEvent):
    """A call has succeeded after attempts that failed: its response came, or the rest of a stream."""

    level: ClassVar[int | None] = logging.DEBUG

    #: How many attempts it took.
    attempts: int
    #: Seconds from its start.
    seconds: float

    def __str__(self) -> str:
        return f"{self.request} recovered after {self.attempts} attempts in {self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class GaveUp(CallEvent):
    """A call has failed for good, or has ended on a status that would have been retried once more.

    A status that is never retried (a POST's, one with a Retry-After that is too long) is a response like any
    other, and an error that is not of the wire (a file that is missing) is the caller's affair.
    """

    level: ClassVar[int | None] = logging.WARNING

    #: The last attempt; its decision says why there is no other. None: there was none.
    attempt: Attempt | None
    #: The type of what is raised, for a stream as requests raises it; None: the response is handed out.
    error: str | None
    #: Seconds from its start.
    seconds: float

    def __str__(self) -> str:
        return f"{self.request} gave up: {self.attempt or f'{self.error} before any attempt'}"


@dataclass(frozen=True, slots=True)
class ClientCertificateRefused(CallEvent):
    """A response says that the server, or one behind it, has refused the client certificate, or misses one.

    A server that relays another's page looks the same from here. nginx refuses by such a page. A server that
    refuses by an alert of TLS sends no response: then the call fails with
    `resilient_transport.ClientCertificateRejected`.
    """

    level: ClassVar[int | None] = logging.WARNING

    #: The attempt that brought the response. It is handed out as it is.
    attempt: Attempt
    #: What the page says; for a status that says it alone, what that means.
    page: str
    #: The certificate that was shown, if any, and what to do.
    certificate: str

    def __str__(self) -> str:
        return (
            f"{self.request}: by status {self.attempt.status} the server, or one behind it, has refused the "
            f"client certificate ({self.page}): {self.certificate}"
        )


@dataclass(frozen=True, slots=True)
class CallEnded(CallEvent):
    """A call has returned, or raises: whatever else was told, or nothing, this is told once, and last.

    Only what becomes of a body that is read after the call is told later (`BodyEnded` last): that of a
    stream, and that of a response whose head somebody looks at first (a hook, or who answers a 401).
    """

    #: The status of the response that is handed out; None: there is none, as when `warm` only connects.
    status: int | None
    #: The type of what is raised, an interrupt included; None: nothing is.
    error: str | None

    def __str__(self) -> str:
        return f"{self.request} has ended: {self.error or outcome_of(self.status)}"


@dataclass(frozen=True, slots=True)
class IdentityRotated(Event):
    """Certificate files were replaced, or `identity=` gave others. What is not usable is worth a warning."""

    #: Whether what is there now is in use; False: it is not usable, and the old one stays.
    usable: bool
    #: Why it is not usable; None: it is.
    why: str | None = None

    @property
    def level(self) -> int:  # type: ignore[override]
        """The level of its line in the log."""
        return logging.INFO if self.usable else logging.WARNING

    def __str__(self) -> str:
        now = "in use"
        if not self.usable:
            now = f"not usable, and the old ones stay: {self.why or 'nobody says why'}"
        return f"{self.origin}: new certificates are {now}"


#: Units of time, the longest first, and their seconds.
_UNITS: Final = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def _span(seconds: float) -> str:
    """A span of time in its longest unit, rounded down: "5 days"."""
    unit, length = next((one for one in _UNITS if seconds >= one[1]), _UNITS[-1])
    number = int(seconds // length)
    return f"{number} {unit}{'s' * (number != 1)}"


@dataclass(frozen=True, slots=True)
class CertificateExpiring(Event):
    """A client certificate that a call is about to show expires soon, or has expired.

    It is told once for each certificate, threshold and process, to the log and the hooks of the call that
    notices it first: with 30, 7 and 1 days left; if it lives for less than 90 days, with a fifth of its life
    left; and when it has expired. Those that follow it in its file are told, too, but for roots.
    """

    level: ClassVar[int | None] = logging.WARNING

    #: Whose it is, such as "CN=client, O=Example".
    subject: str
    #: The file that it comes from, or "identity=" and the name of the callable; empty: neither.
    file: str
    #: The last second in which it is valid, as POSIX has it.
    not_after: float
    #: Seconds until then; not over 0: it has expired.
    seconds_left: float
    #: Whether it is not the client's own, but one of those that follow it in the file.
    is_intermediate: bool = False

    def __str__(self) -> str:
        what = f"the {'intermediate' if self.is_intermediate else 'client'} certificate {self.subject}"
        left = self.seconds_left
        when = f"expires in {_span(left)}" if left > 0 else f"has expired {_span(-left)} ago"
        place = f", from {self.file}," if self.file else ""
        cure = "Renew it; a replaced file is noticed within a second." if self.file else "Renew it."
        if self.file.startswith("identity="):
            cure = "Let that give a newer one; it is asked again within a second."
        return f"{self.origin}: {what}{place} {when} ({date_of(self.not_after)}). {cure}"


@dataclass(frozen=True, slots=True)
class CircuitOpened(Event):
    """The circuit breaker of an origin has opened: nothing is sent until it has cooled down."""

    level: ClassVar[int | None] = logging.WARNING

    #: Seconds until a probe is made.
    seconds: float

    def __str__(self) -> str:
        return f"{self.origin}: the circuit is open for {self.seconds:g} s, its latest attempts have failed"


@dataclass(frozen=True, slots=True)
class CircuitClosed(Event):
    """The probe of an open circuit has succeeded."""

    level: ClassVar[int | None] = logging.INFO

    def __str__(self) -> str:
        return f"{self.origin}: the circuit is closed again"


@dataclass(frozen=True, slots=True)
class SharedLimitsLost(Event):
    """What keeps quotas and circuits for several processes is away: until it is back each has its own.

    The origin is that of the store, such as `redis://10.0.0.5:6379`.
    """

    level: ClassVar[int | None] = logging.WARNING

    #: How that showed.
    why: str

    def __str__(self) -> str:
        return f"{self.origin}: shared limits are lost, and this process has its own for now ({self.why})"


@dataclass(frozen=True, slots=True)
class SharedLimitsFound(Event):
    """What keeps quotas and circuits for several processes is back."""

    level: ClassVar[int | None] = logging.INFO

    #: Seconds for which it was away.
    seconds: float

    def __str__(self) -> str:
        return f"{self.origin}: limits are shared again, after {self.seconds:.1f} s"


#: Is called with each event; what it returns is passed over.
Hook = Callable[[Event], object]

#: No lock: each of what is done with it is one step, and a lock might be held across a fork.
_subscribers: Final[list[Hook]] = []


def anybody() -> bool:
    """Whether anybody has subscribed."""
    return bool(_subscribers)


def subscribers() -> tuple[Hook, ...]:
    """The hooks of the process, in their order."""
    return tuple(_subscribers)


def subscribe(hook: Hook) -> None:
    """Tell a hook of every event of every adapter of the process, from the next call on.

    Raises:
        TypeError: it cannot be called.
    """
    if not callable(hook):
        raise TypeError(f"a hook is called with each event, and {type(hook).__name__} cannot be called")
    _subscribers.append(hook)


def unsubscribe(hook: Hook) -> None:
    """Tell a hook no more; one that was never told is passed over."""
    with suppress(ValueError):
        _subscribers.remove(hook)


@contextmanager
def subscribed(hook: Hook) -> Iterator[Hook]:
    """Tell a hook of every event of the process while a block runs."""
    subscribe(hook)
    try:
        yield hook
    finally:
        unsubscribe(hook)
