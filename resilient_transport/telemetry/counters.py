"""What is counted of an origin. No I/O; each addition is one step under the lock of `util/atomic.py`."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Any, Final, TypeVar

from ..util import atomic
from ..util.frozen import dataclass, field, names_of

C = TypeVar("C", bound="Counts")

#: The upper bounds of the histograms, in seconds; what took longer counts in a last one.
BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Durations:
    """How long something took, each time."""

    #: How often it was measured.
    count: int = 0
    #: Seconds that it took, together.
    seconds: float = 0.0
    #: How often it took no longer than each of `BUCKETS`, and longer than the one before; the last, longer.
    histogram: tuple[int, ...] = (0,) * (len(BUCKETS) + 1)

    def __add__(self, other: Durations) -> Durations:
        """Both together, as if one had measured all."""
        both = zip(self.histogram, other.histogram, strict=True)
        return Durations(self.count + other.count, self.seconds + other.seconds, tuple(map(sum, both)))


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted for an origin since the process began."""

    #: Calls that have returned or raised; connections that `warm` was asked for count, too.
    calls: int = 0
    #: TLS handshakes in full.
    handshakes_full: int = 0
    #: TLS handshakes that resumed a session.
    handshakes_resumed: int = 0
    #: How long callers waited at the gate for a connection, or for leave to make one; who did not wait is not
    #: counted.
    waits: Durations = Durations()
    #: Failed attempts by stage; those that shared another call's failure are left out.
    failures: dict[str, int] = field(default_factory=dict)
    #: Attempts after the first of their call.
    retries: int = 0
    #: Repetitions, or calls, that were not made, by reason.
    repetitions_not_made: dict[str, int] = field(default_factory=dict)
    #: Bodies that were cut, and were gone on with.
    resumes: int = 0
    #: The bytes of these bodies that did not come again.
    bytes_saved: int = 0
    #: Calls that failed, by the name of the exception's type, as requests raises it. A stream that breaks off
    #: for good counts here, too, although its response was handed out.
    failed_calls: dict[str, int] = field(default_factory=dict)
    #: Responses that were handed out, by the class of their status: "2xx" and so on.
    responses: dict[str, int] = field(default_factory=dict)
    #: How long it took from the start of a call to its response: repetitions, and a body that is not
    #: streamed, included.
    response_times: Durations = Durations()
    #: Attempts that opened nothing because they shared another call's failure, by stage.
    shared_failures: dict[str, int] = field(default_factory=dict)
    #: Responses that say that the client certificate was refused.
    certificate_refusals: int = 0
    #: Calls that were saved: they have succeeded after a failed attempt; streams that were gone on with, too.
    recovered: int = 0

    def __add__(self: C, other: C) -> C:
        """Both together, as if one process had counted all."""
        sums = {name: added(getattr(self, name), getattr(other, name)) for name in names_of(self)}
        return type(self)(**sums)


def added(one: Any, other: Any) -> Any:
    """Two numbers, two `Durations` or two mappings of numbers together."""
    if not isinstance(one, dict):
        return one + other
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({**one, **other})}


class Counters:
    """The counts of one origin, while they grow."""

    __slots__ = (
        "_bytes_saved",
        "_certificate_refusals",
        "_failed_calls",
        "_failures",
        "_handshakes",
        "_histogram",
        "_not_made",
        "_recovered",
        "_responses",
        "_resumes",
        "_retries",
        "_seconds",
        "_seconds_waited",
        "_shared",
        "_times",
        "_unanswered",
    )

    def __init__(self) -> None:
        self._retries = self._resumes = self._bytes_saved = 0
        self._certificate_refusals = self._recovered = 0
        #: Calls that have ended without a response.
        self._unanswered = 0
        #: Full ones, and resumed ones.
        self._handshakes = [0, 0]
        self._seconds = self._seconds_waited = 0.0
        #: The times to the responses.
        self._times = [0] * (len(BUCKETS) + 1)
        #: The waits. None until somebody has waited: most origins are never waited for.
        self._histogram: list[int] | None = None
        self._failures: defaultdict[str, int] = defaultdict(int)
        self._shared: defaultdict[str, int] = defaultdict(int)
        self._not_made: defaultdict[str, int] = defaultdict(int)
        self._failed_calls: defaultdict[str, int] = defaultdict(int)
        #: By the first digit of the status.
        self._responses: defaultdict[int, int] = defaultdict(int)

    def answered(self, status: int, seconds: float) -> None:
        """A call has ended with a response, so many seconds after its start."""
        # What a test or a subclass has made up may be no number.
        kind = status // 100 if isinstance(status, int) else 0
        bucket = bisect_left(BUCKETS, seconds)
        with atomic.lock:
            self._responses[kind] += 1
            self._times[bucket] += 1
            self._seconds += seconds

    def ended(self, error: str | None = None) -> None:
        """A call has ended without a response: by an exception of this type; None: it was to connect only."""
        with atomic.lock:
            self._unanswered += 1
            if error is not None:
                self._failed_calls[error] += 1

    def broke_off(self, error: str) -> None:
        """A body that was handed out before it was read has ended in an exception of this type."""
        with atomic.lock:
            self._failed_calls[error] += 1

    def shook_hands(self, resumed: bool) -> None:
        """A TLS handshake is done."""
        with atomic.lock:
            self._handshakes[resumed] += 1

    def waited(self, seconds: float) -> None:
        """A caller has waited at the gate."""
        bucket = bisect_left(BUCKETS, seconds)
        empty = [0] * (len(BUCKETS) + 1) if self._histogram is None else self._histogram
        with atomic.lock:
            if self._histogram is None:
                self._histogram = empty
            self._histogram[bucket] += 1
            self._seconds_waited += seconds

    def failed(self, stage: str, shared: bool = False) -> None:
        """An attempt has failed; a shared failure is another call's, and opened nothing."""
        name, counted = str(stage), self._shared if shared else self._failures
        with atomic.lock:
            counted[name] += 1

    def retried(self) -> None:
        """Another attempt of a call begins."""
        with atomic.lock:
            self._retries += 1

    def refused(self, reason: str) -> None:
        """A repetition, or a call, is not made."""
        with atomic.lock:
            self._not_made[reason] += 1

    def certificate_refused(self) -> None:
        """A response says that the client certificate was refused."""
        with atomic.lock:
            self._certificate_refusals += 1

    def recovered(self) -> None:
        """A call has succeeded after a failed attempt."""
        with atomic.lock:
            self._recovered += 1

    def resumed(self, saved: int) -> None:
        """A body is gone on with, and so many bytes of it need not come again."""
        with atomic.lock:
            self._resumes += 1
            self._bytes_saved += saved

    def counts(self) -> Counts:
        """What was counted so far. It adds up: no call is in one number, and not yet in another."""
        now = self._copy()
        full, resumed = now._handshakes
        return Counts(
            calls=now._unanswered + sum(now._responses.values()),
            handshakes_full=full,
            handshakes_resumed=resumed,
            waits=_durations(now._histogram, now._seconds_waited),
            failures=dict(now._failures),
            retries=now._retries,
            repetitions_not_made=dict(now._not_made),
            resumes=now._resumes,
            bytes_saved=now._bytes_saved,
            failed_calls=dict(now._failed_calls),
            responses={f"{kind}xx": number for kind, number in sorted(now._responses.items())},
            response_times=_durations(now._times, now._seconds),
            shared_failures=dict(now._shared),
            certificate_refusals=now._certificate_refusals,
            recovered=now._recovered,
        )

    def _copy(self) -> Counters:
        """All of it at one moment."""
        copy = Counters()
        handshakes: list[int] = []
        times: list[int] = []
        waits: list[int] = []
        # Nothing is called meanwhile, and no object made that the garbage collector would begin to run for.
        with atomic.lock:
            copy._unanswered = self._unanswered
            copy._retries = self._retries
            copy._resumes = self._resumes
            copy._bytes_saved = self._bytes_saved
            copy._certificate_refusals = self._certificate_refusals
            copy._recovered = self._recovered
            copy._seconds = self._seconds
            copy._seconds_waited = self._seconds_waited
            copy._failures |= self._failures
            copy._shared |= self._shared
            copy._not_made |= self._not_made
            copy._failed_calls |= self._failed_calls
            copy._responses |= self._responses
            handshakes += self._handshakes
            times += self._times
            if self._histogram is not None:
                waits += self._histogram
        copy._handshakes, copy._times, copy._histogram = handshakes, times, waits or None
        return copy


def _durations(histogram: list[int] | None, seconds: float) -> Durations:
    if histogram is None:
        return Durations()
    told = tuple(histogram)
    return Durations(sum(told), seconds, told)
